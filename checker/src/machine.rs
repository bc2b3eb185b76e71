//! The machine that is looked at: this one, or another over SSH. Both are only read; what was read is
//! judged here.

use std::sync::Arc;

use crate::caller::Caller;
use crate::doctor::{self, Finding};
use crate::error::Error;
use crate::facts::{Observation, Request, Snapshot};
use crate::observe::{self, Options};
use crate::probe;
use crate::remote::{Remote, Target};

/// Where to look.
#[derive(Clone)]
pub enum Machine {
    /// At the machine that podlab runs on.
    Here,
    /// At another one.
    There(Arc<Remote>),
}

impl Machine {
    /// The machine that `--on` names; this one where it is not given.
    ///
    /// # Errors
    ///
    /// When it cannot be reached.
    pub fn on(target: Option<&Target>, caller: &Caller) -> Result<Machine, Error> {
        match target {
            None => Ok(Machine::Here),
            Some(target) => Ok(Machine::There(Arc::new(Remote::connect(target, caller)?))),
        }
    }

    /// What another machine is called.
    pub fn name(&self) -> Option<String> {
        match self {
            Machine::Here => None,
            Machine::There(remote) => Some(remote.target().to_string()),
        }
    }

    /// Everything, in one pass, with the learner's marks.
    ///
    /// # Errors
    ///
    /// When the machine cannot be read, or hangs up.
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        match self {
            Machine::Here => Ok(observe::snapshot(&Options { mark: true, ..Options::default() })?),
            Machine::There(remote) => remote.snapshot(),
        }
    }

    /// Makes an experiment.
    ///
    /// # Errors
    ///
    /// When the machine hangs up. What stands in the way of the experiment itself is an observation.
    pub fn experiment(&self, request: &Request) -> Result<Observation, Error> {
        match self {
            Machine::Here => Ok(probe::run(request)),
            Machine::There(remote) => remote.experiment(request),
        }
    }

    /// What it can and cannot do, for its learner.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or hangs up.
    pub fn findings(&self, caller: &Caller) -> Result<Vec<Finding>, Error> {
        match self {
            Machine::Here => doctor::examine(caller),
            Machine::There(remote) => remote.findings(),
        }
    }
}
