//! `podlab tour`: two minutes at most, hands off. A lab, then one exercise done wrong, then right.
//! Nothing is kept: what the tour starts ends with it, whatever ends it.

use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::Error;
use crate::exercise::Exercise;
use crate::exercises;
use crate::facts::{Learner, Start};
use crate::judge;
use crate::machine::Machine;
use crate::observe::{self, Options};
use crate::params::Params;
use crate::probe;
use crate::report::style::{Style, Tone};
use crate::report::text;
use crate::session;

/// How long a screenful stays before the next, in a terminal.
const READING: Duration = Duration::from_secs(15);

/// An init that never waits for a child, hears no signal, and sees the machine's `/proc`.
const WRONG: &str = "echo ready; exec sleep 600";

/// An init that waits for every child and ends on SIGTERM.
const RIGHT: &str = r#"trap "exit 0" TERM; echo ready; while :; do sleep 600 & wait; done"#;

/// Runs the lab `fake-init`, whose program is given, and does the exercise of that name.
///
/// # Errors
///
/// When the lab or the exercise cannot be run here.
pub fn run(lab: &Path, learner: &Learner, style: Style) -> Result<(), Error> {
    let tour =
        Tour { exercise: the_exercise(), learner, style, in_terminal: io::stdout().is_terminal() };
    tour.say(
        "1 of 3",
        "a lab: one experiment, one program. It says what it does and what the kernel says.",
    );
    tour.lab(lab)?;
    tour.pause();
    let task = (tour.exercise.task)(&Params::new(learner, tour.exercise.id));
    tour.say("2 of 3", "an exercise, done in an ordinary shell. First done wrong:");
    println!("{task}\n");
    tour.attempt(&["--pid", "--fork"], WRONG)?;
    tour.pause();
    tour.say(
        "3 of 3",
        "the same, as the hints say: a /proc of its own, an init that waits and listens.",
    );
    tour.attempt(&["--pid", "--fork", "--mount-proc"], RIGHT)?;
    println!("Nothing of this is left on the machine. Your turn: podlab");
    Ok(())
}

struct Tour<'t> {
    exercise: &'static Exercise,
    learner: &'t Learner,
    style: Style,
    in_terminal: bool,
}

fn the_exercise() -> &'static Exercise {
    exercises::by_id("fake-init").expect("the course has this exercise")
}

impl Tour<'_> {
    fn say(&self, step: &str, what: &str) {
        println!("{}  {what}\n", self.style.paint(Tone::Strong, step));
    }

    fn lab(&self, program: &Path) -> Result<(), Error> {
        println!("$ fake-init");
        let mut command = Command::new(program);
        let status = dying_with_us(&mut command).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Error::new(format!("{}: {status}", program.display()))),
            Err(error) => Err(Error::file(program, error)),
        }
    }

    /// Starts `script` as PID 1 the way `flags` say, judges, and ends it.
    fn attempt(&self, flags: &[&str], script: &str) -> Result<(), Error> {
        let start = self.note_start()?;
        let _init = self.start_init(flags, script)?;
        let mut evidence =
            session::gather(&Machine::Here, self.learner, self.exercise, Some(start), None)?;
        let judged =
            judge::judge(self.exercise, &mut evidence, &mut |asked| Some(probe::run(asked)));
        println!("$ podlab check {}", self.exercise.id);
        println!("{}", text::judgement(&judged, None, self.style));
        Ok(())
    }

    fn note_start(&self) -> Result<Start, Error> {
        let machine = observe::machine(&Options::default())?;
        Ok(Start {
            boot_id: machine.boot_id,
            ticks: machine.ticks_since_boot,
            oom_kills: Vec::new(),
            room: None,
        })
    }

    fn start_init(&self, flags: &[&str], script: &str) -> Result<Ending, Error> {
        let mark = exercises::fake_init_mark(&Params::new(self.learner, self.exercise.id));
        // What an ordinary user needs in addition.
        let user: &[&str] = match nix::unistd::geteuid().is_root() {
            true => &[],
            false => &["--user", "--map-root-user"],
        };
        let flags = [user, flags, &["--kill-child"]].concat();
        let shown = flags.join(" ");
        println!("$ PODLAB={mark} unshare {shown} sh -c '{script}' &");
        let mut command = Command::new("unshare");
        command.args(flags).args(["sh", "-c", script]);
        command.env("PODLAB", mark).stdin(Stdio::null()).stdout(Stdio::piped());
        let child = dying_with_us(&mut command)
            .spawn()
            .map_err(|error| Error::new(format!("unshare: {error}")).hint("install util-linux"))?;
        let mut init = Ending(child);
        init.await_ready()?;
        Ok(init)
    }

    /// Time to read. A key shortens it; without a terminal nobody reads.
    fn pause(&self) {
        println!();
        if !self.in_terminal {
            return;
        }
        print!("{}", self.style.paint(Tone::Dim, "(goes on by itself; Enter goes on now)"));
        let _ = io::stdout().flush();
        let input = io::stdin();
        let timeout = Timespec::try_from(READING).ok();
        let pressed = poll(&mut [PollFd::new(&input, PollFlags::IN)], timeout.as_ref());
        if pressed.is_ok_and(|count| count > 0) {
            let _ = input.lock().read_line(&mut String::new());
        }
        println!("\n");
    }
}

/// Has the kernel end the child when we end, however we end (`PR_SET_PDEATHSIG`).
fn dying_with_us(command: &mut Command) -> &mut Command {
    // SAFETY: prctl is a system call and touches no memory of ours.
    unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) }
}

/// A child that ends when this is dropped, and with it, as `--kill-child` says, its namespace.
struct Ending(Child);

impl Ending {
    fn await_ready(&mut self) -> Result<(), Error> {
        let output = self.0.stdout.as_mut().expect("standard output is a pipe");
        let mut line = String::new();
        match BufReader::new(output).read_line(&mut line) {
            Ok(_) if line == "ready\n" => Ok(()),
            _ => Err(Error::new("unshare: no namespace could be made here")
                .hint("podlab doctor says what is missing")),
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
