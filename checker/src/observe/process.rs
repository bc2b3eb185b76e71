//! One process, through its open `/proc/PID` directory.

use rustix::path::DecInt;

use super::Error;
use super::cgroup::parse_membership;
use super::id_map::parse_id_map;
use super::namespace::read_links;
use super::proc::Proc;
use super::read::{Buffer, Folder};
use super::stat::{Stat, parse_stat};
use super::status::{Status, parse_status};
use super::text::{lossy, parse_value, signed};
use crate::facts::{CgroupPath, Exe, IdMap, Namespaces, Process, ProcessId, Reading, State};

/// How often a process that changes while it is read is read again.
const ATTEMPTS: usize = 3;

/// The most that is searched for the mark: what execve(2) lets a usual environment be.
const ENVIRONMENT: usize = 2 << 20;

type IdMaps = Reading<Vec<IdMap>>;

/// An open `/proc/PID`: whatever is read through it is of one and the same life, also when the PID
/// has been given to another process meanwhile.
pub struct OpenProcess<'p> {
    proc: &'p Proc,
    pid: i32,
    folder: Folder,
    buffer: &'p mut Buffer,
}

impl<'p> OpenProcess<'p> {
    /// Opens the process `pid`; nothing where there is none, or none that may be seen.
    ///
    /// # Errors
    ///
    /// When the directory is there and cannot be opened, for instance for want of descriptors.
    pub fn open(
        proc: &'p Proc,
        pid: i32,
        buffer: &'p mut Buffer,
    ) -> Result<Option<OpenProcess<'p>>, Error> {
        let folder = proc.folder().enter(DecInt::new(pid).as_c_str())?;
        Ok(match folder {
            Reading::Known(folder) => Some(OpenProcess { proc, pid, folder, buffer }),
            Reading::Denied(_) | Reading::Absent => None,
        })
    }

    /// The whole record; nothing where the process is gone.
    ///
    /// # Errors
    ///
    /// When a file is malformed, or cannot be read for a reason other than permission.
    pub fn read(&mut self) -> Result<Option<Process>, Error> {
        for _ in 1..ATTEMPTS {
            match self.read_once()? {
                Some((process, Torn::Yes)) => drop(process),
                whole => return Ok(whole.map(|(process, _)| process)),
            }
        }
        Ok(self.read_once()?.map(|(process, _)| process))
    }

    /// `/proc/PID/stat`
    ///
    /// # Errors
    ///
    /// As for [`OpenProcess::read`].
    pub fn stat(&mut self) -> Result<Reading<Stat>, Error> {
        self.folder.record(c"stat", self.buffer, parse_stat)
    }

    /// `/proc/PID/status`
    ///
    /// # Errors
    ///
    /// As for [`OpenProcess::read`].
    pub fn status(&mut self) -> Result<Reading<Status>, Error> {
        self.folder.record(c"status", self.buffer, parse_status)
    }

    /// The links of `/proc/PID/ns`.
    ///
    /// # Errors
    ///
    /// As for [`OpenProcess::read`].
    pub fn namespaces(&mut self) -> Result<Namespaces, Error> {
        read_links(&self.folder, self.proc.nsfs(), self.buffer)
    }

    /// `/proc/PID/cgroup`
    ///
    /// # Errors
    ///
    /// As for [`OpenProcess::read`].
    pub fn cgroups(&mut self) -> Result<Reading<Vec<CgroupPath>>, Error> {
        self.folder.record(c"cgroup", self.buffer, parse_membership)
    }

    fn read_once(&mut self) -> Result<Option<(Process, Torn)>, Error> {
        let Reading::Known(stat) = self.stat()? else { return Ok(None) };
        let Reading::Known(status) = self.status()? else { return Ok(None) };
        let later = status.state;
        let namespaces = self.namespaces()?;
        let (uid_map, gid_map) = self.id_maps(&namespaces)?;
        let process = Process {
            id: ProcessId { pid: self.pid, start: stat.start },
            parent: stat.parent,
            comm: stat.comm,
            state: stat.state,
            threads: status.threads,
            uids: status.uids,
            gids: status.gids,
            ns_pid: if status.ns_pid.is_empty() { vec![self.pid] } else { status.ns_pid },
            namespaces,
            uid_map,
            gid_map,
            capabilities: status.capabilities,
            no_new_privs: status.no_new_privs,
            seccomp: status.seccomp,
            signals: status.signals,
            rss_anon: status.rss_anon,
            exe: self.exe()?,
            cwd: self.folder.link(c"cwd", self.buffer, |path| Ok(lossy(path)))?,
            mark: self.mark()?,
            cgroups: self.cgroups()?,
            oom_score_adj: self.oom_score_adj()?,
        };
        let torn = Torn::of(&process, later);
        Ok(Some((process, torn)))
    }

    fn id_maps(&mut self, namespaces: &Namespaces) -> Result<(IdMaps, IdMaps), Error> {
        if let Some((uids, gids)) = self.proc.own_maps(&namespaces.user) {
            return Ok((Reading::Known(uids.to_vec()), Reading::Known(gids.to_vec())));
        }
        let uids = self.folder.whole(c"uid_map", self.buffer, parse_id_map)?;
        Ok((uids, self.folder.whole(c"gid_map", self.buffer, parse_id_map)?))
    }

    fn oom_score_adj(&mut self) -> Result<Reading<i32>, Error> {
        self.folder.record(c"oom_score_adj", self.buffer, |text| {
            parse_value(text, "a number", |value| i32::try_from(signed(value)?).ok())
        })
    }

    fn exe(&mut self) -> Result<Reading<Exe>, Error> {
        let path = self.folder.link(c"exe", self.buffer, |path| Ok(split_remark(path)))?;
        if let Reading::Known((path, deleted)) = path {
            let file = self.folder.file(c"exe")?;
            return Ok(file.map(|(dev, ino)| Exe { path, deleted, dev, ino }));
        }
        Ok(path.map(|_| unreachable!("a known path was returned above")))
    }

    fn mark(&mut self) -> Result<Reading<String>, Error> {
        if !self.proc.reads_marks() {
            return Ok(Reading::Absent);
        }
        let mark =
            self.folder.start(c"environ", ENVIRONMENT, self.buffer, |text| Ok(parse_mark(text)))?;
        Ok(match mark {
            Reading::Known(Some(mark)) => Reading::Known(mark),
            Reading::Known(None) | Reading::Absent => Reading::Absent,
            Reading::Denied(mark) => Reading::Denied(mark),
        })
    }
}

/// Whether the parts of a record are of different moments in a way that shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Torn {
    Yes,
    No,
}

impl Torn {
    /// `later` is the state that was read after the one in the record. A process that ends loses
    /// its directories and namespaces first, then becomes a zombie; one that has been waited for
    /// has nothing any more, not even what a zombie has.
    fn of(process: &Process, later: State) -> Torn {
        let ended = process.is_alive()
            && (!later.is_alive()
                || process.cwd == Reading::Absent
                || process.namespaces.mnt == Reading::Absent);
        if ended || process.oom_score_adj == Reading::Absent { Torn::Yes } else { Torn::No }
    }
}

/// Splits off the kernel's remark that a path names this file no longer.
fn split_remark(path: &[u8]) -> (String, bool) {
    match path.strip_suffix(b" (deleted)") {
        Some(path) => (lossy(path), true),
        None => (lossy(path), false),
    }
}

/// The value of `PODLAB` in the text of `/proc/PID/environ`.
fn parse_mark(environ: &[u8]) -> Option<String> {
    let mut variables = environ.split(|byte| *byte == 0);
    variables.find_map(|variable| variable.strip_prefix(b"PODLAB=").map(lossy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_remark_is_split_from_the_path() {
        assert_eq!(split_remark(b"/bin/sh"), ("/bin/sh".to_owned(), false));
        assert_eq!(split_remark(b"/tmp/a b (deleted)"), ("/tmp/a b".to_owned(), true));
        assert_eq!(split_remark(b"/tmp/x (deleted)y"), ("/tmp/x (deleted)y".to_owned(), false));
    }

    #[test]
    fn the_mark_is_the_value_of_one_variable_and_no_other() {
        assert_eq!(parse_mark(b"A=1\0PODLAB=fake-init\0B=2\0"), Some("fake-init".to_owned()));
        assert_eq!(parse_mark(b"PODLAB=\0"), Some(String::new()));
        assert_eq!(parse_mark(b"PODLAB_HOME=/x\0XPODLAB=y\0A=PODLAB=z\0"), None);
        assert_eq!(parse_mark(b""), None);
    }
}
