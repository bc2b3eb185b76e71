//! The means by which a learner brings something about: shells, Python, C, containers. Whatever a
//! test starts ends with the guard that it holds, also when the test panics.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use nix::unistd::setsid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::support::footprint::Mark;

/// Far longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A command that was started, and all that it started itself.
pub struct Started {
    child: Child,
    mark: Mark,
    lines: Receiver<String>,
}

impl Started {
    /// Starts `command` in a session of its own. Its standard input stays open until the end, its
    /// standard output is read by [`Started::line`].
    pub fn new(command: &mut Command) -> Started {
        let mark = Mark::new("started");
        mark.put_on(command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // SAFETY: setsid is async-signal-safe and touches no memory.
        unsafe { command.pre_exec(|| setsid().map(drop).map_err(Into::into)) };
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = child.stdout.take().expect("standard output is a pipe");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Started { child, mark, lines }
    }

    /// Starts `command` and waits until it has said `ready`.
    pub fn ready(command: &mut Command) -> Started {
        let started = Started::new(command);
        assert_eq!(started.line(), "ready", "{command:?}");
        started
    }

    /// The next line that it prints.
    pub fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line on standard output")
    }

    /// The PID of the command itself.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// Its standard input, to be closed or written to.
    pub fn stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// The processes that it started, itself included, as the kernel tells them at this moment: those
    /// with its mark in the environment, and those in its session. Zombies count where they are in
    /// the session.
    pub fn family(&self) -> Vec<i32> {
        let mut found = self.mark.processes();
        found.extend(pids().filter(|pid| stat_field(*pid, 6) == Some(i64::from(self.pid()))));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The only one of the family with these numbers in `NSpid`, the first left out: `[1]` is PID 1
    /// one level below.
    pub fn below(&self, inner: &[i32]) -> i32 {
        let found: Vec<i32> =
            self.family().into_iter().filter(|pid| ns_pid(*pid).get(1..) == Some(inner)).collect();
        let [only] = found[..] else { panic!("NSpid … {inner:?}: {found:?}") };
        only
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // A killed process may have forked just before: look again until none is left.
        loop {
            let alive: Vec<i32> = self
                .family()
                .into_iter()
                .filter(|pid| state(*pid).is_some_and(|s| s != 'Z'))
                .collect();
            if alive.is_empty() {
                break;
            }
            alive.into_iter().for_each(kill);
        }
        let _ = self.child.wait();
    }
}

/// A container of the Docker engine.
pub struct Container(String);

impl Container {
    /// What `docker run --detach ARGS…` does, with an image that is there.
    pub fn run(args: &[&str]) -> Container {
        crate::support::docker::ensure_busybox();
        let container = Container(docker(&[&["create"], args].concat()));
        docker(&["start", &container.0]);
        container
    }

    /// Its PID 1, as this machine numbers it.
    pub fn pid(&self) -> i32 {
        self.inspect("{{.State.Pid}}").parse().expect("a PID")
    }

    /// What `docker inspect` says.
    pub fn inspect(&self, format: &str) -> String {
        docker(&["inspect", "--format", format, &self.0])
    }

    /// Waits until it has printed this line.
    pub fn printed(&self, line: &str) {
        let mut logs = Command::new("docker");
        logs.args(["logs", "--follow", &self.0]);
        let logs = Started::new(&mut logs);
        while logs.line() != line {}
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let mut remove = Command::new("docker");
        remove
            .args(["rm", "--force", "--volumes", &self.0])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let _ = remove.status();
    }
}

fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().expect("docker");
    assert!(
        output.status.success(),
        "docker {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text").trim().to_owned()
}

/// Lets `command` inherit this descriptor, as a shell does after `exec 9<FILE`.
pub fn inheriting(command: &mut Command, number: i32) -> &mut Command {
    // SAFETY: fcntl is async-signal-safe and touches no memory.
    unsafe {
        command.pre_exec(move || match libc::fcntl(number, libc::F_SETFD, 0) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        })
    }
}

/// `sh -c SCRIPT`.
pub fn sh(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

/// `python3 -c SCRIPT`, without a wrapper around it.
pub fn python(script: &str) -> Command {
    let python = ["/usr/bin/python3", "/usr/local/bin/python3"].map(Path::new);
    let python = python.into_iter().find(|path| path.exists());
    let mut command = Command::new(python.unwrap_or(Path::new("python3")));
    // Nothing is written beside a module that it imports.
    command.args(["-B", "-u", "-c", script]);
    command
}

/// Compiles a C program into `folder`.
pub fn compile_c(source: &str, folder: &Path, name: &str) -> PathBuf {
    let (text, program) = (folder.join(format!("{name}.c")), folder.join(name));
    fs::write(&text, source).expect("write the source");
    let mut gcc = Command::new("gcc");
    gcc.args(["-std=gnu11", "-Wall", "-Werror", "-o"]).arg(&program).arg(&text);
    let output = gcc.output().expect("gcc");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}

/// `NSpid` of a process; empty when it is gone.
pub fn ns_pid(pid: i32) -> Vec<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    numbers.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// The state letter of a process; nothing when it is gone.
pub fn state(pid: i32) -> Option<char> {
    stat(pid)?.chars().next()
}

/// The children of a process, zombies included.
pub fn children(pid: i32) -> Vec<i32> {
    pids().filter(|child| stat_field(*child, 4) == Some(i64::from(pid))).collect()
}

/// Kills a process and waits until it has ended. Nothing where it already had.
pub fn kill(pid: i32) {
    let Some(pidfd) = pidfd(pid) else { return };
    let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    await_end(&pidfd);
}

/// Takes hold of a process. Nothing where it is gone.
pub fn pidfd(pid: i32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

/// Waits until a process has ended.
pub fn await_end(pidfd: &OwnedFd) {
    let timeout = Timespec::try_from(PATIENCE).expect("a minute");
    let ended = poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&timeout));
    assert_eq!(ended, Ok(1), "a process does not end");
}

/// Waits until the clock that start times are told by has moved on: what starts now starts later.
pub fn next_tick() {
    let uptime = || fs::read_to_string("/proc/uptime").expect("/proc/uptime");
    let before = uptime();
    while uptime() == before {}
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").expect("/proc");
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Field `n` of `/proc/PID/stat`, counted as in proc_pid_stat(5); only those after the name.
fn stat_field(pid: i32, n: usize) -> Option<i64> {
    stat(pid)?.split(' ').nth(n - 3)?.parse().ok()
}

/// What follows the name in `/proc/PID/stat`.
fn stat(pid: i32) -> Option<String> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 2;
    Some(String::from_utf8_lossy(stat.get(after_name..)?).into_owned())
}
