//! Limit, allocate, die: what the kernel does when a memory cgroup is full.
//!
//! The lab makes a cgroup, limits it, and puts two processes in it. One touches page after page
//! until the kernel kills it; the other lives. Then it prints what the kernel counted and logged.
//! cgroup v1 and v2.
//!
//! Usage: `memory-limit [--limit MIB] [-- COMMAND [ARG…]]`. COMMAND runs in the group instead.
//!
//! Nothing is left: members die with the lab, and a watcher, which only SIGKILL can end, removes
//! the group when the lab is gone. Who kills both leaves an empty group, for rmdir(1).
//!
//! See cgroups(7), the kernel's admin-guide/cgroup-v2.rst and admin-guide/cgroup-v1/memory.rst.

use std::ffi::OsString;
use std::fmt::Display;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{Parser, value_parser};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::sched_yield;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{AccessFlags, ForkResult, Pid, faccessat, fork, getpid, getppid, mkdir, setsid};

const KIB: usize = 1024;
const PAGE: usize = 4 * KIB;

/// Limit, allocate, die: what the kernel does when a memory cgroup is full
#[derive(Parser)]
struct Args {
    /// The group's limit, in MiB
    #[arg(long, value_name = "MIB", default_value = "32", value_parser = value_parser!(u32).range(1..))]
    limit: u32,
    /// Run this in the group
    #[arg(last = true)]
    command: Vec<OsString>,
}

/// The exit code, and what failed.
struct Failure(u8, String);

// ANCHOR: versions
/// What a version of cgroups calls its files, and what makes its limit one without swap.
struct Version {
    name: &'static str,
    limit: &'static str,
    swap: &'static str,
    swap_limit: fn(usize) -> usize,
    usage: &'static str,
    /// A file, and where it has several lines, the first word of one.
    counters: &'static [&'static str],
    way_out: &'static str,
}

const V1: Version = Version {
    name: "cgroup v1",
    limit: "memory.limit_in_bytes",
    // Memory and swap together. A page more than memory, so that memory is what runs full.
    swap: "memory.memsw.limit_in_bytes",
    swap_limit: |limit| limit + PAGE,
    usage: "memory.usage_in_bytes",
    counters: &["memory.failcnt", "memory.oom_control oom_kill", "memory.max_usage_in_bytes"],
    way_out: "run it as root: sudo env PATH=\"$PATH\" memory-limit",
};

const V2: Version = Version {
    name: "cgroup v2",
    limit: "memory.max",
    swap: "memory.swap.max",
    swap_limit: |_| 0,
    usage: "memory.current",
    counters: &[
        "memory.events max",
        "memory.events oom",
        "memory.events oom_kill",
        "memory.events.local oom_kill",
        "memory.peak",
    ],
    way_out: "run it as root, or in a scope that is yours: \
              systemd-run --user --scope -p Delegate=yes memory-limit",
};
// ANCHOR_END: versions

/// The group that the lab makes.
struct Group {
    path: PathBuf,
    version: &'static Version,
    /// Standard output is the command's, if there is one.
    has_command: bool,
}

fn main() -> ExitCode {
    ExitCode::from(run(&Args::parse()).unwrap_or_else(Failure::tell))
}

fn run(args: &Args) -> Result<u8, Failure> {
    let limit = fitting(args.limit)?;
    let (parent, version) = parent_group()?;
    let path = parent.join(format!("memory-limit-{}", getpid()));
    let group = Group { path, version, has_command: !args.command.is_empty() };
    let watcher = start_watcher(&group.path)?;
    group.say("here", format!("pid {}, {}: {}", getpid(), version.name, parent.display()))?;
    let outcome = group.use_up(limit, &args.command);
    end_watcher(watcher, &group.path)?;
    let state = if group.path.exists() { "still there" } else { "gone" };
    group.say("end", format!("{}: {state}", group.path.display()))?;
    outcome
}

/// The limit in bytes. Beyond half of what is free it would be an experiment with the machine.
fn fitting(mib: u32) -> Result<usize, Failure> {
    let available = field("/proc/meminfo", "MemAvailable")?;
    let kib: usize = available.trim_end_matches(" kB").parse().unwrap_or(0);
    let limit = mib as usize * KIB * KIB;
    if limit / KIB <= kib / 2 {
        return Ok(limit);
    }
    let hint = "hint: the limit can be half of that, at most";
    Err(Failure(2, format!("--limit {mib}: MemAvailable is {available}\n{hint}")))
}

// ANCHOR: parent
/// The folder to make a group in, and the version of cgroups there.
fn parent_group() -> Result<(PathBuf, &'static Version), Failure> {
    let (own, version) = own_group()?;
    // On v2 a group with processes in it hands out no controllers: go up to one that does.
    let gives_memory = |group: &&Path| {
        version.name == V1.name
            || fs::read_to_string(group.join("cgroup.subtree_control"))
                .is_ok_and(|names| names.split_whitespace().any(|name| name == "memory"))
    };
    let mut groups = own.ancestors().take_while(|group| group.join("cgroup.procs").exists());
    let refused = |why| Failure(2, format!("{why}\nhint: {}", version.way_out));
    let nobody = || refused(format!("{}: no cgroup.subtree_control has memory", own.display()));
    let parent = groups.find(gives_memory).ok_or_else(nobody)?;
    // Who moves a process writes into both: the new group, and the nearest one above old and new.
    for path in [parent.to_owned(), parent.join("cgroup.procs")] {
        let may_write = faccessat(AT_FDCWD, &path, AccessFlags::W_OK, AtFlags::AT_EACCESS);
        may_write.map_err(failed(path.display())).map_err(|Failure(_, why)| refused(why))?;
    }
    Ok((parent.to_owned(), version))
}

/// The caller's own memory group, and the version of cgroups that it is one of.
fn own_group() -> Result<(PathBuf, &'static Version), Failure> {
    let has_memory = |names: &str| names.split(',').any(|name| name == "memory");
    // Lines of number:controllers:path. The line of v2 is number 0 and names no controllers.
    let lines = read(Path::new("/proc/self/cgroup"))?;
    let groups = || lines.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let v1 = groups().find(|(controllers, _)| has_memory(controllers));
    let v2 = groups().find(|(controllers, _)| controllers.is_empty());
    let (_, path) = v1.or(v2).unwrap_or_default();
    for line in read(Path::new("/proc/self/mountinfo"))?.lines() {
        let fields: Vec<_> = line.split(' ').collect();
        let [_, _, _, root, mounted_at, .., kind, _, options] = fields[..] else { continue };
        let ours =
            if v1.is_some() { kind == "cgroup" && has_memory(options) } else { kind == "cgroup2" };
        if let (true, Ok(below)) = (ours, Path::new(path).strip_prefix(root)) {
            let version = if v1.is_some() { &V1 } else { &V2 };
            return Ok((Path::new(mounted_at).join(below), version));
        }
    }
    Err(Failure(2, format!("/proc/self/mountinfo: no mount there shows the memory group '{path}'")))
}
// ANCHOR_END: parent

// ANCHOR: watcher
/// Starts the process that makes the group now and removes it when the lab is gone.
fn start_watcher(group: &Path) -> Result<(Pid, UnixStream), Failure> {
    let (mut ours, mut theirs) = UnixStream::pair().map_err(failed("socketpair"))?;
    // SAFETY: there is one thread.
    let ForkResult::Parent { child: watcher } = unsafe { fork() }.map_err(failed("fork"))? else {
        drop(ours);
        // In a session of its own no Ctrl-C reaches it, and SIGKILL is the only signal that does.
        let held = setsid().and_then(|_| SigSet::all().thread_block());
        let made = held.and_then(|()| mkdir(group, Mode::from_bits_truncate(0o755)));
        let _ = theirs.write_all(&[made.map_or_else(|error| error as u8, |()| 0)]);
        // However the lab ends, its end of this stream closes.
        let _ = theirs.read(&mut [0]);
        let removed = made.map_or(Ok(()), |()| remove(group)).map_err(failed(group.display()));
        // SAFETY: it ends a forked child, to which nothing of the parent's belongs.
        unsafe { libc::_exit(removed.map_or_else(Failure::tell, |()| 0).into()) }
    };
    drop(theirs);
    let mut answer = [0];
    ours.read_exact(&mut answer)
        .inspect_err(|_| {
            // Something killed it. Should it have made the group, that is empty.
            let _ = fs::remove_dir(group);
        })
        .map_err(failed("the watcher"))?;
    match answer {
        [0] => Ok((watcher, ours)),
        [errno] => Err(failed(group.display())(Errno::from_raw(errno.into()))),
    }
}

/// Lets the watcher remove the group. Should something have killed it, the lab does it.
fn end_watcher((watcher, stream): (Pid, UnixStream), group: &Path) -> Result<(), Failure> {
    drop(stream);
    match waitpid(watcher, None) {
        Ok(WaitStatus::Exited(_, 0)) => Ok(()),
        _ => remove(group).map_err(failed(group.display())),
    }
}

/// Ends all that is in the group and below, and removes it.
fn remove(group: &Path) -> io::Result<()> {
    loop {
        let removed = empty(group).and_then(|()| fs::remove_dir(group));
        match removed.as_ref().map_err(io::Error::raw_os_error) {
            // Who has ended may still be on the way out.
            Err(Some(libc::EBUSY | libc::ENODEV)) => sched_yield()?,
            // The watcher of a lab that ran in here has been faster.
            Err(Some(libc::ENOENT)) => return Ok(()),
            _ => return removed,
        }
    }
}

/// Removes the groups below, kills the members, and waits until they have ended.
fn empty(group: &Path) -> io::Result<()> {
    for entry in fs::read_dir(group)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    let list = || fs::read_to_string(group.join("cgroup.procs"));
    for pid in list()?.lines() {
        let number = pid.parse::<i32>().unwrap_or(0);
        // SAFETY: the call takes two numbers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, number, 0) };
        if Errno::result(fd) == Err(Errno::ESRCH) {
            continue;
        }
        // SAFETY: the kernel has just made this descriptor for us.
        let member = unsafe { OwnedFd::from_raw_fd(Errno::result(fd)? as i32) };
        // If it is still listed now that we hold it, then what we hold is a member.
        if list()?.lines().any(|listed| listed == pid) {
            let fd = member.as_raw_fd();
            // SAFETY: no siginfo is passed. It fails only for a member that has ended already.
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, libc::SIGKILL, 0, 0) };
            poll(&mut [PollFd::new(member.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE)?;
        }
    }
    Ok(())
}
// ANCHOR_END: watcher

impl Group {
    fn use_up(&self, limit: usize, command: &[OsString]) -> Result<u8, Failure> {
        self.say("group", self.path.display())?;
        self.set_limit(limit)?;
        let before = self.counters();
        let code = if self.has_command { self.run(command)? } else { self.fill(limit)? };
        for ((name, before), (_, after)) in before.iter().zip(self.counters()) {
            self.say("count", format!("{name:<32} {before} -> {after}"))?;
        }
        Ok(code)
    }

    // ANCHOR: limit
    /// Sets the limit, without swap as a way round it, and reads back what the kernel made of it.
    fn set_limit(&self, limit: usize) -> Result<(), Failure> {
        let Version { limit: file, swap, swap_limit, .. } = self.version;
        self.write(file, limit)?;
        self.say("limit", format!("{file} {}", self.read(file)?))?;
        if !self.path.join(swap).exists() {
            let total = field("/proc/meminfo", "SwapTotal")?;
            return self.say("swap", format!("no {swap} here: swap is open, {total} of it"));
        }
        self.write(swap, swap_limit(limit))?;
        self.say("swap", format!("{swap} {}", self.read(swap)?))
    }
    // ANCHOR_END: limit

    // ANCHOR: fill
    /// One member fills the group, another looks on.
    fn fill(&self, limit: usize) -> Result<u8, Failure> {
        let log = open_log();
        let (onlooker, _stays) = self.member(|mut until_closed| {
            let _ = until_closed.read(&mut [0]);
            Ok(())
        })?;
        let (eater, mut go) = self.member(|go| self.eat(go, 2 * limit))?;
        let members = self.read("cgroup.procs")?;
        self.say(
            "join",
            format!("process {onlooker}, process {eater}      cgroup.procs {members}"),
        )?;
        let _ = go.write_all(b"!");
        let WaitStatus::Signaled(_, by, _) = waitpid(eater, None).map_err(failed("wait"))? else {
            return Err(Failure(1, format!("{eater} touched twice the limit and was not killed")));
        };
        let (signal, code) = (by as u8, 128 + by as u8);
        let death = format!("was killed by {by}, {signal}: a shell says {code}");
        self.say("die", format!("process {eater} {death}"))?;
        let state = field(&format!("/proc/{onlooker}/status"), "State")?;
        let members = self.read("cgroup.procs")?;
        self.say("live", format!("process {onlooker} is {state}      cgroup.procs {members}"))?;
        let found = log.and_then(|log| find_kill(log, eater)).map_err(failed("/dev/kmsg"));
        self.say("log", found.unwrap_or_else(|Failure(_, why)| why))?;
        Ok(0)
    }

    /// Touches a page after the other, up to `most` bytes.
    fn eat(&self, mut go: UnixStream, most: usize) -> Result<(), Failure> {
        go.read_exact(&mut [0]).map_err(failed("the lab's go"))?;
        let mut memory = vec![0_u8; most];
        for end in (PAGE..=most).step_by(PAGE) {
            memory[end - PAGE] = 1;
            black_box(&mut memory);
            if end % (most / 8) == 0 {
                let usage = self.version.usage;
                self.say("touch", format!("{end} bytes      {usage} {}", self.read(usage)?))?;
            }
        }
        Ok(())
    }
    // ANCHOR_END: fill

    // ANCHOR: member
    /// Forks a process that dies with the lab and is in the group before it does anything else.
    fn member(
        &self,
        live: impl FnOnce(UnixStream) -> Result<(), Failure>,
    ) -> Result<(Pid, UnixStream), Failure> {
        let (mut ours, mut theirs) = UnixStream::pair().map_err(failed("socketpair"))?;
        let lab = getpid();
        // SAFETY: there is one thread.
        let ForkResult::Parent { child } = unsafe { fork() }.map_err(failed("fork"))? else {
            drop(ours);
            let procs = self.path.join("cgroup.procs");
            let joined = join(lab, &procs).and_then(|()| theirs.write_all(b"!"));
            let lived = joined.map_err(failed(procs.display())).and_then(|()| live(theirs));
            // SAFETY: it ends a forked child, to which nothing of the parent's belongs.
            unsafe { libc::_exit(lived.map_or_else(Failure::tell, |()| 0).into()) }
        };
        drop(theirs);
        ours.read_exact(&mut [0]).map_err(failed(format!("process {child}")))?;
        Ok((child, ours))
    }
    // ANCHOR_END: member

    /// Runs the command as a member, and waits for it.
    fn run(&self, command: &[OsString]) -> Result<u8, Failure> {
        // Ctrl-C is for the command; the lab still has the counters to print.
        let keys: SigSet = [Signal::SIGINT, Signal::SIGQUIT].into_iter().collect();
        keys.thread_block().map_err(failed("sigprocmask"))?;
        let (lab, procs) = (getpid(), self.path.join("cgroup.procs"));
        let mut child = Command::new(&command[0]);
        // SAFETY: there is one thread, so the forked child may do what the lab may do.
        let child = unsafe {
            child.args(&command[1..]).pre_exec(move || {
                keys.thread_unblock()?;
                join(lab, &procs)
            })
        };
        match child.status() {
            Ok(status) => {
                let signal = status.signal().unwrap_or(0);
                Ok(status.code().unwrap_or(128 + signal) as u8)
            }
            Err(error) => {
                // As a shell has it: 127 not found, 126 found and not to be run.
                let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
                let Failure(_, why) = failed(Path::new(&command[0]).display())(error);
                Ok(Failure(code, why).tell())
            }
        }
    }

    /// The version's counters, as they are now. An older kernel may not have them all.
    fn counters(&self) -> Vec<(&str, String)> {
        let value = |name: &&'static str| {
            let (file, word) = name.split_once(' ').unwrap_or((name, ""));
            let text = fs::read_to_string(self.path.join(file)).ok()?;
            let value = text.lines().find_map(|line| line.strip_prefix(word)?.trim().parse().ok());
            Some((*name, value.map_or("?".to_owned(), |value: u64| value.to_string())))
        };
        self.version.counters.iter().filter_map(value).collect()
    }

    fn read(&self, file: &str) -> Result<String, Failure> {
        Ok(read(&self.path.join(file))?.trim().replace('\n', ", "))
    }

    fn write(&self, file: &str, value: impl Display) -> Result<(), Failure> {
        let path = self.path.join(file);
        fs::write(&path, value.to_string()).map_err(failed(format!("{}: {value}", path.display())))
    }

    fn say(&self, step: &str, text: impl Display) -> Result<(), Failure> {
        if self.has_command {
            let _ = writeln!(io::stderr(), "{step:<9}{text}");
            return Ok(());
        }
        let written = writeln!(io::stdout(), "{step:<9}{text}").or_else(unless_unread);
        written.map_err(failed("standard output"))
    }
}

/// A reader that has gone wants no more. That is no error.
fn unless_unread(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::BrokenPipe { Ok(()) } else { Err(error) }
}

/// Makes the calling child die with the lab, and puts it into the group of `procs`.
fn join(lab: Pid, procs: &Path) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // The lab may have ended before that call.
    if getppid() != lab {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    fs::write(procs, "0")
}

// ANCHOR: log
/// The kernel's log from now on, to be read without waiting.
fn open_log() -> io::Result<File> {
    let mut log = File::options().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg")?;
    log.seek(SeekFrom::End(0))?;
    Ok(log)
}

/// What it says of the end of `pid`. Each read gives one record: numbers;text.
fn find_kill(mut log: File, pid: Pid) -> io::Result<String> {
    let mut record = [0; 8 * KIB];
    while let Ok(length) = log.read(&mut record) {
        let record = String::from_utf8_lossy(&record[..length]);
        let text = record.split_once(';').unwrap_or_default().1.lines().next().unwrap_or_default();
        if text.contains(&format!("Killed process {pid} (")) {
            return Ok(text.to_owned());
        }
    }
    Ok(format!("nothing about {pid}; it has the numbers of the first PID namespace"))
}
// ANCHOR_END: log

/// The value of a line `name: value`.
fn field(path: &str, name: &str) -> Result<String, Failure> {
    let text = read(Path::new(path))?;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(value.ok_or(Failure(1, format!("{path}: no {name}")))?.trim().to_owned())
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(failed(path.display()))
}

impl Failure {
    /// Prints it. Gives the exit code.
    fn tell(self) -> u8 {
        let Failure(code, why) = self;
        let _ = writeln!(io::stderr(), "memory-limit: {why}");
        code
    }
}

/// Names the call that failed, and the kernel's reason.
fn failed<E: Into<io::Error>>(call: impl Display) -> impl FnOnce(E) -> Failure {
    move |error| {
        let error = error.into();
        let reason = error.raw_os_error().map(|code| Errno::from_raw(code).desc().to_lowercase());
        Failure(1, format!("{call}: {}", reason.unwrap_or_else(|| error.to_string())))
    }
}
