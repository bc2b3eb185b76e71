//! A machine of the course that is up, and how to get in.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::TempDir;

use crate::programs::checkout;
use crate::support::need::Need;

/// One test at a time works with machines: two that are emulated are more than two processors can do.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something that runs the course's machine, and answers ssh.
pub(crate) struct Machine {
    /// As `podlab --on` takes it.
    pub(crate) target: String,
    /// What leads ssh(1) there, and the name it has in it. A file without a name: where the machine is in
    /// a static, nobody would remove it.
    config: File,
    host: String,
    /// What podlab needs to find the machine.
    environment: Vec<(&'static str, OsString)>,
    _guard: Option<Guard>,
}

impl Machine {
    /// The one that `PODLAB_VM_TARGET` names, else the image in `PODLAB_VM_IMAGE`.
    pub(crate) fn up() -> Machine {
        match std::env::var("PODLAB_VM_TARGET") {
            Ok(target) => Machine::running(target),
            Err(_) => Machine::qemu(&Need::VmImage.image().expect("an image")),
        }
    }

    /// Boots an image under plain QEMU. The machine ends with this process, however that ends.
    pub(crate) fn qemu(image: &Path) -> Machine {
        let state = tempfile::tempdir().expect("a folder");
        let (guard, state) = Guard::of(state);
        let mut up = vm_qemu(&state);
        up.args(["up", "--offline", "--image"]).arg(image);
        assert!(up.status().expect("vm/qemu").success(), "vm/qemu up");
        let config = printed(vm_qemu(&state).arg("ssh-config"));
        let environment = vec![("XDG_STATE_HOME", state.into_os_string())];
        Machine {
            _guard: Some(guard),
            ..Machine::reached_by("qemu".to_owned(), &config, environment)
        }
    }

    /// One that another started.
    fn running(target: String) -> Machine {
        let (tool, name) = target.split_once(':').unwrap_or((&target, ""));
        let mut tool = match tool {
            "vagrant" => Command::new("vagrant"),
            "qemu" => Command::new(checkout().join("vm/qemu")),
            _ => panic!("PODLAB_VM_TARGET={target}: neither vagrant[:NAME] nor qemu[:NAME]"),
        };
        let config = printed(tool.arg("ssh-config").args((!name.is_empty()).then_some(name)));
        Machine::reached_by(target, &config, Vec::new())
    }

    fn reached_by(
        target: String,
        config: &str,
        environment: Vec<(&'static str, OsString)>,
    ) -> Machine {
        let host = config.lines().find_map(|line| line.trim().strip_prefix("Host "));
        let host = host.expect("ssh-config names a host").trim().to_owned();
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(config.as_bytes()).expect("the configuration is written");
        Machine { target, config: file, host, environment, _guard: None }
    }

    /// `ssh OPTIONS… MACHINE`, to be followed by words that a shell in there reads.
    pub(crate) fn ssh(&self, options: &[&str]) -> Command {
        let mut ssh = Command::new("ssh");
        let (own, config) = (std::process::id(), self.config.as_raw_fd());
        ssh.arg("-F").arg(format!("/proc/{own}/fd/{config}"));
        ssh.args(["-o", "BatchMode=yes", "-o", "LogLevel=ERROR"]).args(options).arg(&self.host);
        ssh
    }

    /// What a shell script in there prints, as the user that ssh logs in as.
    pub(crate) fn script(&self, script: &str) -> String {
        let mut ssh = self.ssh(&[]);
        let text = printed(ssh.arg(script));
        text.trim_end().to_owned()
    }

    /// Lets podlab find the machine.
    pub(crate) fn known_to<'c>(&self, podlab: &'c mut Command) -> &'c mut Command {
        podlab.envs(self.environment.iter().map(|(name, value)| (name, value)))
    }
}

/// Takes a machine away when this process has ended, be it by SIGKILL.
struct Guard {
    waiting: Child,
    word: Option<ChildStdin>,
}

impl Guard {
    /// Of the machine with this state folder, and of the folder.
    fn of(state: TempDir) -> (Guard, PathBuf) {
        let state = state.keep();
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "trap '' INT TERM HUP; read -r _; \"$0\" down; rm -r \"$XDG_STATE_HOME\"",
        ]);
        command.arg(checkout().join("vm/qemu")).env("XDG_STATE_HOME", &state);
        let mut waiting = command.stdin(Stdio::piped()).spawn().expect("sh");
        (Guard { word: waiting.stdin.take(), waiting }, state)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.word.take());
        let _ = self.waiting.wait();
    }
}

/// `vm/qemu`, with its state in that folder.
fn vm_qemu(state: &Path) -> Command {
    let mut qemu = Command::new(checkout().join("vm/qemu"));
    qemu.env("XDG_STATE_HOME", state);
    qemu
}

/// What a command prints that must succeed.
pub(crate) fn printed(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("text")
}
