//! Noticing that the kernel has changed: by its events where it tells them, else by looking.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

use crate::error::Error;
use crate::exercise::Facts;
use crate::facts::{Observation, Process, Request, Snapshot};
use crate::observe::{self, Options};

use super::connector::Connector;

/// How many of the learner's processes are looked at each time.
const MOST_PROCESSES: usize = 64;

/// Everything that tells of a change.
pub(super) struct Changes {
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
    pub(super) fn new() -> Result<Changes, Error> {
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
    pub(super) fn are_told(&self) -> bool {
        self.connector.is_some()
    }

    /// What to poll for reading.
    pub(super) fn files(&self) -> Vec<BorrowedFd<'_>> {
        let connector = self.connector.iter().map(|connector| connector.socket().as_fd());
        connector.chain([self.inotify.as_fd()]).collect()
    }

    /// Takes in what was told; whether something has changed.
    pub(super) fn drain(&mut self) -> bool {
        let processes = self.connector.as_mut().is_some_and(Connector::drain);
        let files = drain_inotify(&self.inotify);
        processes || files
    }

    /// Looks at what nobody tells: namespaces, working directories, cgroups of the learner's
    /// processes change without an event. Whether something has changed since the last look.
    pub(super) fn look(&mut self, facts: &Facts) -> bool {
        let pids: Vec<i32> = of_interest(facts).take(MOST_PROCESSES).collect();
        let options = Options { threads: 1, mark: true, ..Options::default() };
        let Ok(processes) = observe::processes(&options, Some(&pids)) else { return true };
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
    pub(super) fn watch_folders(&mut self, folders: impl Iterator<Item = PathBuf>) {
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

/// The folders whose content an experiment depends on.
pub(super) fn folders_behind(request: &Request, seen: Option<&Observation>) -> Option<PathBuf> {
    match (request, seen) {
        (Request::Answer { path }, _) => Path::new(path).parent().map(Path::to_owned),
        (Request::ProgramFile { process, .. }, Some(Observation::ProgramFile(file))) => {
            let root = PathBuf::from(format!("/proc/{}/root", process.pid));
            Some(root.join(file.folder.trim_start_matches('/')))
        }
        _ => None,
    }
}

/// The directories of the cgroups that have a memory limit or could be given one.
pub(super) fn memory_groups(snapshot: &Snapshot) -> impl Iterator<Item = PathBuf> {
    snapshot.cgroups.groups.iter().filter(|group| group.memory.is_some()).filter_map(|group| {
        let hierarchy = snapshot.cgroups.hierarchies.get(group.at.hierarchy)?;
        let below = group.at.path.strip_prefix(hierarchy.root.trim_end_matches('/'))?;
        Some(Path::new(&hierarchy.mount_point).join(below.trim_start_matches('/')))
    })
}

fn of_interest<'f>(facts: &'f Facts) -> impl Iterator<Item = i32> + 'f {
    facts.theirs().into_iter().filter(|process| process.exe.known().is_some()).map(|p| p.id.pid)
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
