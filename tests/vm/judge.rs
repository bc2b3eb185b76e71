//! The host's side of a verdict from outside: answers the tests that run in the machine.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use podlab::facts::Learner;
use tempfile::TempDir;

use crate::machine::Machine;
use crate::outside::{Answer, Request, Said};
use crate::programs::Programs;

/// How often each exercise was judged, by the exit status of the check: 0 it holds, 1 it fails, 2 it
/// could not be judged.
pub(crate) type Verdicts = BTreeMap<String, [usize; 3]>;

/// Answers each request by a `podlab check --on`.
pub(crate) struct Judge<'m> {
    machine: &'m Machine,
    /// Its socket, its state, and the evidence.
    folder: TempDir,
    verdicts: Mutex<Verdicts>,
}

impl Judge<'_> {
    /// One for `machine`.
    pub(crate) fn of(machine: &Machine) -> Judge<'_> {
        let folder = tempfile::tempdir().expect("a folder");
        Judge { machine, folder, verdicts: Mutex::default() }
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Answers as long as `work` goes on. What it has judged.
    pub(crate) fn during(self, work: impl FnOnce(&Self)) -> Verdicts {
        let listener = UnixListener::bind(self.socket()).expect("a socket");
        let is_over = AtomicBool::new(false);
        let done = std::thread::scope(|scope| {
            scope.spawn(|| {
                for stream in listener.incoming().map_while(Result::ok) {
                    if is_over.load(Ordering::SeqCst) {
                        break;
                    }
                    scope.spawn(|| self.answer(stream));
                }
            });
            let done = catch_unwind(AssertUnwindSafe(|| work(&self)));
            is_over.store(true, Ordering::SeqCst);
            UnixStream::connect(self.socket()).expect("its own socket");
            done
        });
        done.unwrap_or_else(|panic| resume_unwind(panic));
        self.verdicts.into_inner().expect("no one panics with it")
    }

    /// Answers one request. Who asks and is not answered, fails.
    fn answer(&self, stream: UnixStream) {
        let mut line = String::new();
        let mut reader = BufReader::new(stream);
        if reader.read_line(&mut line).is_err() || line.is_empty() {
            return;
        }
        let request: Request = serde_json::from_str(&line).expect("a request");
        let answer = self.judge(&request);
        let exercise = request.arguments[0].clone();
        let code = usize::try_from(answer.checked.code).expect("an exit status");
        self.verdicts.lock().expect("no one panics with it").entry(exercise).or_default()[code] +=
            1;
        let answer = serde_json::to_string(&answer).expect("an answer is JSON") + "\n";
        let _ = reader.into_inner().write_all(answer.as_bytes());
    }

    fn judge(&self, request: &Request) -> Answer {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let evidence = self.folder.path().join(format!("evidence-{n}.json"));
        let run = |command: &mut Command| Said::from(command.output().expect("podlab"));
        let mut check = self.podlab(&request.learner, "check");
        check.args(["--on", &self.machine.target]).args(&request.arguments);
        let checked = run(check.arg("--evidence").arg(&evidence));
        let judged_again = run(self.podlab(&request.learner, "judge").arg(&evidence));
        let _ = std::fs::remove_file(&evidence);
        Answer { checked, judged_again }
    }

    fn podlab(&self, learner: &Learner, command: &str) -> Command {
        // It is static, and so it is itself what it sends.
        let mut podlab = Command::new(Programs::built().podlab());
        self.machine.known_to(&mut podlab);
        podlab
            .args([command, "--format", "json"])
            .env("PODLAB_HOME", self.folder.path().join("state"))
            .env("PODLAB_SEED", &learner.seed)
            .env("PODLAB_LEARNER", &learner.name);
        podlab
    }
}
