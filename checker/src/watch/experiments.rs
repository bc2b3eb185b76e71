//! Experiments in the background: some wait for seconds, and the screen must not.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use rustix::event::{EventfdFlags, eventfd};

use crate::facts::{Observation, Observed, Request, Snapshot};
use crate::machine::Machine;

/// What has been asked of the kernel, what it answered, and what is still being tried.
pub(super) struct Experiments {
    machine: Machine,
    known: Vec<Known>,
    running: Vec<Request>,
    sender: Sender<Known>,
    receiver: Receiver<Known>,
    done: Arc<OwnedFd>,
}

struct Known {
    observed: Observed,
    /// What it depended on: asked again when that changes.
    circumstances: String,
}

impl Experiments {
    /// None yet on this machine.
    ///
    /// # Errors
    ///
    /// As eventfd(2).
    pub(super) fn new(machine: &Machine) -> std::io::Result<Experiments> {
        let (sender, receiver) = channel();
        let done = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (machine, known, running) = (machine.clone(), Vec::new(), Vec::new());
        Ok(Experiments { machine, known, running, sender, receiver, done })
    }

    /// Readable when one has ended.
    pub(super) fn done(&self) -> &OwnedFd {
        &self.done
    }

    /// What is known so far.
    pub(super) fn answer(&self, request: &Request) -> Option<Observation> {
        let known = self.known.iter().find(|known| known.observed.request == *request)?;
        Some(known.observed.observation.clone())
    }

    /// Forgets everything: the next judgement asks anew.
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    /// Tries again what was asked under other circumstances. `change` counts the changes seen.
    pub(super) fn refresh(&mut self, asked: &[Request], snapshot: &Snapshot, change: u64) {
        for request in asked {
            let circumstances = circumstances(request, snapshot, change);
            let is_known = self.known.iter().any(|known| {
                known.observed.request == *request && known.circumstances == circumstances
            });
            if !is_known && !self.running.contains(request) {
                self.running.push(request.clone());
                self.try_it(request.clone(), circumstances);
            }
        }
    }

    /// Takes in what has ended; whether any of it is news.
    pub(super) fn collect(&mut self) -> bool {
        let mut count = [0; 8];
        // The counter only wakes; the results are in the channel.
        let _ = rustix::io::read(self.done.as_fd(), &mut count);
        let mut news = false;
        while let Ok(known) = self.receiver.try_recv() {
            self.running.retain(|request| *request != known.observed.request);
            let same_request = |old: &Known| old.observed.request == known.observed.request;
            news |= !self.known.iter().any(|old| old.observed == known.observed);
            self.known.retain(|old| !same_request(old));
            self.known.push(known);
        }
        news
    }

    fn try_it(&self, request: Request, circumstances: String) {
        let (sender, done) = (self.sender.clone(), Arc::clone(&self.done));
        let machine = self.machine.clone();
        std::thread::spawn(move || {
            // The screen hears by itself that the machine has hung up.
            let Ok(observation) = machine.experiment(&request) else { return };
            let observed = Observed { request, observation };
            // The screen may have been left meanwhile.
            let _ = sender.send(Known { observed, circumstances });
            let _ = rustix::io::write(&*done, &1u64.to_ne_bytes());
        });
    }
}

/// An orphan is a lasting trace where nobody waits for it: one for each program that PID 1 runs.
/// Anything else is asked again after each change.
fn circumstances(request: &Request, snapshot: &Snapshot, change: u64) -> String {
    match request {
        Request::Orphan { init } => snapshot.life(*init).map_or_else(String::new, |process| {
            format!("{:?} {} {}", process.exe, process.comm, process.signals.caught)
        }),
        _ => change.to_string(),
    }
}
