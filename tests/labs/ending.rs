//! Ending a lab at a chosen moment, and waiting until all that it started has ended too.

use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::footprint::Mark;

/// What ends a lab from outside.
pub(crate) const ENDINGS: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL];

/// Starts `command`, sends it `signal` when it has printed `lines` lines, and waits for the end of
/// everything that it started.
///
/// # Panics
///
/// When something of it is still there after ten seconds.
pub(crate) fn ended_after_lines(command: &mut Command, lines: usize, signal: Signal) {
    let mark = Mark::new("lines");
    let mut lab = mark.put_on(command).stdout(Stdio::piped()).spawn().expect("start the lab");
    let mut output = BufReader::new(lab.stdout.take().expect("piped")).lines();
    assert_eq!(output.by_ref().take(lines).count(), lines, "the lab prints {lines} lines");
    kill(Pid::from_raw(lab.id() as i32), signal).expect("the lab is not waited for yet");
    nothing_is_left(lab, &mark);
}

/// Starts `command`, and as soon as it has had `children` children sends `signal` to the lab, or to
/// the newest child.
///
/// # Panics
///
/// When something of it is still there after ten seconds.
pub(crate) fn ended_at_birth(
    command: &mut Command,
    children: usize,
    whom: fn(lab: i32, child: i32) -> i32,
    signal: Signal,
) {
    let mark = Mark::new("birth");
    let mut lab = mark.put_on(command).stdout(Stdio::null()).spawn().expect("start the lab");
    let path = format!("/proc/{0}/task/{0}/children", lab.id());
    loop {
        let born = std::fs::read_to_string(&path).unwrap_or_default();
        let born: Vec<i32> = born.split_whitespace().flat_map(str::parse).collect();
        if born.len() >= children {
            // The child may have ended by itself by now.
            let _ = kill(Pid::from_raw(whom(lab.id() as i32, born[children - 1])), signal);
            break;
        }
        if lab.try_wait().expect("wait").is_some() {
            break;
        }
        std::thread::yield_now();
    }
    nothing_is_left(lab, &mark);
}

/// Waits for `lab` and then for every process that carries its mark.
pub(crate) fn nothing_is_left(mut lab: Child, mark: &Mark) {
    if lab.try_wait().expect("wait for the lab").is_none() {
        let pidfd = pidfd_open(lab.id() as i32).expect("the lab is not waited for yet");
        assert!(is_ready_in_time(&pidfd), "the lab does not end");
        lab.wait().expect("wait for the lab");
    }
    while let Some(pid) = mark.processes().first().copied() {
        let Ok(pidfd) = pidfd_open(pid) else { continue };
        // The number may have passed to a stranger before it was opened.
        if mark.processes().contains(&pid) {
            assert!(is_ready_in_time(&pidfd), "process {pid} outlives its lab");
        }
    }
}

/// Whether `fd` becomes readable within ten seconds; a pidfd does when its process ends.
pub(crate) fn is_ready_in_time(fd: impl AsFd) -> bool {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::from(10_000_u16)).expect("poll") == 1
}

pub(crate) fn pidfd_open(pid: i32) -> nix::Result<OwnedFd> {
    // SAFETY: the call takes two numbers.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
