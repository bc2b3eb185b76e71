//! A fake init: one process that is PID 1 to itself and an ordinary number to everyone else.
//!
//! The lab shows what that means: two numbers, a `/proc` of its own, signals that are ignored,
//! orphans that arrive, and an end that is everyone's. Without privileges it adds a user namespace.
//! Whatever kills it, the kernel ends all that is inside and drops the mounts.
//!
//! Usage: `fake-init [-- COMMAND [ARG…]]`. COMMAND runs inside, below a small init that passes
//! signals on, waits for orphans and ends on SIGTERM. It nests.
//!
//! See clone(2), `pid_namespaces(7)`, `mount_namespaces(7)`, `ioctl_ns(2)`, proc(5), signalfd(2).

use std::ffi::OsString;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use clap::Parser;
use nix::errno::Errno;
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill, killpg};
use nix::sys::signalfd::SignalFd;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Gid, Pid, Uid, alarm, fork, getpgrp, getpid, getppid, pause};
use nix::unistd::{tcgetpgrp, tcsetpgrp};

/// After SIGTERM the command has this many seconds. Then PID 1 ends, and all others with it.
const GRACE: u32 = 1;

/// One process that is PID 1 to itself and an ordinary number to everyone else
#[derive(Parser)]
struct Args {
    /// Run this inside, as a child of PID 1
    #[arg(last = true)]
    command: Vec<OsString>,
}

struct Failure(String);

fn main() -> ExitCode {
    run(&Args::parse().command).unwrap_or_else(|Failure(why)| {
        let _ = writeln!(io::stderr(), "fake-init: {why}");
        ExitCode::FAILURE
    })
}

fn run(command: &[OsString]) -> Result<ExitCode, Failure> {
    if !fs::read_link("/proc/self").is_ok_and(|own| own.as_os_str() == &*getpid().to_string()) {
        return Err(Failure("/proc: of another PID namespace\nhint: mount a new one".into()));
    }
    // With a command, signals wait until they are read: none ends us, none is lost.
    let signals = if command.is_empty() { None } else { Some(hold_signals()?) };
    let (mut ours, mut theirs) = UnixStream::pair().map_err(failed("socketpair"))?;
    let (forked, flags) = clone_init()?;
    let ForkResult::Parent { child: init } = forked else {
        drop(ours);
        // What ends the parent ends us. It says go when it knows that; if it is gone, it does not.
        prctl::set_pdeathsig(Signal::SIGKILL).map_err(failed("prctl PR_SET_PDEATHSIG"))?;
        if theirs.write_all(b"!").and_then(|()| theirs.read_exact(&mut [0])).is_err() {
            return Ok(ExitCode::FAILURE);
        }
        return signals.map_or_else(|| show_inside(theirs), |signals| serve(command, &signals));
    };
    drop(theirs);
    if flags.contains(CloneFlags::CLONE_NEWUSER) {
        map_user(init)?;
    }
    let outside = outside(init, flags)?;
    // With a command, standard output is the command's alone.
    if signals.is_some() {
        let _ = writeln!(io::stderr(), "here     {outside}");
    } else {
        say("here", outside)?;
    }
    // Should PID 1 be gone, these fail, and its status tells.
    let _ = ours.read_exact(&mut [0]);
    let _ = ours.write_all(b"!");
    let Some(signals) = signals else { return show_end(init, ours) };
    let code = attend(init, &signals);
    take_terminal_back();
    code
}

// ANCHOR: clone
/// Clones a process that is PID 1 of a new PID namespace and has mounts of its own.
fn clone_init() -> Result<(ForkResult, CloneFlags), Failure> {
    let mut flags = CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS;
    let forked = clone(flags).or_else(|error| match error {
        // Who may not do this may do it in a user namespace of their own: there they are root.
        Errno::EPERM => {
            flags |= CloneFlags::CLONE_NEWUSER;
            clone(flags)
        }
        other => Err(other),
    });
    Ok((forked.map_err(failed(format!("clone {}", names(flags)))).map_err(advise)?, flags))
}

/// What fork(2) does, with namespaces.
fn clone(flags: CloneFlags) -> nix::Result<ForkResult> {
    let flags = libc::c_long::from(flags.bits() | libc::SIGCHLD);
    // SAFETY: there is one thread. Without CLONE_VM and a stack this returns twice, as fork does.
    match Errno::result(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })? {
        0 => Ok(ForkResult::Child),
        pid => Ok(ForkResult::Parent { child: Pid::from_raw(pid as i32) }),
    }
}
// ANCHOR_END: clone

/// Makes the caller's user and group number 0 in the new user namespace.
fn map_user(init: Pid) -> Result<(), Failure> {
    let (user, group) = (Uid::effective(), Gid::effective());
    let setgroups = ("setgroups", "deny".to_owned());
    let maps = [("uid_map", format!("0 {user} 1")), ("gid_map", format!("0 {group} 1"))];
    for (file, line) in [setgroups].into_iter().chain(maps) {
        let path = format!("/proc/{init}/{file}");
        fs::write(&path, line).map_err(failed(path)).map_err(advise)?;
    }
    Ok(())
}

// ANCHOR: outside
/// What the kernel says of PID 1, seen from outside.
fn outside(init: Pid, flags: CloneFlags) -> Result<String, Failure> {
    let (status, ns) = (format!("/proc/{init}/status"), format!("/proc/{init}/ns/pid"));
    let numbers = field(&status, "NSpid")?;
    let (_, inside) = numbers.rsplit_once(' ').unwrap_or_default();
    Ok(format!(
        "pid {own}, in {own_ns}
clone    {flags}
         it is {init} to us, {inside} to itself      {status}  NSpid: {numbers}
         its namespace is {ns}  parent {parent}",
        own = getpid(),
        own_ns = link("/proc/self/ns/pid")?,
        flags = names(flags),
        parent = parent_of(&ns)?,
        ns = link(&ns)?,
    ))
}

/// The parent of the PID namespace at `path`.
fn parent_of(path: &str) -> Result<String, Failure> {
    let namespace = File::open(path).map_err(failed(path))?;
    // SAFETY: NS_GET_PARENT takes no argument.
    let parent = unsafe { libc::ioctl(namespace.as_raw_fd(), libc::NS_GET_PARENT) };
    let parent = owned("ioctl NS_GET_PARENT", parent.into())?;
    link(&format!("/proc/self/fd/{}", parent.as_raw_fd()))
}
// ANCHOR_END: outside

/// PID 1 without a command: shows what is true in there.
fn show_inside(mut outside: UnixStream) -> Result<ExitCode, Failure> {
    say("inside", format!("getpid() = {}, getppid() = {}", getpid(), getppid()))?;
    say("/proc", format!("as copied:    {}", seen_in_proc()?))?;
    mount_proc()?;
    say("", format!("mounted anew: {}", seen_in_proc()?))?;
    show_signals()?;
    show_orphan()?;
    outside.write_all(b"!").map_err(failed("the parent"))?;
    loop {
        pause();
    }
}

// ANCHOR: proc
/// Mounts a /proc of the caller's own PID namespace.
fn mount_proc() -> Result<(), Failure> {
    // The copied mounts may still pass on what is mounted on them. Ours must not.
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
        .map_err(failed("mount --make-rprivate /"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>)
        .map_err(failed("mount proc /proc"))
        .map_err(advise)
}
// ANCHOR_END: proc

/// Who the reader is in /proc, and who else is there.
fn seen_in_proc() -> Result<String, Failure> {
    let entries = fs::read_dir("/proc").map_err(failed("/proc"))?;
    let pids: Vec<i32> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    let own = link("/proc/self")?;
    let [only] = pids[..] else {
        return Ok(format!("{} processes, /proc/self is {own}", pids.len()));
    };
    let name = field(&format!("/proc/{only}/status"), "Name")?;
    Ok(format!("1 process, {name}({only}), /proc/self is {own}"))
}

// ANCHOR: signals
/// Another process in here sends PID 1 the signals that would end any other.
fn show_signals() -> Result<(), Failure> {
    let (mut ours, mut theirs) = UnixStream::pair().map_err(failed("socketpair"))?;
    // SAFETY: there is one thread.
    let ForkResult::Parent { child } = unsafe { fork() }.map_err(failed("fork"))? else {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            kill(Pid::from_raw(1), signal).map_err(failed(format!("kill 1 {signal}")))?;
        }
        theirs.write_all(b"!").map_err(failed("PID 1"))?;
        // It stays: the end of PID 1 will be its own.
        loop {
            pause();
        }
    };
    drop(theirs);
    ours.read_exact(&mut [0]).map_err(failed(format!("process {child}")))?;
    let caught = field("/proc/1/status", "SigCgt")?;
    say("signal", format!("SIGTERM and SIGKILL from {child} to 1: sent, and 1 is here to say so"))?;
    say("", format!("it has no handler for them      /proc/1/status  SigCgt: {caught}"))
}
// ANCHOR_END: signals

// ANCHOR: orphan
/// A child has a child and exits: who is the parent of that one now, and who waits for it?
fn show_orphan() -> Result<(), Failure> {
    let (mut until_closed, held) = UnixStream::pair().map_err(failed("socketpair"))?;
    // SAFETY: there is one thread.
    let ForkResult::Parent { child } = unsafe { fork() }.map_err(failed("fork"))? else {
        let parent = getpid();
        // SAFETY: there is one thread.
        if let Ok(ForkResult::Child) = unsafe { fork() } {
            drop(held);
            let _ = until_closed.read(&mut [0]);
            let now = getppid();
            let _ = say(
                "orphan",
                format!("{}: its parent {parent} exited, getppid() = {now}", getpid()),
            );
        }
        // SAFETY: it ends a forked child, to which nothing of the parent's belongs.
        unsafe { libc::_exit(0) }
    };
    waitpid(child, None).map_err(failed(format!("wait {child}")))?;
    drop(held);
    let status = waitpid(None, None).map_err(failed("wait"))?;
    say("", format!("1 waits for it: {} {}", status.pid().unwrap_or(child), told(status)))
}
// ANCHOR_END: orphan

// ANCHOR: end
/// The end of PID 1 is the end of all in there.
fn show_end(init: Pid, mut inside: UnixStream) -> Result<ExitCode, Failure> {
    if inside.read_exact(&mut [0]).is_err() {
        return match waitpid(init, None).map_err(failed("wait"))? {
            // It has said why.
            WaitStatus::Exited(..) => Ok(ExitCode::FAILURE),
            status => Err(Failure(format!("{init} {}", told(status)))),
        };
    }
    let children = format!("/proc/{init}/task/{init}/children");
    let other = fs::read_to_string(&children).map_err(failed(&children))?;
    let other = other.trim().parse().map_err(|_| Failure(format!("{children}: '{other}'")))?;
    let other_end = pidfd_open(other)?;
    kill(init, Signal::SIGTERM).map_err(failed(format!("kill {init} SIGTERM")))?;
    let status = waitpid(init, Some(WaitPidFlag::WNOHANG)).map_err(failed("wait"))?;
    say("end", format!("SIGTERM from outside: {init} {}", told(status)))?;
    kill(init, Signal::SIGKILL).map_err(failed(format!("kill {init} SIGKILL")))?;
    let status = waitpid(init, None).map_err(failed("wait"))?;
    let with_it = if has_ended(&other_end)? { "has ended with it" } else { "lives on" };
    say("", format!("SIGKILL from outside: {init} {}, {other} {with_it}", told(status)))?;
    Ok(ExitCode::SUCCESS)
}

/// Whether the process behind this descriptor has ended: then it is readable.
fn has_ended(pidfd: &OwnedFd) -> Result<bool, Failure> {
    let mut ends = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut ends, PollTimeout::ZERO).map_err(failed("poll"))? == 1)
}
// ANCHOR_END: end

/// The signals that an init attends to.
fn attended() -> SigSet {
    use Signal::*;
    [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCHLD, SIGALRM, SIGTTOU]
        .into_iter()
        .collect()
}

/// Makes those signals wait until they are read.
fn hold_signals() -> Result<SignalFd, Failure> {
    attended().thread_block().map_err(failed("sigprocmask"))?;
    SignalFd::new(&attended()).map_err(failed("signalfd"))
}

// ANCHOR: serve
/// PID 1 with a command: an init of the smallest kind.
fn serve(command: &[OsString], signals: &SignalFd) -> Result<ExitCode, Failure> {
    mount_proc()?;
    let mut child = Command::new(&command[0]);
    // SAFETY: there is one thread, so the forked child may do what its parent may do.
    let child = unsafe { child.args(&command[1..]).pre_exec(|| Ok(attended().thread_unblock()?)) };
    match child.spawn() {
        Ok(child) => attend(Pid::from_raw(child.id() as i32), signals),
        Err(error) => {
            // As a shell has it: 127 not found, 126 found and not to be run.
            let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
            let Failure(why) = failed(Path::new(&command[0]).display())(error);
            let _ = writeln!(io::stderr(), "fake-init: {why}");
            Ok(ExitCode::from(code))
        }
    }
}

/// Passes signals on to `main` and waits for every child, until `main` has ended.
fn attend(main: Pid, signals: &SignalFd) -> Result<ExitCode, Failure> {
    loop {
        let Some(signal) = signals.read_signal().map_err(failed("signalfd"))? else { continue };
        match Signal::try_from(signal.ssi_signo as i32) {
            Ok(Signal::SIGCHLD) => {
                if let Some(code) = reap(main) {
                    return Ok(ExitCode::from(code));
                }
            }
            Ok(Signal::SIGALRM) => return Ok(ExitCode::from(128 + Signal::SIGTERM as u8)),
            // The kernel sends what is typed (Ctrl-C) to all in the foreground, `main` included.
            Ok(from_someone) if signal.ssi_code <= 0 => {
                let _ = kill(main, from_someone);
                if from_someone == Signal::SIGTERM {
                    alarm::set(GRACE);
                }
            }
            _ => {}
        }
    }
}

/// Waits for all children that have ended, orphans too. The exit code, if `main` is among them.
fn reap(main: Pid) -> Option<u8> {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) if pid == main => return Some(code as u8),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == main => {
                return Some(128 + signal as u8);
            }
            Ok(WaitStatus::StillAlive) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}
// ANCHOR_END: serve

/// Makes the lab's process group the terminal's again, if the one that has it is no more. A shell
/// with job control would give it back, but in there it cannot name a group of the outside.
fn take_terminal_back() {
    let orphaned = |group| killpg(group, None) == Err(Errno::ESRCH);
    if tcgetpgrp(io::stdin()).is_ok_and(orphaned) {
        let _ = tcsetpgrp(io::stdin(), getpgrp());
    }
}

fn pidfd_open(pid: i32) -> Result<OwnedFd, Failure> {
    // SAFETY: the call takes two numbers.
    owned("pidfd_open", unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// The descriptor that `call` gave, or its error.
fn owned(call: &str, result: libc::c_long) -> Result<OwnedFd, Failure> {
    let fd = Errno::result(result).map_err(failed(call))?;
    // SAFETY: the kernel has just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// The value of a field of /proc/PID/status.
fn field(path: &str, name: &str) -> Result<String, Failure> {
    let text = fs::read_to_string(path).map_err(failed(path))?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    Ok(value.ok_or(Failure(format!("{path}: no {name}")))?.replace('\t', " "))
}

fn link(path: &str) -> Result<String, Failure> {
    Ok(fs::read_link(path).map_err(failed(path))?.display().to_string())
}

fn names(flags: CloneFlags) -> String {
    let names: Vec<_> = flags.iter_names().map(|(name, _)| name).collect();
    format!("{} | SIGCHLD", names.join(" | "))
}

fn told(status: WaitStatus) -> String {
    match status {
        WaitStatus::Exited(_, code) => format!("exited with {code}"),
        WaitStatus::Signaled(_, signal, _) => format!("was killed by {signal}"),
        _ => "is still there".to_owned(),
    }
}

fn say(step: &str, text: impl Display) -> Result<(), Failure> {
    let written = writeln!(io::stdout(), "{step:<9}{text}").or_else(unless_unread);
    written.map_err(failed("standard output"))
}

/// A reader that has gone wants no more. That is no error.
fn unless_unread(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}

/// Names the call that failed, and the kernel's reason.
fn failed<E: Into<io::Error>>(call: impl Display) -> impl FnOnce(E) -> Failure {
    move |error| {
        let error = error.into();
        let reason = error.raw_os_error().map(|code| Errno::from_raw(code).desc().to_lowercase());
        Failure(format!("{call}: {}", reason.unwrap_or_else(|| error.to_string())))
    }
}

/// Adds what helps where namespaces are refused.
fn advise(Failure(why): Failure) -> Failure {
    Failure(format!(
        "{why}\nhint: run it as root (sudo env PATH=\"$PATH\" fake-init), and not in a container; \
         or allow user namespaces (sysctl user.max_user_namespaces, \
         kernel.apparmor_restrict_unprivileged_userns)"
    ))
}
