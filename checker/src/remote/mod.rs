//! A machine looked at from outside, over SSH. The agent that podlab sends there only reads; whatever
//! is judged is judged here.

mod agent;
mod client;
mod command;
mod details;
mod faults;
mod following;
mod install;
mod lines;
mod program;
mod protocol;
mod ssh;
mod target;
mod watcher;

pub use agent::{ARGUMENT, agent};
pub use details::vagrant_folder;
pub use following::Following;
pub use target::{Address, DEFAULT_NAME, FORMS, Target, machine_name};

use std::process::Command;

use crate::caller::Caller;
use crate::doctor::Finding;
use crate::error::Error;
use crate::facts::{Observation, Request, Snapshot, Start};

use client::{Begun, Client};
use details::Details;
use program::Program;
use protocol::{Answer, Question};
use ssh::Connection;

/// A machine with an agent of ours that answers.
pub struct Remote {
    target: Target,
    client: Client,
}

impl Remote {
    /// Connects to a machine and starts an agent there, sending its program first where that is not
    /// there yet.
    ///
    /// # Errors
    ///
    /// One line on what is in the way.
    pub fn connect(target: &Target, caller: &Caller) -> Result<Remote, Error> {
        let mut machine = program::OWN.to_owned();
        let mut program = Program::for_machine(&machine, caller)?;
        // At most: the old connection is no good, the machine is of another type, the program is sent,
        // and it begins. Building a program may take longer than a connection stays.
        for _ in 0..4 {
            let connection = Connection::open(target, caller)?;
            match Client::begin(&connection, &program.digest, target)? {
                Begun::Client(client) => return Ok(Remote { target: target.clone(), client }),
                Begun::HungUp if connection.is_old => connection.close(),
                Begun::HungUp => return Err(faults::cut(target)),
                Begun::Missing(there) if there == machine => {
                    install::send(&connection, &program, target)?;
                }
                Begun::Missing(there) => {
                    program = Program::for_machine(&there, caller)?;
                    machine = there;
                }
            }
        }
        Err(Error::new(format!("{target}: podlab does not stay where it was put there"))
            .hint("something there clears /run, or ends every connection"))
    }

    /// Which machine it is.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The user who logged in, whose work is looked at.
    pub fn user(&self) -> &str {
        &self.client.user
    }

    /// The machine as it is.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or hangs up.
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        match self.client.ask(Question::Snapshot)? {
            Answer::Snapshot(snapshot) => Ok(*snapshot),
            _ => Err(self.client.confused()),
        }
    }

    /// What `podlab start` noted there.
    ///
    /// # Errors
    ///
    /// When the user's state cannot be read there, or the machine hangs up.
    pub fn start(&self, exercise: &str) -> Result<Option<Start>, Error> {
        match self.client.ask(Question::Start(exercise.to_owned()))? {
            Answer::Start(start) => Ok(*start),
            _ => Err(self.client.confused()),
        }
    }

    /// Makes an experiment there.
    ///
    /// # Errors
    ///
    /// When the machine hangs up. What stands in the way of the experiment itself is an observation.
    pub fn experiment(&self, request: &Request) -> Result<Observation, Error> {
        match self.client.ask(Question::Experiment(request.clone()))? {
            Answer::Observation(observation) => Ok(*observation),
            _ => Err(self.client.confused()),
        }
    }

    /// What `podlab doctor` finds there.
    ///
    /// # Errors
    ///
    /// When the machine cannot be read, or hangs up.
    pub fn findings(&self) -> Result<Vec<Finding>, Error> {
        match self.client.ask(Question::Findings)? {
            Answer::Findings(findings) => Ok(findings),
            _ => Err(self.client.confused()),
        }
    }
}

/// `ssh` that logs in to a machine and passes on whose parameters are asked for. What is to be run there
/// may be added; without it there is a shell.
///
/// # Errors
///
/// When there is no such machine.
pub fn login(target: &Target, caller: &Caller) -> Result<Command, Error> {
    let details = Details::ask(target, caller)?;
    let mut ssh = caller.command("ssh");
    details.add_to(&mut ssh);
    ssh.args(["-oSendEnv=PODLAB_LEARNER PODLAB_SEED", "--", &details.host]);
    Ok(ssh)
}

/// Ends the shared connection to a machine, where there is one.
pub fn hang_up(target: &Target, caller: &Caller) {
    Connection::end(target, caller);
}
