//! The process that lives in a room: what podlab does when it was started to keep one.

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::ForkResult;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags};
use serde::{Deserialize, Serialize};

use super::{files, service};

/// The byte that lets a keeper stay.
pub(super) const STAY: u8 = b'!';

/// What a keeper is told.
#[derive(Serialize, Deserialize)]
pub(super) struct Plan {
    /// The learner's folder.
    pub(super) folder: PathBuf,
    /// The words for the file, the network and the host name.
    pub(super) words: [String; 3],
}

/// What podlab hears of a keeper.
#[derive(Serialize, Deserialize)]
pub(super) enum Report {
    /// Its PID.
    Keeper(i32),
    /// Its room is ready, with this port.
    Furnished(u16),
    /// It could not be made: the step, and what the kernel said.
    Failed(String),
}

/// The namespaces of a room; an ordinary user's has a user namespace besides.
const NAMESPACES: CloneFlags = CloneFlags::CLONE_NEWNS
    .union(CloneFlags::CLONE_NEWNET)
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWIPC)
    .union(CloneFlags::CLONE_NEWPID);

/// What podlab does when it was started with [`super::ARGUMENT`].
pub fn keeper() -> ExitCode {
    if begin().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Reads a plan from standard input and starts the keeper, whose parent will be whoever adopts it.
fn begin() -> io::Result<()> {
    close_inherited()?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let plan: Plan = serde_json::from_str(&line)?;
    if let Err(why) = divide() {
        return report(&Report::Failed(why));
    }
    // SAFETY: this process was started to do this alone and has one thread.
    match unsafe { nix::unistd::fork() } {
        Ok(ForkResult::Parent { child }) => report(&Report::Keeper(child.as_raw())),
        Ok(ForkResult::Child) => keep(&plan),
        Err(error) => report(&Report::Failed(step("fork")(error))),
    }
}

/// For [`Result::map_err`]: the step that failed, and what the kernel said.
fn step<E: Into<io::Error>>(name: &str) -> impl Fn(E) -> String {
    move |error| format!("{name}: {}", crate::error::lower(&error.into().to_string()))
}

fn report(report: &Report) -> io::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    // Two processes write to this pipe; one short write is whole (pipe(7)).
    io::stdout().lock().write_all(&line)?;
    io::stdout().lock().flush()
}

/// Closes whatever the caller's shell had open besides the standard three.
fn close_inherited() -> io::Result<()> {
    let numbers: Vec<i32> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    for number in numbers.into_iter().filter(|number| *number > 2) {
        // SAFETY: nothing in this process has opened a descriptor yet, so none is owned here.
        unsafe { libc::close(number) };
    }
    Ok(())
}

/// Leaves the machine's namespaces; the next child is the first of the new PID namespace.
fn divide() -> Result<(), String> {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    match nix::sched::unshare(NAMESPACES) {
        Err(Errno::EPERM) => {}
        outcome => return outcome.map_err(step("unshare")),
    }
    nix::sched::unshare(NAMESPACES | CloneFlags::CLONE_NEWUSER).map_err(step("unshare"))?;
    let write = |file: &str, line: String| {
        let path = format!("/proc/self/{file}");
        std::fs::write(&path, line).map_err(step(&path))
    };
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("0 {uid} 1"))?;
    write("gid_map", format!("0 {gid} 1"))
}

/// The keeper: furnishes the room, waits for the word to stay, and serves until it is told to end.
fn keep(plan: &Plan) -> io::Result<()> {
    let furnished = furnish(plan).and_then(|(signals, listener)| {
        let port = listener.local_addr().map_err(step("getsockname"))?.port();
        Ok((signals, listener, port))
    });
    let (signals, listener, port) = match furnished {
        Ok(furnished) => furnished,
        Err(why) => return report(&Report::Failed(why)),
    };
    report(&Report::Furnished(port))?;
    if !told_to_stay()? {
        return Ok(());
    }
    let_go_of_caller()?;
    service::serve(&signals, &listener, &plan.words[1])
}

fn furnish(plan: &Plan) -> Result<(SignalFd, TcpListener), String> {
    let [file, _, host] = &plan.words;
    // Its name in ps, and a session of its own: the terminal's signals are not for it.
    nix::sys::prctl::set_name(c"locked-room").map_err(step("prctl"))?;
    nix::unistd::setsid().map_err(step("setsid"))?;
    let signals = take_signals().map_err(step("signalfd"))?;
    nix::unistd::sethostname(host).map_err(step("sethostname"))?;
    mount_note(plan, file).map_err(step("mount"))?;
    raise_loopback().map_err(step("lo"))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener));
    Ok((signals, listener.map_err(step("listen"))?))
}

/// PID 1 is spared signals that it has no handler for; those that are to end it are read instead.
fn take_signals() -> nix::Result<SignalFd> {
    for signal in Signal::iterator().filter(|s| !matches!(s, Signal::SIGKILL | Signal::SIGSTOP)) {
        // SAFETY: the default action runs no code of ours.
        unsafe { nix::sys::signal::signal(signal, nix::sys::signal::SigHandler::SigDfl) }?;
    }
    let wanted: SigSet =
        [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD].into_iter().collect();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&wanted), None)?;
    SignalFd::with_flags(&wanted, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// Puts a file system with another note over the desk, in this mount namespace alone.
fn mount_note(plan: &Plan, word: &str) -> io::Result<()> {
    use rustix::mount::{MountPropagationFlags, fsconfig_create, fsmount, fsopen, move_mount};
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private)?;
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&context, "size", "64k")?;
    rustix::mount::fsconfig_set_string(&context, "mode", "0755")?;
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let inside = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    files::write_note(&inside, word)?;
    let desk = files::open_desk(&plan.folder)?;
    let by_descriptor =
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(inside.as_fd(), "", desk.as_fd(), "", by_descriptor)?)
}

nix::ioctl_write_ptr_bad!(set_interface_flags, libc::SIOCSIFFLAGS, libc::ifreq);

/// A new network namespace has a loopback interface that is down (netdevice(7)).
fn raise_loopback() -> nix::Result<()> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
    use std::os::fd::AsRawFd;
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: all zeroes are a valid ifreq, whose members are integers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the descriptor is an open socket and the request lives until the call returns.
    unsafe { set_interface_flags(socket.as_raw_fd(), &raw const request) }?;
    Ok(())
}

/// Waits for the word of the podlab that started us; its end comes as the end of the file.
fn told_to_stay() -> io::Result<bool> {
    let mut word = [0];
    loop {
        match rustix::io::read(io::stdin(), &mut word) {
            Ok(length) => return Ok(length == 1 && word[0] == STAY),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Leaves the pipes to the podlab that started us.
fn let_go_of_caller() -> io::Result<()> {
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(())
}
