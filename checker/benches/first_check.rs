//! How long it takes from power-on to the first check that passes, judged from outside.
//!
//! `PODLAB_VM_IMAGE=FOLDER cargo bench -p podlab --bench first_check`
//!
//! The folder is one that `vm/image/build` filled; without the variable it is `target/vm`. A machine is
//! started by `podlab vm up`, an exercise is done in it over ssh, and `podlab check --on` judges it.
//! What podlab sends to the machine is built before, if need be: a second run tells.

use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use podlab::facts::Learner;
use podlab::params::Params;

/// The exercise that is done.
const EXERCISE: &str = "two-lives";

/// Whose parameters it has.
const LEARNER: &str = "bench";

fn main() {
    let machine = Machine::new();
    let began = Instant::now();
    machine.podlab(&["vm", "up", "--backend", "qemu"]);
    let up = began.elapsed();
    machine.podlab(&["vm", "ssh", "--", &solution()]);
    let done = began.elapsed();
    machine.podlab(&["check", EXERCISE, "--on", "qemu", "--learner", LEARNER]);
    let passed = began.elapsed();
    println!("seconds");
    report("from power-on until the machine is up", up);
    report("doing the exercise over ssh", done - up);
    report("the first check, which sends podlab there", passed - done);
    report("from power-on to the first check that passes", passed);
}

fn report(what: &str, time: Duration) {
    println!("{what:<48} {:>6.1}", time.as_secs_f64());
}

/// One program, alive in two directories at once.
fn solution() -> String {
    let learner = Learner { seed: "podlab".to_owned(), name: LEARNER.to_owned() };
    let params = Params::new(&learner, EXERCISE);
    let live = |home| format!("mkdir {home}; (cd {home} && exec setsid sleep 600 >&- 2>&- <&-) & ");
    ["a", "b"].map(|label| live(params.name(label))).concat()
}

/// A machine under a state folder of its own, both gone when this process is, however it ends.
struct Machine {
    keeper: Child,
    word: Option<ChildStdin>,
    state: std::path::PathBuf,
}

/// Waits for the end of its input; then the machine is no longer needed.
const KEEPER: &str =
    r#"trap '' INT TERM HUP; read -r _; "$0" vm down --backend qemu; rm -r "$XDG_STATE_HOME""#;

impl Machine {
    fn new() -> Machine {
        let state = tempfile::tempdir().expect("a temporary folder").keep();
        let mut keeper = command(&state, "sh");
        keeper.args(["-c", KEEPER, env!("CARGO_BIN_EXE_podlab")]).stdin(Stdio::piped());
        let mut keeper = keeper.spawn().expect("sh");
        Machine { word: keeper.stdin.take(), keeper, state }
    }

    /// `podlab ARGS…`, which must succeed.
    fn podlab(&self, args: &[&str]) {
        let mut podlab = command(&self.state, env!("CARGO_BIN_EXE_podlab"));
        let status = podlab.args(args).stdin(Stdio::null()).status().expect("podlab");
        assert!(status.success(), "podlab {args:?}: {status}");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.word.take());
        let _ = self.keeper.wait();
    }
}

fn command(state: &Path, program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("XDG_STATE_HOME", state).env("PODLAB_HOME", state.join("progress"));
    command
}
