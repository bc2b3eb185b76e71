//! The host's end of following what changes on another machine.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Error;

use super::Remote;
use super::protocol::{Answer, Follow, Question};

/// Hears from the agent when something has changed.
pub struct Following {
    remote: Arc<Remote>,
    pids: Vec<i32>,
    folders: BTreeSet<PathBuf>,
    told: bool,
}

impl Following {
    /// Has the agent tell of changes from now on.
    ///
    /// # Errors
    ///
    /// When the machine hangs up.
    pub fn new(remote: &Arc<Remote>) -> Result<Following, Error> {
        let remote = Arc::clone(remote);
        let mut following =
            Following { remote, pids: Vec::new(), folders: BTreeSet::new(), told: false };
        following.ask()?;
        Ok(following)
    }

    /// Whether the kernel there reports the births and deaths of processes.
    pub fn are_told(&self) -> bool {
        self.told
    }

    /// What to poll for reading.
    pub fn news(&self) -> &OwnedFd {
        self.remote.client.news()
    }

    /// Takes in what was told; whether something has changed.
    ///
    /// # Errors
    ///
    /// When the machine has hung up.
    pub fn drain(&mut self) -> Result<bool, Error> {
        self.remote.client.has_changed()
    }

    /// These processes matter from now on.
    ///
    /// # Errors
    ///
    /// When the machine hangs up.
    pub fn look_at(&mut self, pids: Vec<i32>) -> Result<(), Error> {
        if pids == self.pids {
            return Ok(());
        }
        self.pids = pids;
        self.ask()
    }

    /// These folders matter too.
    ///
    /// # Errors
    ///
    /// When the machine hangs up.
    pub fn watch_folders(&mut self, folders: impl Iterator<Item = PathBuf>) -> Result<(), Error> {
        let before = self.folders.len();
        self.folders.extend(folders);
        if self.folders.len() == before { Ok(()) } else { self.ask() }
    }

    fn ask(&mut self) -> Result<(), Error> {
        let folders = self.folders.iter().cloned().collect();
        let follow = Follow { pids: self.pids.clone(), folders };
        match self.remote.client.ask(Question::Follow(follow))? {
            Answer::Following { told } => self.told = told,
            _ => return Err(self.remote.client.confused()),
        }
        Ok(())
    }
}
