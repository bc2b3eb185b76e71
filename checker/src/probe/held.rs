//! A process held so that a reused PID cannot stand in for it.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::failed;
use crate::facts::ProcessId;

/// A process by pidfd and by its open directory in /proc. The directory of a process that has ended
/// stays empty, even when its PID is used again.
pub(super) struct Held {
    directory: OwnedFd,
    pidfd: OwnedFd,
    id: ProcessId,
}

impl Held {
    /// Takes hold of the process that has this PID and this start time.
    ///
    /// # Errors
    ///
    /// When it is gone, or may not be looked at.
    pub(super) fn open(id: ProcessId) -> Result<Held, String> {
        let pid = Pid::from_raw(id.pid).ok_or_else(|| format!("no process has PID {}", id.pid))?;
        let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty())
            .map_err(|error| failed(format!("process {}", id.pid), error))?;
        let path = format!("/proc/{}", id.pid);
        let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
        let directory =
            rustix::fs::open(&path, flags, Mode::empty()).map_err(|error| failed(&path, error))?;
        let held = Held { directory, pidfd, id };
        match held.start() {
            Some(start) if start == id.start => Ok(held),
            _ => Err(format!("process {} has ended", id.pid)),
        }
    }

    /// Its PID in our namespace.
    pub(super) fn pid(&self) -> i32 {
        self.id.pid
    }

    /// A descriptor that polls readable when it ends (pidfd_open(2)).
    pub(super) fn pidfd(&self) -> &OwnedFd {
        &self.pidfd
    }

    /// Opens a file below its directory in /proc, such as `ns/pid`, following the kernel's links.
    ///
    /// # Errors
    ///
    /// As open(2).
    pub(super) fn open_file(
        &self,
        path: impl AsRef<Path>,
        flags: OFlags,
    ) -> rustix::io::Result<OwnedFd> {
        rustix::fs::openat(&self.directory, path.as_ref(), flags | OFlags::CLOEXEC, Mode::empty())
    }

    /// The content of a file below its directory in /proc.
    pub(super) fn read(&self, path: &str) -> std::io::Result<Vec<u8>> {
        let mut content = Vec::new();
        File::from(self.open_file(path, OFlags::RDONLY)?).read_to_end(&mut content)?;
        Ok(content)
    }

    /// Where a link below its directory in /proc leads, as the kernel puts it.
    ///
    /// # Errors
    ///
    /// As readlink(2).
    pub(super) fn link(&self, path: &str) -> rustix::io::Result<Vec<u8>> {
        let target = rustix::fs::readlinkat(&self.directory, path, Vec::new())?;
        Ok(target.into_bytes())
    }

    /// Whether it has ended, waited for or not.
    pub(super) fn has_ended(&self) -> bool {
        let mut ended = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        !matches!(poll(&mut ended, Some(&at_once)), Ok(0))
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) -> rustix::io::Result<()> {
        rustix::process::pidfd_send_signal(self.pidfd.as_fd(), signal)
    }

    fn start(&self) -> Option<u64> {
        let stat = self.read("stat").ok()?;
        // The name in parentheses may hold anything, parentheses included.
        let after_name = stat.iter().rposition(|byte| *byte == b')')? + 2;
        let fields = std::str::from_utf8(stat.get(after_name..)?).ok()?;
        fields.split(' ').nth(19)?.parse().ok()
    }
}
