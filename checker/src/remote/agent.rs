//! `podlab __agent`: reads a machine for a podlab on another one, and judges nothing.
//!
//! It lives as long as its standard input is open. Each question gets a thread, so that an experiment
//! that waits for seconds holds up no other. What the experiments start ends with it.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::caller::Caller;
use crate::doctor;
use crate::error::Error;
use crate::observe::{self, Options};
use crate::probe;
use crate::progress::Home;

use super::lines::{Lines, Next};
use super::protocol::{Answer, Asked, Greeting, LONGEST_ASKED, Question, Told, VERSION};
use super::watcher::Watcher;

/// The hidden argument with which podlab is started as an agent.
pub const ARGUMENT: &str = "__agent";

/// A host that has said nothing for so long is gone, even where the network has not told.
const SILENCE: Duration = Duration::from_secs(120);

/// Answers questions until there will be no more.
pub fn agent() -> ExitCode {
    let agent = Arc::new(Agent::default());
    if agent.greet().is_err() {
        return ExitCode::FAILURE;
    }
    let mut lines = Lines::of(io::stdin(), LONGEST_ASKED);
    while let Next::Line(line) = lines.next(SILENCE) {
        if line.is_empty() {
            continue;
        }
        let Ok(asked) = serde_json::from_slice::<Asked>(&line) else { return ExitCode::FAILURE };
        let agent = Arc::clone(&agent);
        std::thread::spawn(move || {
            let answer = agent.answer(asked.question).unwrap_or_else(failed);
            agent.tell(&Told::Answer(asked.id, answer));
        });
    }
    ExitCode::SUCCESS
}

#[derive(Default)]
pub(super) struct Agent {
    output: Mutex<()>,
    watcher: Watcher,
}

impl Agent {
    pub(super) fn watcher(&self) -> &Watcher {
        &self.watcher
    }

    fn greet(&self) -> io::Result<()> {
        // A learner may see it in ps.
        nix::sys::prctl::set_name(c"podlab")?;
        let program = std::env::current_exe()?;
        let folder = program.parent().and_then(Path::file_name).unwrap_or_default();
        let name = folder.to_string_lossy();
        let greeting = Greeting {
            protocol: VERSION,
            podlab: env!("CARGO_PKG_VERSION").to_owned(),
            program: name.trim_start_matches("podlab-").to_owned(),
            user: Caller::new().name,
        };
        self.write(&serde_json::to_vec(&greeting)?)
    }

    /// Writes a line. Where nobody reads it, standard input has ended too.
    pub(super) fn tell(&self, told: &Told) {
        let _ = serde_json::to_vec(told).map(|line| self.write(&line));
    }

    fn write(&self, line: &[u8]) -> io::Result<()> {
        let _one_at_a_time = self.output.lock().expect("no one panics with it");
        let mut output = io::stdout().lock();
        output.write_all(line)?;
        output.write_all(b"\n")?;
        output.flush()
    }

    fn answer(self: &Arc<Agent>, question: Question) -> Result<Answer, Error> {
        match question {
            Question::Snapshot => {
                self.watcher.arm();
                let options = Options { mark: true, ..Options::default() };
                Ok(Answer::Snapshot(Box::new(observe::snapshot(&options)?)))
            }
            Question::Start(exercise) => {
                let state = Home::of(&Caller::new())?.load()?;
                Ok(Answer::Start(Box::new(state.of(&exercise).start)))
            }
            Question::Experiment(request) => {
                Ok(Answer::Observation(Box::new(probe::run(&request))))
            }
            Question::Findings => Ok(Answer::Findings(doctor::examine_as(&Caller::new())?)),
            Question::Follow(follow) => {
                Ok(Answer::Following { told: self.watcher.follow(follow, self)? })
            }
        }
    }
}

fn failed(error: Error) -> Answer {
    let (message, hint) = error.parts();
    Answer::Failed { message, hint }
}
