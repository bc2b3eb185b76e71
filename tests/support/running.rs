//! A command that runs while the test looks at it: read line by line, killed at a chosen moment, and
//! waited for until nothing of it is left that could print.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, pipe2};

use super::footprint::Mark;

/// How long a test waits for what must come.
const DEADLINE: Duration = Duration::from_secs(30);

/// A running command and what it has printed so far, standard error included.
pub struct Running {
    pub mark: Mark,
    child: Child,
    input: Option<ChildStdin>,
    output: File,
    pub text: String,
}

/// What is left when a command has ended.
pub struct Ended {
    /// The exit code as a shell has it: 128 + n for signal n.
    pub code: i32,
    pub text: String,
}

/// Starts `command` with a pipe as its standard input.
pub fn start(test: &str, command: &mut Command) -> Running {
    let mark = Mark::new(test);
    let (output, writer) = pipe2(OFlag::O_CLOEXEC).expect("a pipe");
    mark.put_on(command).stdin(Stdio::piped());
    command.stdout(writer.try_clone().expect("a descriptor")).stderr(writer);
    // A program that was just copied is busy while another thread's child still has it open to write.
    let mut child = until("program to be free", || match command.spawn() {
        Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => None,
        spawned => Some(spawned.expect("start the command")),
    });
    // The command holds writing ends, which would keep the pipe open.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let input = child.stdin.take();
    Running { mark, child, input, output: output.into(), text: String::new() }
}

impl Running {
    /// The process that was started.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Its children now.
    pub fn children(&self) -> Vec<i32> {
        children(self.pid())
    }

    /// Waits until it has a child.
    pub fn await_child(&self) -> i32 {
        until("a child", || self.children().first().copied())
    }

    /// Reads until it has printed `part`, or has ended.
    pub fn read_until(&mut self, part: &str) {
        while !self.text.contains(part) && self.read_more() {}
    }

    /// Reads until it has printed so many lines, or has ended.
    pub fn read_lines(&mut self, count: usize) {
        while self.text.lines().count() < count && self.read_more() {}
    }

    /// Sends `signal` to `pid`, which may have ended.
    pub fn send(&self, pid: i32, signal: Signal) {
        let _ = kill(Pid::from_raw(pid), signal);
    }

    /// Closes its input and waits for its end, and for the end of all that may still print.
    pub fn end(mut self) -> Ended {
        self.input = None;
        while self.read_more() {}
        let status = self.child.wait().expect("wait");
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        let left = self.mark.processes();
        assert!(left.is_empty(), "{left:?} are left; it printed:\n{}", self.text);
        Ended { code, text: std::mem::take(&mut self.text) }
    }

    /// Writes a line to its input.
    pub fn type_line(&mut self, line: &str) {
        let input = self.input.as_mut().expect("open input");
        writeln!(input, "{line}").expect("write to its input");
    }

    fn read_more(&mut self) -> bool {
        let timeout = PollTimeout::try_from(DEADLINE).expect("it fits");
        let mut ready = [PollFd::new(self.output.as_fd(), PollFlags::POLLIN)];
        let came = poll(&mut ready, timeout).expect("poll");
        assert!(came > 0, "nothing came for {DEADLINE:?} after:\n{}", self.text);
        let mut buffer = [0; 4096];
        let length = self.output.read(&mut buffer).expect("read its output");
        self.text.push_str(&String::from_utf8_lossy(&buffer[..length]));
        length > 0
    }
}

/// A test that fails leaves nothing running. What cleans up after the command gets the time to do so.
impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.child.kill();
            let start = Instant::now();
            while !self.mark.processes().is_empty() && start.elapsed() < Duration::from_secs(2) {
                std::thread::yield_now();
            }
            self.mark.end_all();
        }
        let _ = self.child.try_wait();
    }
}

/// The children of `pid`.
pub fn children(pid: i32) -> Vec<i32> {
    std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .map(|pid| pid.parse().expect("a number"))
        .collect()
}

/// The value of a field of `/proc/PID/status`, blanks made one.
pub fn status_field(pid: i32, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let value = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(value.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Looks again and again until there is something to see. For what the kernel tells nobody.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(start.elapsed() < DEADLINE, "no {what} within {DEADLINE:?}");
        std::thread::yield_now();
    }
}
