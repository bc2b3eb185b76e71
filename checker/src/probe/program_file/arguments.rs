//! What the arguments of a process say of files that are gone (proc_pid_cmdline(5)). A process may
//! write there what it likes: only mistakes are named by it, nothing is judged.

use super::root::Root;
use super::{Held, base_name};

/// Programs that run a file named as their argument.
const INTERPRETERS: [&[u8]; 12] = [
    b"ash", b"bash", b"dash", b"ksh", b"lua", b"node", b"perl", b"php", b"python", b"ruby", b"sh",
    b"zsh",
];

/// How long the kernel keeps a name in `/proc/PID/comm`, in bytes.
const COMM: usize = 15;

/// The arguments of a process, and where their paths start.
pub(super) struct Arguments<'r> {
    root: &'r Root,
    arguments: Vec<Vec<u8>>,
    folder: Option<Vec<u8>>,
    comm: Vec<u8>,
}

impl<'r> Arguments<'r> {
    /// Those of this process; none where they may not be read.
    pub(super) fn of(held: &Held, root: &'r Root) -> Arguments<'r> {
        let line = held.read("cmdline").unwrap_or_default();
        let arguments = line.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
        let cwd = held.link("cwd").ok();
        let folder = cwd.and_then(|path| root.inside(&path).map(<[u8]>::to_vec));
        let comm = held.read("comm").unwrap_or_default().trim_ascii_end().to_vec();
        Arguments { root, arguments, folder, comm }
    }

    /// The path by which the program, now called `name`, was started, where it leads nowhere.
    pub(super) fn lost_call(&self, name: &[u8]) -> Option<String> {
        let call = self.arguments.first().filter(|call| call.contains(&b'/'))?;
        // A relative path leads nowhere, too, where the process has changed its directory.
        let is_telling = call.starts_with(b"/") || base_name(call) != name;
        (is_telling && self.lacks(call)).then(|| String::from_utf8_lossy(call).into_owned())
    }

    /// The script that `program` interprets, where its path leads nowhere.
    pub(super) fn lost_script(&self, program: &[u8]) -> Option<String> {
        if !INTERPRETERS.iter().any(|name| program.starts_with(name)) {
            return None;
        }
        let first = self.arguments.get(1).filter(|first| !first.starts_with(b"-"));
        // A script that was itself started gives the process its name.
        let mut rest = self.arguments.iter().skip(1);
        let script = rest.find(|argument| self.gave_name(argument)).or(first)?;
        self.lacks(script).then(|| String::from_utf8_lossy(script).into_owned())
    }

    fn gave_name(&self, argument: &[u8]) -> bool {
        let name = base_name(argument);
        !name.is_empty() && name[..name.len().min(COMM)] == self.comm
    }

    fn lacks(&self, path: &[u8]) -> bool {
        if path.is_empty() {
            return false;
        }
        match &self.folder {
            _ if path.starts_with(b"/") => self.root.lacks(path),
            Some(folder) => self.root.lacks(&[folder, b"/".as_slice(), path].concat()),
            None => false,
        }
    }
}
