//! Joining another process's namespaces: what `docker exec` and nsenter(1) do.
//!
//! Opens the namespace files of a process, enters with setns(2) those that differ from its own, reads
//! its own links back after each, then forks: only the child is inside the PID namespace. Without a
//! PID it makes a small target of its own, which ends with the lab, whatever ends that.
//!
//! Usage: `setns-join [--only KINDS] [PID] [-- COMMAND [ARG…]]`. COMMAND runs inside; without one the
//! child itself says what it sees there.
//!
//! See setns(2), `pidfd_open(2)`, namespaces(7), `pid_namespaces(7)`, `user_namespaces(7)`.

use std::ffi::{CString, OsString};
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use clap::Parser;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::mount::{MsFlags, mount};
use nix::net::if_::if_nameindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, clone, setns};
use nix::sys::prctl::{set_dumpable, set_pdeathsig};
use nix::sys::signal::{SigHandler, Signal, kill, killpg, raise, signal};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{
    ForkResult, Gid, Pid, Uid, execvp, fork, getegid, geteuid, gethostname, getpgrp, getpid,
    getppid, pipe2, setgid, setgroups, sethostname, setpgid, setuid, tcgetpgrp, tcsetpgrp, write,
};

/// The kinds, in the order of joining: mnt last, because then every path leads elsewhere.
const KINDS: [(&str, CloneFlags); 8] = [
    ("user", CloneFlags::CLONE_NEWUSER),
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("net", CloneFlags::CLONE_NEWNET),
    ("pid", CloneFlags::CLONE_NEWPID),
    ("time", CloneFlags::from_bits_retain(libc::CLONE_NEWTIME)),
    ("mnt", CloneFlags::CLONE_NEWNS),
];

/// Join another process's namespaces: what docker exec does
#[derive(Parser)]
struct Args {
    /// The process to join; without it, one that the lab makes
    #[arg(value_parser = clap::value_parser!(i32).range(1..))]
    pid: Option<i32>,
    /// Join only these, of those that differ: user,cgroup,ipc,uts,net,pid,time,mnt
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = KINDS.map(|(name, _)| name))]
    only: Vec<String>,
    /// Run this inside
    #[arg(last = true)]
    command: Vec<OsString>,
}

/// Whether what the lab prints goes to standard error.
static REMARKS: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let args = Args::parse();
    REMARKS.store(!args.command.is_empty(), Relaxed);
    lab(args).unwrap_or_else(|Failure(why)| {
        let _ = writeln!(io::stderr(), "setns-join: {why}");
        ExitCode::FAILURE
    })
}

fn lab(args: Args) -> Result<ExitCode, Failure> {
    let room = if args.pid.is_none() { Some(make_room()?) } else { None };
    let pid = room.unwrap_or(Pid::from_raw(args.pid.unwrap_or_default()));
    // Hold our own /proc: after joining mnt, that path leads to another one, or nowhere.
    let proc = File::open("/proc").or_failed("/proc")?;
    let target = open(pid, &proc)?;
    let joined_user = join(target.differing, &args.only, &proc)?;
    run_inside(args.command, target.ids.filter(|_| joined_user), room, &proc)
}

/// A namespace of the target that is not ours.
struct Namespace {
    kind: &'static str,
    flag: CloneFlags,
    /// Ours of that kind.
    own: String,
    path: String,
    file: File,
}

/// The process to join.
struct Target {
    name: String,
    differing: Vec<Namespace>,
    same: Vec<&'static str>,
    /// The user and group that stand first in its id maps.
    ids: Option<Ids>,
}

type Ids = (Uid, Gid);

// ANCHOR: open
/// Opens the namespaces of `pid` that are not ours, all of one living process.
fn open(pid: Pid, proc: &File) -> Result<Target, Failure> {
    let pidfd = pidfd_open(pid).or_failed(&format!("pidfd_open {pid}"))?;
    let target = compare(pid, proc);
    // A number can pass to another process, a pidfd cannot. That this process is alive after the
    // reading means that the number was its own all the time.
    if has_ended(&pidfd)? {
        let hint = "a zombie has no namespaces left to join";
        return Err(Failure(format!("process {pid} has ended\nhint: {hint}")));
    }
    let target = target?;
    let kinds: Vec<_> = target.differing.iter().map(|ns| ns.kind).collect();
    row("target", &target.name)?;
    row("differs", if kinds.is_empty() { "nothing".to_owned() } else { kinds.join(" ") })?;
    row("same", target.same.join(" "))?;
    Ok(target)
}

fn compare(pid: Pid, proc: &File) -> Result<Target, Failure> {
    let comm = read(proc, &format!("{pid}/comm"))?;
    let name = format!("{pid} {}, {}", comm.trim().escape_debug(), entry(proc, pid, "NSpid:")?);
    let (mut differing, mut same) = (Vec::new(), Vec::new());
    for (kind, flag) in KINDS {
        // An older kernel lacks the time namespace.
        let Ok(own) = link(proc, kind) else { continue };
        let path = format!("/proc/{pid}/ns/{kind}");
        let file = File::open(&path).or_failed(&path)?;
        let opened = format!("/proc/self/fd/{}", file.as_raw_fd());
        if fs::read_link(opened).or_failed(&path)?.as_os_str() == own.as_str() {
            same.push(kind);
        } else {
            differing.push(Namespace { kind, flag, own, path, file });
        }
    }
    let uid = first_id(proc, pid, "uid_map")?.map(Uid::from_raw);
    let ids = uid.zip(first_id(proc, pid, "gid_map")?.map(Gid::from_raw));
    Ok(Target { name, differing, same, ids })
}
// ANCHOR_END: open

// ANCHOR: join
/// Joins what differs and is wanted; tells whether that included the user namespace.
fn join(differing: Vec<Namespace>, only: &[String], proc: &File) -> Result<bool, Failure> {
    let wanted = |ns: &Namespace| only.is_empty() || only.iter().any(|kind| kind == ns.kind);
    let (user, others): (Vec<_>, Vec<_>) = differing.into_iter().partition(|ns| ns.kind == "user");
    // Root may join directly what the machine's root owns, and could not once it is in the target's
    // user namespace. An ordinary user is refused here, and gains the right only in there.
    let mut later = Vec::new();
    for ns in others.into_iter().filter(wanted) {
        match setns(&ns.file, ns.flag) {
            Ok(()) => show(&ns, proc)?,
            Err(Errno::EPERM) => later.push(ns),
            Err(e) => return Err(e).or_failed(&format!("setns {}", ns.path)),
        }
    }
    let user: Vec<_> = user.into_iter().filter(|ns| wanted(ns) || !later.is_empty()).collect();
    let joins_user = !user.is_empty();
    for ns in user.into_iter().chain(later) {
        setns(&ns.file, ns.flag).or_failed(&format!("setns {}", ns.path))?;
        show(&ns, proc)?;
    }
    Ok(joins_user)
}
// ANCHOR_END: join

/// Prints which namespace this process is in now, by its own link.
fn show(ns: &Namespace, proc: &File) -> Result<(), Failure> {
    let (kind, own, now) = (ns.kind, &ns.own, link(proc, ns.kind)?);
    match kind {
        // Joining a PID namespace moves only the children to come: a process never changes its PID.
        "pid" => row(
            "setns",
            format_args!(
                "pid     {now} stays; {} is for its children",
                link(proc, "pid_for_children")?
            ),
        ),
        "mnt" => row("setns", format_args!("mnt     {own} -> {now}, and / is now {}", root()?)),
        _ => row("setns", format_args!("{kind:<7} {own} -> {now}")),
    }
}

// ANCHOR: inside
/// Forks, so that there is a process in the PID namespace too, and lets it run the command.
fn run_inside(
    command: Vec<OsString>,
    ids: Option<Ids>,
    room: Option<Pid>,
    proc: &File,
) -> Result<ExitCode, Failure> {
    let (go, start) = pipe2(OFlag::O_CLOEXEC).or_failed("pipe")?;
    let (mut go, start) = (File::from(go), File::from(start));
    // At a terminal the command becomes the foreground job, in a process group that it can name.
    let terminal = !command.is_empty() && tcgetpgrp(io::stdin()).is_ok_and(|pg| pg == getpgrp());
    handle(&[Signal::SIGTTOU], if terminal { SigHandler::SigIgn } else { SigHandler::SigDfl })?;
    // The child holds files of the outside until it calls exec: nobody inside may look into it.
    set_dumpable(false).or_failed("prctl")?;
    // SAFETY: this process has one thread, so the child may do whatever its parent may.
    match unsafe { fork() }.or_failed("fork")? {
        ForkResult::Child => {
            drop(start);
            if terminal {
                setpgid(Pid::from_raw(0), Pid::from_raw(0)).or_failed("setpgid")?;
                tcsetpgrp(io::stdin(), getpgrp()).or_failed("tcsetpgrp")?;
            }
            become_one_of_them(ids)?;
            // The child ends with the lab: by this signal, or if the lab is gone already, for want of
            // the byte.
            set_pdeathsig(Signal::SIGKILL).or_failed("prctl")?;
            if go.read(&mut [0]).or_failed("read")? == 0 {
                return Ok(ExitCode::FAILURE);
            }
            if command.is_empty() { look_around() } else { exec(command) }
        }
        ForkResult::Parent { child } => {
            row("fork", format_args!("{child}, {}", entry(proc, child, "NSpid:")?))?;
            (&start).write_all(b"!").or_failed("write")?;
            let code = wait_for(child, terminal)?;
            if let Some(room) = room {
                kill(room, Signal::SIGKILL).or_failed("kill")?;
                waitpid(room, None).or_failed("waitpid")?;
            }
            Ok(ExitCode::from(code))
        }
    }
}
// ANCHOR_END: inside

/// Waits until the command has ended, for its exit code; stops when it is stopped, as by Ctrl-Z.
fn wait_for(child: Pid, terminal: bool) -> Result<u8, Failure> {
    let (own, flags) = (getpgrp(), terminal.then_some(WaitPidFlag::WUNTRACED));
    loop {
        let status = waitpid(child, flags).or_failed("waitpid")?;
        if terminal {
            tcsetpgrp(io::stdin(), own).or_failed("tcsetpgrp")?;
        }
        match status {
            WaitStatus::Exited(_, code) => return Ok(code as u8),
            WaitStatus::Signaled(_, signal, _) => return Ok(128 + signal as u8),
            _ => {
                raise(Signal::SIGSTOP).or_failed("raise")?;
                tcsetpgrp(io::stdin(), child).or_failed("tcsetpgrp")?;
                killpg(child, Signal::SIGCONT).or_failed("killpg")?;
            }
        }
    }
}

/// Takes the ids that stand first in the target's maps: unmapped ones could not even open a file.
fn become_one_of_them(ids: Option<Ids>) -> Result<(), Failure> {
    let Some((uid, gid)) = ids else { return Ok(()) };
    // Where the namespace denies setgroups, the groups stay.
    let _ = setgroups(&[]);
    setgid(gid).or_failed(&format!("setgid {gid}"))?;
    setuid(uid).or_failed(&format!("setuid {uid}"))
}

// ANCHOR: look
/// Says what the child sees. It needs no program in there: the root may be empty.
fn look_around() -> Result<ExitCode, Failure> {
    row("inside", format_args!("getpid() = {}, getppid() = {}", getpid(), getppid()))?;
    let name = gethostname().or_failed("gethostname")?;
    row(
        "",
        format_args!("uid {}, gid {}, hostname {}", geteuid(), getegid(), name.to_string_lossy()),
    )?;
    let interfaces = if_nameindex().or_failed("if_nameindex")?;
    let names: Vec<_> = interfaces.iter().map(|i| i.name().to_string_lossy()).collect();
    row("", format_args!("/ is {}, network interfaces: {}", root()?, names.join(" ")))?;
    Ok(ExitCode::SUCCESS)
}
// ANCHOR_END: look

fn exec(command: Vec<OsString>) -> Result<ExitCode, Failure> {
    handle(&[Signal::SIGTTOU, Signal::SIGPIPE], SigHandler::SigDfl)?;
    let words: Result<Vec<_>, _> =
        command.into_iter().map(|w| CString::new(w.into_vec())).collect();
    let words = words.map_err(io::Error::from).or_failed("command")?;
    let Err(errno) = execvp(&words[0], &words);
    let (name, why) = (words[0].to_string_lossy(), reason(&errno.into()));
    let _ = writeln!(io::stderr(), "setns-join: {name}: {why}");
    Ok(ExitCode::from(if errno == Errno::ENOENT { 127 } else { 126 }))
}

// ANCHOR: room
/// Makes a target: a child in new namespaces, with a hostname of its own.
fn make_room() -> Result<Pid, Failure> {
    let mut flags = KINDS[1..6].iter().fold(CloneFlags::CLONE_NEWNS, |all, (_, flag)| all | *flag);
    let (uid, gid) = (geteuid(), getegid());
    flags.set(CloneFlags::CLONE_NEWUSER, !uid.is_root());
    let lab = pidfd_open(getpid()).or_failed("pidfd_open")?;
    let (ready, tell) = pipe2(OFlag::O_CLOEXEC).or_failed("pipe")?;
    let mut stack = vec![0; 1 << 20];
    let live = Box::new(|| live_in_room(uid, gid, &lab, &tell));
    // SAFETY: without CLONE_VM the child has a copy of all memory, and this process has one thread.
    let room = unsafe { clone(live, &mut stack, flags, Some(libc::SIGCHLD)) }.or_failed("clone")?;
    drop(tell);
    let mut told = [0; 256];
    let length = File::from(ready).read(&mut told).or_failed("read")?;
    match String::from_utf8_lossy(&told[..length]) {
        told if told == "ready" => Ok(room),
        told => Err(Failure(format!("the target {room} ended: {told}"))),
    }
}

/// What the target does: furnish its namespaces, then wait for the lab to end.
fn live_in_room(uid: Uid, gid: Gid, lab: &OwnedFd, tell: &OwnedFd) -> isize {
    let told = furnish(uid, gid).map_or_else(|Failure(why)| why, |()| "ready".to_owned());
    let _ = write(tell, told.as_bytes());
    let _ = poll(&mut [PollFd::new(lab.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE);
    0
}

fn furnish(uid: Uid, gid: Gid) -> Result<(), Failure> {
    set_pdeathsig(Signal::SIGKILL).or_failed("prctl")?;
    if !uid.is_root() {
        // Whoever makes a user namespace may be root in it.
        fs::write("/proc/self/setgroups", "deny").or_failed("/proc/self/setgroups")?;
        fs::write("/proc/self/uid_map", format!("0 {uid} 1")).or_failed("/proc/self/uid_map")?;
        fs::write("/proc/self/gid_map", format!("0 {gid} 1")).or_failed("/proc/self/gid_map")?;
    }
    sethostname("room").or_failed("sethostname")?;
    // PID 1 is the parent of all orphans in there: let the kernel take those that end.
    handle(&[Signal::SIGCHLD], SigHandler::SigIgn)?;
    let (none, private) = (None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE);
    mount(none, "/", none, private, none).or_failed("mount / as private")?;
    // A /proc that shows only what is inside. In a container that hides parts of its own /proc the
    // kernel refuses; then that one stays.
    let _ = mount(Some("setns-join"), "/proc", Some("proc"), MsFlags::empty(), none);
    Ok(())
}
// ANCHOR_END: room

fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two numbers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    // SAFETY: the kernel just gave us this descriptor, and nobody else has it.
    Errno::result(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as i32) }).map_err(io::Error::from)
}

/// Whether the process has ended: then its pidfd is readable.
fn has_ended(pidfd: &OwnedFd) -> Result<bool, Failure> {
    let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
    Ok(poll(&mut fds, PollTimeout::ZERO).or_failed("poll")? > 0)
}

fn handle(signals: &[Signal], handler: SigHandler) -> Result<(), Failure> {
    // SAFETY: ignoring and the default install no code of ours.
    signals.iter().try_for_each(|s| unsafe { signal(*s, handler) }.map(drop)).or_failed("signal")
}

/// The namespace of `kind` that this process is in.
fn link(proc: &File, kind: &str) -> Result<String, Failure> {
    let path = format!("self/ns/{kind}");
    Ok(readlinkat(proc, path.as_str()).or_failed(&path)?.to_string_lossy().into_owned())
}

fn read(proc: &File, path: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let file = openat(proc, path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
    let path = format!("/proc/{path}");
    File::from(file.or_failed(&path)?).read_to_string(&mut text).or_failed(&path)?;
    Ok(text)
}

/// The line of a process's status that begins with `key`.
fn entry(proc: &File, pid: Pid, key: &str) -> Result<String, Failure> {
    let path = format!("{pid}/status");
    let text = read(proc, &path)?.replace('\t', " ");
    let line = text.lines().find(|line| line.starts_with(key));
    line.map(str::to_owned).ok_or_else(|| Failure(format!("/proc/{path}: no {key}")))
}

fn first_id(proc: &File, pid: Pid, map: &str) -> Result<Option<u32>, Failure> {
    let text = read(proc, &format!("{pid}/{map}"))?;
    Ok(text.split_whitespace().next().and_then(|id| id.parse().ok()))
}

/// Which directory is the root: the device and the inode.
fn root() -> Result<String, Failure> {
    let root = fs::metadata("/").or_failed("/")?;
    let (major, minor) = (libc::major(root.dev()), libc::minor(root.dev()));
    Ok(format!("device {major}:{minor} inode {}", root.ino()))
}

fn row(step: &str, what: impl Display) -> Result<(), Failure> {
    let line = format!("{step:<9}{what}\n");
    // With a command, standard output is the command's alone.
    match REMARKS.load(Relaxed) {
        true => io::stderr().write_all(line.as_bytes()).or_failed("standard error"),
        false => {
            let written = io::stdout().write_all(line.as_bytes()).or_else(unless_unread);
            written.or_failed("standard output")
        }
    }
}

/// A reader that has gone wants no more. That is no error.
fn unless_unread(error: io::Error) -> io::Result<()> {
    if error.kind() == ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}

/// The call that failed, and what the kernel said.
struct Failure(String);

trait OrFailed<T> {
    fn or_failed(self, call: &str) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> OrFailed<T> for Result<T, E> {
    fn or_failed(self, call: &str) -> Result<T, Failure> {
        self.map_err(|error| {
            let error = error.into();
            let hint = match error.kind() {
                ErrorKind::PermissionDenied if geteuid().is_root() => {
                    "\nhint: this root has no power over it: it comes from an outer user namespace"
                }
                ErrorKind::PermissionDenied => {
                    "\nhint: it takes root: sudo env PATH=\"$PATH\" setns-join …"
                }
                _ => "",
            };
            Failure(format!("{call}: {}{hint}", reason(&error)))
        })
    }
}

fn reason(error: &io::Error) -> String {
    let number = error.raw_os_error().map(|n| Errno::from_raw(n).desc().to_lowercase());
    number.unwrap_or_else(|| error.to_string())
}
