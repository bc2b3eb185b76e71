//! What the live screen follows, on this machine or another.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::exercise::Facts;
use crate::facts::{Observation, Request, Snapshot};
use crate::machine::Machine;
use crate::remote;

use super::changes::Changes;

/// How many of the learner's processes are followed closely.
const MOST_PROCESSES: usize = 64;

/// Everything that tells of a change.
pub(super) enum Following {
    /// This machine's kernel.
    Here(Changes),
    /// The agent on another machine.
    There(remote::Following),
}

impl Following {
    /// Follows a machine from now on.
    ///
    /// # Errors
    ///
    /// As inotify_init(2), or when the machine hangs up.
    pub(super) fn new(machine: &Machine) -> Result<Following, Error> {
        match machine {
            Machine::Here => Changes::new().map(Following::Here),
            Machine::There(remote) => remote::Following::new(remote).map(Following::There),
        }
    }

    /// Whether the kernel reports the births and deaths of processes.
    pub(super) fn are_told(&self) -> bool {
        match self {
            Following::Here(changes) => changes.are_told(),
            Following::There(following) => following.are_told(),
        }
    }

    /// What to poll for reading.
    pub(super) fn files(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Following::Here(changes) => changes.files(),
            Following::There(following) => vec![following.news().as_fd()],
        }
    }

    /// Takes in what was told; whether something has changed.
    ///
    /// # Errors
    ///
    /// When the machine has hung up.
    pub(super) fn drain(&mut self) -> Result<bool, Error> {
        match self {
            Following::Here(changes) => Ok(changes.drain()),
            Following::There(following) => following.drain(),
        }
    }

    /// Looks at the learner's processes, or has the agent do so; whether something has changed.
    ///
    /// # Errors
    ///
    /// When the machine has hung up.
    pub(super) fn look(&mut self, facts: &Facts) -> Result<bool, Error> {
        let pids = of_interest(facts).take(MOST_PROCESSES).collect::<Vec<_>>();
        match self {
            Following::Here(changes) => Ok(changes.look(&pids)),
            Following::There(following) => following.look_at(pids).map(|()| false),
        }
    }

    /// Folders to follow as well.
    ///
    /// # Errors
    ///
    /// When the machine has hung up.
    pub(super) fn watch_folders(
        &mut self,
        folders: impl Iterator<Item = PathBuf>,
    ) -> Result<(), Error> {
        match self {
            Following::Here(changes) => {
                changes.watch_folders(folders);
                Ok(())
            }
            Following::There(following) => following.watch_folders(folders),
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
