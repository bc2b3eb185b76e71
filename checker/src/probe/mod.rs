//! Active experiments on a subject. Each runs in a fresh, single-threaded child of its own with a
//! deadline: setns(2) refuses a process with threads, and what a learner made may hang whoever
//! looks at it.

mod answer;
mod held;
mod oom_log;
mod orphan;
mod proc_view;
mod program_file;
mod same_memory;
mod terminate;

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::Error;
use crate::facts::{Observation, Request};

/// The hidden argument with which podlab starts itself as a probe.
pub const ARGUMENT: &str = "__probe";

/// How long a probe may take, whatever it meets. The longest of them waits five seconds itself.
const DEADLINE: Duration = Duration::from_secs(15);

/// Makes the experiment and says what it saw; never fails, since not to have seen is an observation.
pub fn run(request: &Request) -> Observation {
    run_child(request).unwrap_or_else(|error| nothing(format!("the probe failed: {error}")))
}

/// What the child does: reads a request from standard input, answers on standard output.
///
/// # Errors
///
/// When the request cannot be read or the answer not written.
pub fn child() -> io::Result<()> {
    // A learner may see it in ps: not as `exe`, which is how it was started.
    nix::sys::prctl::set_name(c"podlab")?;
    let request: Request = serde_json::from_reader(io::stdin().lock())?;
    let observation = look(&request).unwrap_or_else(nothing);
    serde_json::to_writer(io::stdout().lock(), &observation)?;
    io::stdout().flush()
}

fn look(request: &Request) -> Result<Observation, String> {
    match request {
        Request::ProcView { process } => proc_view::look(*process),
        Request::Orphan { init } => orphan::look(*init),
        Request::Terminate { process } => terminate::look(*process),
        Request::SameMemory { one, other } => same_memory::look(*one, *other),
        Request::ProgramFile { process, beside } => program_file::look(*process, beside),
        Request::Answer { path } => answer::look(path),
        Request::OomLog { cgroup } => oom_log::look(cgroup),
    }
}

/// One line about a call that failed, with advice where permission is what lacks.
fn failed(what: impl Display, error: impl Into<io::Error>) -> String {
    let error = error.into();
    let refused = error.kind() == io::ErrorKind::PermissionDenied;
    let advice = if refused { "; ask as root or as its user" } else { "" };
    format!("{}{advice}", Error::file(Path::new(&what.to_string()), error))
}

fn nothing(why: String) -> Observation {
    Observation::Nothing { why }
}

fn run_child(request: &Request) -> io::Result<Observation> {
    let mut child = spawn()?;
    let answer = converse(&mut child, request);
    // Whatever came of it, nothing of the probe stays.
    let _ = child.kill();
    child.wait()?;
    let answer = answer?;
    serde_json::from_slice(&answer).map_err(|_| io::Error::other("it ended without an answer"))
}

fn spawn() -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg(ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let parent = std::process::id();
    // SAFETY: prctl and getppid are async-signal-safe and touch no memory of ours.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
            // The parent may have ended before the call.
            if nix::unistd::getppid().as_raw() as u32 != parent {
                return Err(io::Error::other("podlab has ended"));
            }
            Ok(())
        });
    }
    command.spawn()
}

fn converse(child: &mut Child, request: &Request) -> io::Result<Vec<u8>> {
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    serde_json::to_writer(&mut stdin, request)?;
    drop(stdin);
    let mut stdout = child.stdout.take().expect("standard output is a pipe");
    let until = Instant::now() + DEADLINE;
    let mut answer = Vec::new();
    let mut part = [0; 64 * 1024];
    loop {
        wait_readable(&stdout, until)?;
        match stdout.read(&mut part)? {
            0 => return Ok(answer),
            n => answer.extend_from_slice(&part[..n]),
        }
    }
}

/// Waits until `file` can be read or has ended.
fn wait_readable(file: &impl AsFd, until: Instant) -> io::Result<()> {
    let left = until.saturating_duration_since(Instant::now());
    let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
    let mut files = [PollFd::new(file, PollFlags::IN)];
    match poll(&mut files, Some(&timeout)) {
        Ok(0) => Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long")),
        Ok(_) => Ok(()),
        Err(rustix::io::Errno::INTR) => wait_readable(file, until),
        Err(error) => Err(error.into()),
    }
}
