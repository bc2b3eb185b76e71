//! The host's end of the conversation with an agent.

use std::collections::HashMap;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdin, ChildStdout};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

use crate::error::Error;

use super::command::{self, Words};
use super::lines::{Lines, Next};
use super::protocol::{Answer, Asked, Greeting, LONGEST_ANSWER, Question, Told, VERSION};
use super::ssh::Connection;
use super::target::Target;
use super::{faults, install};

/// How long an agent may take to begin: a machine under emulation is slow, not silent.
const GREETING: Duration = Duration::from_secs(60);

/// How long an answer may take. An experiment gives up by itself after fifteen seconds.
const ANSWER: Duration = Duration::from_secs(120);

/// How often the agent is told that we are still there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);

/// An agent that answers.
pub(super) struct Client {
    target: Target,
    shared: Arc<Shared>,
    session: Child,
    /// On whose behalf the agent looks.
    pub(super) user: String,
}

/// What came of starting an agent.
pub(super) enum Begun {
    /// It answers.
    Client(Client),
    /// The program is not there yet; the machine is of this type.
    Missing(String),
    /// The connection is no good.
    HungUp,
}

/// What the thread that reads shares with those that ask.
struct Shared {
    input: Mutex<ChildStdin>,
    state: Mutex<State>,
    /// Readable when there is news: a change, or the end.
    news: OwnedFd,
}

#[derive(Default)]
struct State {
    last: u64,
    waiting: HashMap<u64, Sender<Answer>>,
    has_changed: bool,
    has_ended: bool,
}

impl Client {
    /// Starts the agent whose program has this digest.
    ///
    /// # Errors
    ///
    /// When nobody can be root there, or something else answers.
    pub(super) fn begin(
        connection: &Connection,
        digest: &str,
        target: &Target,
    ) -> Result<Begun, Error> {
        let mut session = connection.session(install::START)?;
        let said = Words::of(session.stderr.take().expect("standard error is a pipe"));
        let mut input = session.stdin.take().expect("standard input is a pipe");
        // Where the machine does not listen, it says why.
        let _ = writeln!(input, "{digest}");
        let output = session.stdout.take().expect("standard output is a pipe");
        let mut lines = Lines::of(output, LONGEST_ANSWER);
        match lines.next(GREETING) {
            Next::Line(line) => {
                let line = String::from_utf8_lossy(&line);
                if let Some(machine) = line.strip_prefix("podlab-missing ") {
                    end(&mut session);
                    return Ok(Begun::Missing(machine.to_owned()));
                }
                let greeting = serde_json::from_str::<Greeting>(&line).ok();
                let known = greeting.filter(|it| it.protocol == VERSION && it.program == digest);
                let Some(Greeting { user, .. }) = known else {
                    end(&mut session);
                    return Err(faults::garbage(&line, target));
                };
                let client = Client::converse(session, input, lines, target, user);
                client.map(Begun::Client)
            }
            Next::Silence => {
                end(&mut session);
                Ok(Begun::HungUp)
            }
            Next::End => {
                let code = match command::has_ended(&session, GREETING) {
                    true => session.wait().ok().and_then(|status| status.code()),
                    false => None,
                };
                end(&mut session);
                match code {
                    Some(255) | None => Ok(Begun::HungUp),
                    code => Err(faults::of_session(code, &said.all(), target)),
                }
            }
        }
    }

    fn converse(
        session: Child,
        input: ChildStdin,
        lines: Lines<ChildStdout>,
        target: &Target,
        user: String,
    ) -> Result<Client, Error> {
        let news = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| Error::new(format!("eventfd: {}", std::io::Error::from(error))))?;
        let state = Mutex::new(State::default());
        let shared = Arc::new(Shared { input: Mutex::new(input), state, news });
        let reading = Arc::clone(&shared);
        std::thread::spawn(move || reading.read(lines));
        Ok(Client { target: target.clone(), shared, session, user })
    }

    /// Asks and waits for the answer. Several may ask at once.
    ///
    /// # Errors
    ///
    /// When the machine has hung up or takes too long, or the agent could not do it.
    pub(super) fn ask(&self, question: Question) -> Result<Answer, Error> {
        let (sender, answer) = channel();
        let id = self.shared.state().expect_answer(sender).ok_or_else(|| self.cut())?;
        let line = serde_json::to_vec(&Asked { id, question }).expect("a question is JSON");
        self.shared.write(&line).map_err(|_| self.cut())?;
        match answer.recv_timeout(ANSWER) {
            Ok(Answer::Failed { message, hint }) => {
                let error = Error::new(format!("{}: {message}", self.target));
                Err(hint.into_iter().fold(error, Error::hint))
            }
            Ok(answer) => Ok(answer),
            Err(RecvTimeoutError::Disconnected) => Err(self.cut()),
            Err(RecvTimeoutError::Timeout) => {
                Err(Error::new(format!("{}: no answer within {ANSWER:?}", self.target))
                    .hint("nothing was judged; see whether it still runs, and try again"))
            }
        }
    }

    /// Readable when [`Client::has_changed`] has something to say.
    pub(super) fn news(&self) -> &OwnedFd {
        &self.shared.news
    }

    /// Whether a change was told since this was last called.
    ///
    /// # Errors
    ///
    /// When the machine has hung up.
    pub(super) fn has_changed(&self) -> Result<bool, Error> {
        // The counter only wakes.
        let _ = rustix::io::read(&self.shared.news, &mut [0; 8]);
        let mut state = self.shared.state();
        if state.has_ended {
            return Err(self.cut());
        }
        Ok(std::mem::take(&mut state.has_changed))
    }

    /// What was answered is not what was asked for.
    pub(super) fn confused(&self) -> Error {
        Error::new(format!("{}: podlab there does not answer what it is asked", self.target))
            .hint("nothing was judged")
    }

    fn cut(&self) -> Error {
        faults::cut(&self.target)
    }
}

impl Drop for Client {
    /// With its session, the agent ends, and with it what it started.
    fn drop(&mut self) {
        end(&mut self.session);
    }
}

impl State {
    /// Notes who waits for the next answer, under a number; nothing where none will come.
    fn expect_answer(&mut self, sender: Sender<Answer>) -> Option<u64> {
        if self.has_ended {
            return None;
        }
        self.last += 1;
        self.waiting.insert(self.last, sender);
        Some(self.last)
    }
}

impl Shared {
    fn read(&self, mut lines: Lines<ChildStdout>) {
        let mut last_sign = Instant::now();
        loop {
            match lines.next(SIGN_OF_LIFE) {
                Next::Line(line) if self.take_in(&line) => {}
                Next::Silence => {}
                Next::Line(_) | Next::End => break,
            }
            if last_sign.elapsed() >= SIGN_OF_LIFE {
                last_sign = Instant::now();
                let _ = self.write(b"");
            }
        }
        let mut state = self.state();
        state.has_ended = true;
        state.waiting.clear();
        self.wake();
    }

    /// Whether the line was understood.
    fn take_in(&self, line: &[u8]) -> bool {
        match serde_json::from_slice(line) {
            Ok(Told::Answer(id, answer)) => {
                // Who asked may have given up.
                let asked = self.state().waiting.remove(&id);
                if let Some(sender) = asked {
                    let _ = sender.send(answer);
                }
                true
            }
            Ok(Told::Changed) => {
                self.state().has_changed = true;
                self.wake();
                true
            }
            Err(_) => false,
        }
    }

    fn write(&self, line: &[u8]) -> std::io::Result<()> {
        let mut input = self.input.lock().expect("no one panics with it");
        input.write_all(&[line, b"\n"].concat())?;
        input.flush()
    }

    fn wake(&self) {
        let _ = rustix::io::write(&self.news, &1u64.to_ne_bytes());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no one panics with it")
    }
}

fn end(session: &mut Child) {
    let _ = session.kill();
    let _ = session.wait();
}
