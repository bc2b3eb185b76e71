//! Makes an orphan in a PID namespace and sees whether the PID 1 in there, to whom it falls, waits
//! for it (pid_namespaces(7), wait(2)).

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixCredentials, recvmsg,
    setsockopt, socketpair, sockopt,
};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getppid, read, write};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::{PidfdFlags, pidfd_open};

use super::failed;
use super::held::Held;
use crate::facts::{Observation, Orphan, ProcessId};

/// How long PID 1 may take. One that looks every second or two waits in time.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long to sleep before looking again, where the kernel does not wake us.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

pub(super) fn look(init: ProcessId) -> Result<Observation, String> {
    let held = Held::open(init)?;
    // Whoever is in there need not be trusted: they may not look into us.
    prctl::set_dumpable(false).map_err(|error| failed("prctl PR_SET_DUMPABLE", error))?;
    join(&held)?;
    let (line, orphan) = make_orphan()?;
    let adopted_by = dismiss(&line)?;
    let since = Instant::now();
    let reaped = is_reaped(&orphan, since + PATIENCE);
    let waited_ms = since.elapsed().as_millis() as u64;
    Ok(Observation::Orphan(Orphan { adopted_by, reaped, waited_ms }))
}

/// Makes our children to come members of the PID namespace of `init`.
fn join(init: &Held) -> Result<(), String> {
    let what = format!("setns to /proc/{}/ns/pid", init.pid());
    let namespace = init.open_file("ns/pid", OFlags::RDONLY).map_err(|e| failed(&what, e))?;
    let joined = match setns(&namespace, CloneFlags::CLONE_NEWPID) {
        // We may be root in the user namespace that owns it; that one has to be joined first.
        Err(Errno::EPERM) => owner(&namespace)
            .and_then(|owner| setns(owner, CloneFlags::CLONE_NEWUSER))
            .and_then(|()| setns(&namespace, CloneFlags::CLONE_NEWPID))
            .or(Err(Errno::EPERM)),
        other => other,
    };
    joined.map_err(|error| failed(what, error))
}

/// The user namespace that owns a namespace (ioctl_ns(2)).
fn owner(namespace: &OwnedFd) -> nix::Result<OwnedFd> {
    // SAFETY: NS_GET_USERNS takes no argument.
    let owner = Errno::result(unsafe { libc::ioctl(namespace.as_raw_fd(), libc::NS_GET_USERNS) })?;
    // SAFETY: the kernel has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(owner) })
}

/// A child of ours, born in there, forks and ends: its own child is an orphan. A line to that one,
/// and its pidfd.
fn make_orphan() -> Result<(OwnedFd, OwnedFd), String> {
    let (ours, theirs) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .map_err(|error| failed("socketpair", error))?;
    // The kernel adds to what arrives who sent it, by the number it has in our namespace.
    setsockopt(&ours, sockopt::PassCred, &true).map_err(|error| failed("SO_PASSCRED", error))?;
    // SAFETY: a probe has one thread.
    match unsafe { fork() }.map_err(|error| failed("fork in there", error))? {
        ForkResult::Child => {
            // Then the line ends with us, and the orphan with the line.
            drop(ours);
            be_parent(&theirs)
        }
        ForkResult::Parent { child } => {
            drop(theirs);
            await_parent(child)?;
            let orphan = sender(&ours)?;
            Ok((ours, orphan))
        }
    }
}

/// In there: has a child and ends at once.
fn be_parent(line: &OwnedFd) -> ! {
    // SAFETY: a probe has one thread.
    let code = match unsafe { fork() } {
        Ok(ForkResult::Child) => be_orphan(line),
        Ok(ForkResult::Parent { .. }) => 0,
        Err(error) => error as i32,
    };
    // SAFETY: it ends a forked child, to which nothing of the probe's belongs.
    unsafe { libc::_exit(code) }
}

/// In there: ends when told to, and says before who its parent is by then.
fn be_orphan(line: &OwnedFd) -> i32 {
    let _ = write(line, b"here");
    if read(line, &mut [0; 8]) == Ok(2) {
        let _ = write(line, &getppid().as_raw().to_ne_bytes());
    }
    0
}

fn await_parent(parent: Pid) -> Result<(), String> {
    match waitpid(parent, None) {
        Ok(WaitStatus::Exited(_, 0)) => Ok(()),
        Ok(WaitStatus::Exited(_, code)) => Err(failed("fork in there", Errno::from_raw(code))),
        Ok(_) => Err("what was forked in there was killed".to_owned()),
        Err(error) => Err(failed("wait", error)),
    }
}

/// The pidfd of whoever sent the first word.
fn sender(line: &OwnedFd) -> Result<OwnedFd, String> {
    let mut word = [0; 8];
    let mut space = cmsg_space!(UnixCredentials);
    let mut parts = [IoSliceMut::new(&mut word)];
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(line.as_raw_fd(), &mut parts, Some(&mut space), flags)
        .map_err(|error| failed("recvmsg", error))?;
    let mut attached = message.cmsgs().map_err(|error| failed("recvmsg", error))?;
    let pid = attached.find_map(|message| match message {
        ControlMessageOwned::ScmCredentials(sender) => rustix::process::Pid::from_raw(sender.pid()),
        _ => None,
    });
    let pid = pid.ok_or("the orphan ended before it said a word")?;
    pidfd_open(pid, PidfdFlags::empty()).map_err(|error| failed("pidfd_open", error))
}

/// Tells the orphan to end. Its parent by then, as it numbers it.
fn dismiss(line: &OwnedFd) -> Result<i32, String> {
    let mut parent = [0; 4];
    write(line, b"go").map_err(|error| failed("write to the orphan", error))?;
    match read(line, &mut parent) {
        Ok(4) => Ok(i32::from_ne_bytes(parent)),
        Ok(_) => Err("the orphan was killed".to_owned()),
        Err(error) => Err(failed("read from the orphan", error)),
    }
}

/// Waits until somebody has waited for the process, but not for ever.
fn is_reaped(process: &OwnedFd, until: Instant) -> bool {
    while !is_gone(process) {
        if Instant::now() > until {
            return false;
        }
        // From Linux 6.9 on this returns when the process is reaped, with POLLHUP; before, it only
        // takes its time.
        let _ = poll(&mut [PollFd::new(process, PollFlags::empty())], Some(&PAUSE));
    }
    true
}

/// Whether not even a zombie is left: then a signal finds nobody.
fn is_gone(process: &OwnedFd) -> bool {
    let (fd, no_signal, no_info) = (process.as_raw_fd(), 0, std::ptr::null::<libc::siginfo_t>());
    // SAFETY: the descriptor is open, and no pointer is passed.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, no_signal, no_info, 0) };
    Errno::result(sent) == Err(Errno::ESRCH)
}
