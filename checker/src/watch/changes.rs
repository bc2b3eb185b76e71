//! Noticing that this machine's kernel has changed: by its events where it tells them, else by looking.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::error::Error;
use crate::facts::Process;
use crate::observe::{self, Options};

use super::connector::Connector;

/// Everything that tells of a change.
pub(crate) struct Changes {
    connector: Option<Connector>,
    inotify: OwnedFd,
    watched: BTreeSet<PathBuf>,
    seen: Seen,
}

/// What the last look saw.
#[derive(Default, PartialEq, Eq)]
struct Seen {
    /// The last field of `/proc/loadavg`: the PID given out last.
    last_pid: Vec<u8>,
    processes: Vec<Likeness>,
}

impl Changes {
    /// Subscribes to what the kernel tells us.
    ///
    /// # Errors
    ///
    /// As inotify_init(2). To be refused process events is no error.
    pub(crate) fn new() -> Result<Changes, Error> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
            .map_err(|error| Error::new(format!("inotify: {error}")))?;
        Ok(Changes {
            connector: Connector::open().ok(),
            inotify,
            watched: BTreeSet::new(),
            seen: Seen::default(),
        })
    }

    /// Whether the kernel reports the births and deaths of processes.
    pub(crate) fn are_told(&self) -> bool {
        self.connector.is_some()
    }

    /// What to poll for reading.
    pub(crate) fn files(&self) -> Vec<BorrowedFd<'_>> {
        let connector = self.connector.iter().map(|connector| connector.socket().as_fd());
        connector.chain([self.inotify.as_fd()]).collect()
    }

    /// Takes in what was told; whether something has changed.
    pub(crate) fn drain(&mut self) -> bool {
        let processes = self.connector.as_mut().is_some_and(Connector::drain);
        let files = drain_inotify(&self.inotify);
        processes || files
    }

    /// Looks at what nobody tells: namespaces, working directories, cgroups of these processes change
    /// without an event. Whether something has changed since the last look.
    pub(crate) fn look(&mut self, pids: &[i32]) -> bool {
        let options = Options { threads: 1, mark: true, ..Options::default() };
        let Ok(processes) = observe::processes(&options, Some(pids)) else { return true };
        let told = self.are_told();
        let seen = Seen {
            last_pid: if told { Vec::new() } else { last_pid() },
            processes: processes.iter().map(Likeness::of).collect(),
        };
        let changed = seen != self.seen;
        self.seen = seen;
        changed
    }

    /// From now on also tells when one of these folders changes. One that is not there, or may not
    /// be looked into, tells nothing.
    pub(crate) fn watch_folders(&mut self, folders: impl Iterator<Item = PathBuf>) {
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MODIFY
            | WatchFlags::ATTRIB
            | WatchFlags::MOVE
            | WatchFlags::ONLYDIR;
        for folder in folders {
            if !self.watched.contains(&folder)
                && inotify::add_watch(&self.inotify, &folder, flags).is_ok()
            {
                self.watched.insert(folder);
            }
        }
    }
}

fn last_pid() -> Vec<u8> {
    let loadavg = std::fs::read("/proc/loadavg").unwrap_or_default();
    loadavg.rsplit(|byte| *byte == b' ').next().unwrap_or_default().to_vec()
}

fn drain_inotify(inotify: &OwnedFd) -> bool {
    let mut buffer = [0; 4096];
    let mut any = false;
    while rustix::io::read(inotify, &mut buffer).is_ok_and(|length| length > 0) {
        any = true;
    }
    any
}

/// What of a process matters to verdicts; not what changes all the time, such as its state.
#[derive(PartialEq, Eq)]
struct Likeness(Process);

impl Likeness {
    fn of(process: &Process) -> Likeness {
        let mut likeness = process.clone();
        if likeness.is_alive() {
            likeness.state = crate::facts::State::Sleeping;
        }
        likeness.threads = 0;
        likeness.rss_anon = crate::facts::Reading::Absent;
        Likeness(likeness)
    }
}
