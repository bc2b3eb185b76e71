//! Running another program to its end, or to a deadline.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::error::{Error, lower};

/// More than this of what a program says is not kept.
const MOST_BYTES: usize = 64 << 10;

/// How long a program that has ended may leave its pipes open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What came of it.
pub(super) struct Ended {
    /// Whether its exit status is 0.
    pub(super) success: bool,
    /// What it wrote to standard output.
    pub(super) printed: String,
    /// What it wrote to standard error.
    pub(super) said: String,
}

/// Runs `command` without input. It ends with us, however we end.
///
/// # Errors
///
/// When it cannot be started, or takes longer than `limit`.
pub(super) fn run(command: &mut Command, limit: Duration) -> Result<Ended, Error> {
    let mut child = spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    let printed = Words::of(child.stdout.take().expect("standard output is a pipe"));
    let said = Words::of(child.stderr.take().expect("standard error is a pipe"));
    if !has_ended(&child, limit) {
        // Its group is not ours to end; what it started has lost its reader.
        let _ = child.kill();
        let _ = child.wait();
        return Err(Error::new(format!("{}: no answer within {limit:?}", name(command)))
            .hint("see whether the machine still runs, and try again"));
    }
    let success = child.wait().is_ok_and(|status| status.success());
    Ok(Ended { success, printed: printed.all(), said: said.all() })
}

/// Starts `command` with standard error as a pipe. It is ended when the thread that called this ends.
///
/// # Errors
///
/// When it is not there, or cannot be run.
pub(super) fn spawn(command: &mut Command) -> Result<Child, Error> {
    let parent = std::process::id();
    command.stderr(Stdio::piped());
    // SAFETY: prctl and getppid are async-signal-safe and touch no memory of ours.
    unsafe {
        command.pre_exec(move || {
            nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
            if nix::unistd::getppid().as_raw() as u32 != parent {
                return Err(std::io::Error::other("podlab has ended"));
            }
            Ok(())
        });
    }
    command.spawn().map_err(|error| {
        let name = name(command);
        Error::new(format!("{name}: {}", lower(&error.to_string())))
            .hint(format!("{name} must be on the PATH"))
    })
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// Waits for the end of `child`; whether it came in time.
pub(super) fn has_ended(child: &Child, limit: Duration) -> bool {
    let pid = Pid::from_child(child);
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else { return true };
    let until = Instant::now() + limit;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).ok();
        match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            ready => return ready.is_ok_and(|count| count > 0),
        }
    }
}

/// What a program writes, taken in by a thread so that it never waits for us.
pub(super) struct Words(Arc<(Mutex<Taken>, Condvar)>);

#[derive(Default)]
struct Taken {
    text: Vec<u8>,
    is_all: bool,
}

impl Words {
    /// Reads `pipe` to its end.
    pub(super) fn of(mut pipe: impl Read + Send + 'static) -> Words {
        let taken = Arc::new((Mutex::new(Taken::default()), Condvar::new()));
        let words = Words(Arc::clone(&taken));
        std::thread::spawn(move || {
            let (taken, ended) = &*taken;
            let mut part = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut part) {
                let kept = &mut taken.lock().expect("no one panics with it").text;
                let room = MOST_BYTES.saturating_sub(kept.len());
                kept.extend_from_slice(&part[..length.min(room)]);
            }
            taken.lock().expect("no one panics with it").is_all = true;
            ended.notify_all();
        });
        words
    }

    /// All there was. What the program left behind may hold the pipe open: it is not waited for long.
    pub(super) fn all(&self) -> String {
        let (taken, ended) = &*self.0;
        let taken = taken.lock().expect("no one panics with it");
        let (taken, _) = ended
            .wait_timeout_while(taken, LAST_WORDS, |taken| !taken.is_all)
            .expect("no one panics with it");
        String::from_utf8_lossy(&taken.text).into_owned()
    }
}
