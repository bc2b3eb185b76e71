//! How soon the live screen shows a verdict, and what it costs while nothing happens.
//!
//! `cargo bench -p podlab --bench watch`
//!
//! A real terminal (a pty) is read until the words are there. Three changes are timed, each many
//! times: a new process, of which the kernel tells; a shell that changes its directory, of which it
//! does not; and the end of a process. Then nothing is done for ten seconds, and the processor time
//! that podlab took is read.
//!
//! On two cores, Linux 6.18, with nothing else at work (November 2026):
//!
//! ```text
//!                                                median    worst
//! a process is started (told by the kernel)        14.5     21.9
//! a shell changes its directory (looked for)       20.1     71.6
//! a process ends (told by the kernel)              13.3     17.3
//! idle for 10 s: 0.41 percent of a core (0 processes were started on this machine)
//! ```

#[path = "../../tests/support/screen.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests")]
mod screen;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use podlab::facts::Learner;
use podlab::params::Params;

use screen::Screen;

/// How often each change is made.
const ROUNDS: usize = 30;

/// How long to do nothing.
const IDLE: Duration = Duration::from_secs(10);

fn main() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let mut screen = watch(home.path());
    screen.until_shows("of 5 points");
    let [first, second] = homes(home.path());
    let mut times = Times::default();
    for _ in 0..ROUNDS {
        round(&mut screen, &first, &second, &mut times);
    }
    println!("milliseconds from the change to the verdict on the screen, {ROUNDS} rounds");
    println!("{:<44} {:>8} {:>8}", "", "median", "worst");
    report("a process is started (told by the kernel)", &mut times.started);
    report("a shell changes its directory (looked for)", &mut times.moved);
    report("a process ends (told by the kernel)", &mut times.ended);
    screen.look_on(Duration::from_millis(500));
    idle(&mut screen);
}

#[derive(Default)]
struct Times {
    started: Vec<Duration>,
    moved: Vec<Duration>,
    ended: Vec<Duration>,
}

/// One home is taken by a new process; the other by a shell that moves there; both end.
fn round(screen: &mut Screen, first: &Path, second: &Path, times: &mut Times) {
    let mut moving = Shell::start("/");
    screen.until_shows("no process in either");
    let began = Instant::now();
    let standing = Shell::start(first);
    screen.until_shows("no second one");
    times.started.push(began.elapsed());
    let began = Instant::now();
    moving.go_to(second);
    screen.until_shows("5 of 5 points");
    times.moved.push(began.elapsed());
    let began = Instant::now();
    drop(standing);
    screen.until(|text| !text.contains("5 of 5 points"));
    times.ended.push(began.elapsed());
    drop(moving);
    screen.until_shows("no process in either");
}

fn watch(home: &Path) -> Screen {
    let mut command = Command::new(env!("CARGO_BIN_EXE_podlab"));
    command
        .args(["watch", "two-lives", "--learner", "bench"])
        .env("PODLAB_HOME", home.join("state"));
    Screen::new(command, 45, 120)
}

fn homes(folder: &Path) -> [PathBuf; 2] {
    let learner = Learner { seed: "podlab".to_owned(), name: "bench".to_owned() };
    let params = Params::new(&learner, "two-lives");
    ["a", "b"].map(|label| {
        let home = folder.join(params.name(label));
        fs::create_dir(&home).expect("mkdir");
        home
    })
}

/// A shell that waits, changes its directory when told, and ends when dropped.
struct Shell {
    child: Child,
    input: Option<ChildStdin>,
}

impl Shell {
    fn start(folder: impl AsRef<Path>) -> Shell {
        let mut command = Command::new("sh");
        command.args(["-c", "read folder; cd \"$folder\"; read end"]).current_dir(folder);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("sh");
        let input = child.stdin.take();
        Shell { child, input }
    }

    fn go_to(&mut self, folder: &Path) {
        let input = self.input.as_mut().expect("it is open");
        writeln!(input, "{}", folder.display()).expect("write to the shell");
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.input.take());
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }
}

fn report(what: &str, times: &mut [Duration]) {
    times.sort();
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    println!("{what:<44} {:>8.1} {:>8.1}", ms(times[times.len() / 2]), ms(times[times.len() - 1]));
}

/// What podlab takes while nothing happens. Others may be at work on this machine, so the number of
/// processes that were started meanwhile is told as well.
fn idle(screen: &mut Screen) {
    let (before, forks, began) = (processor_time(screen.pid()), forks(), Instant::now());
    screen.look_on(IDLE);
    let share =
        (processor_time(screen.pid()) - before).as_secs_f64() / began.elapsed().as_secs_f64();
    println!(
        "idle for {} s: {:.2} percent of a core ({} processes were started on this machine)",
        IDLE.as_secs(),
        share * 100.0,
        self::forks() - forks
    );
}

/// Time on a processor of all threads: field 1 of `/proc/PID/task/TID/schedstat`, in nanoseconds.
fn processor_time(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("threads");
    let times = threads.map(|thread| {
        let path = thread.expect("a thread").path().join("schedstat");
        let text = fs::read_to_string(path).expect("schedstat");
        text.split(' ').next().and_then(|field| field.parse::<u64>().ok()).expect("nanoseconds")
    });
    Duration::from_nanos(times.sum())
}

/// Processes and threads started since boot: `processes` of `/proc/stat`.
fn forks() -> u64 {
    let stat = fs::read_to_string("/proc/stat").expect("/proc/stat");
    let line = stat.lines().find_map(|line| line.strip_prefix("processes "));
    line.and_then(|count| count.parse().ok()).expect("a count")
}
