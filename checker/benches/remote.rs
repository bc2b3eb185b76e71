//! What looking from outside costs: one exercise checked on another machine, and from here.
//!
//! `cargo bench -p podlab --bench remote -- TARGET [EXERCISE]`
//!
//! TARGET is what `--on` takes; its connection is made, and podlab sent, before anything is timed. From
//! outside, podlab reads as root, so it is compared with `sudo podlab check` there, timed there by a
//! shell: the session that the shell runs in is not counted for it. The two take turns, so that both
//! have the same neighbours.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use podlab::caller::Caller;
use podlab::remote::{self, Target};

/// How often each is measured.
const ROUNDS: usize = 25;

/// More than this from outside is too much, says the course.
const MOST: Duration = Duration::from_millis(300);

/// A shell there: for each line that it reads it checks the exercise, and says how many nanoseconds
/// that took.
const SHELL: &str = r#"exec bash -c 'read -r exercise; home=$(mktemp -d); s=env; [ -w /run ] || s="sudo -n"; while read -r _; do began=$(date +%s%N); $s PODLAB_HOME=$home podlab check "$exercise" >/dev/null 2>&1; ended=$(date +%s%N); echo $((ended - began)); done; rm -rf $home'"#;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let Some(target) = words.next() else {
        println!("remote: no TARGET: cargo bench -p podlab --bench remote -- qemu");
        return ExitCode::SUCCESS;
    };
    let exercise = words.next().unwrap_or_else(|| "two-lives".to_owned());
    let home = tempfile::tempdir().expect("a temporary folder");
    let outside = || {
        let mut podlab = Command::new(env!("CARGO_BIN_EXE_podlab"));
        podlab.args(["check", &exercise, "--on", &target]).env("PODLAB_HOME", home.path());
        time(&mut podlab)
    };
    outside();
    let mut inside = Inside::start(&target.parse().expect("a target"), &exercise);
    inside.time();
    let (mut there, mut here) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        there.push(inside.time());
        here.push(outside());
    }
    report(&target, &exercise, &mut there, &mut here)
}

fn time(podlab: &mut Command) -> Duration {
    let began = Instant::now();
    let output = podlab.output().expect("podlab");
    let took = began.elapsed();
    // 1 is a verdict too.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 1)), "{said}");
    took
}

/// A shell on the machine that checks when it is told to.
struct Inside {
    shell: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Inside {
    fn start(target: &Target, exercise: &str) -> Inside {
        let mut ssh = remote::login(target, &Caller::new()).expect("a machine");
        ssh.arg(SHELL).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = ssh.spawn().expect("ssh");
        let mut input = shell.stdin.take().expect("a pipe");
        writeln!(input, "{exercise}").expect("write to the shell");
        let output = BufReader::new(shell.stdout.take().expect("a pipe"));
        Inside { shell, input: Some(input), output }
    }

    fn time(&mut self) -> Duration {
        let input = self.input.as_mut().expect("it is open");
        writeln!(input, "go").expect("write to the shell");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("read from the shell");
        Duration::from_nanos(
            line.trim().parse().expect("nanoseconds: is podlab on the PATH there?"),
        )
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.shell.wait();
    }
}

fn report(target: &str, exercise: &str, there: &mut [Duration], here: &mut [Duration]) -> ExitCode {
    println!("milliseconds for podlab check {exercise}, {ROUNDS} rounds");
    println!("{:<36} {:>8} {:>8} {:>8}", "", "best", "median", "worst");
    let inside = row(&format!("sudo podlab check, on {target}"), there);
    let outside = row(&format!("podlab check --on {target}"), here);
    let more = outside.saturating_sub(inside);
    println!("from here it takes {:.0} ms more; {} ms may be", ms(more), MOST.as_millis());
    if more <= MOST { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints a line and returns the median.
fn row(what: &str, times: &mut [Duration]) -> Duration {
    times.sort();
    let median = times[times.len() / 2];
    let (best, worst) = (times[0], times[times.len() - 1]);
    println!("{what:<36} {:>8.0} {:>8.0} {:>8.0}", ms(best), ms(median), ms(worst));
    median
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
