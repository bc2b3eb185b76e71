//! One program, two processes: what they share, and what each has for itself.
//!
//! The lab copies itself to `/mnt/program`, starts that file twice, and prints side by side what the
//! kernel says of the two. Then it deletes the file, and both live on. `/mnt` is a tmpfs that only the
//! lab and its children see (chapter 6), so nothing of it is left, whatever ends them.
//!
//! Usage: `program-and-process [-- COMMAND [ARG…]]`. COMMAND runs while the two are alive and finds
//! their PIDs in `$FIRST` and `$SECOND`.
//!
//! See execve(2), unlink(2), `proc_pid_exe(5)`, `proc_pid_pagemap(5)`.

use std::ffi::OsString;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use clap::Parser;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, sched_yield, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::sys::statvfs::statvfs;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{Pid, SysconfVar, getegid, geteuid, getpid, getppid, sysconf};

const PROGRAM: &str = "/mnt/program";

/// One program, two processes: what they share, and what each has for itself
#[derive(Parser)]
struct Args {
    #[arg(long, hide = true)]
    live: bool,
    /// Run this while the two are alive, with their PIDs in $FIRST and $SECOND
    #[arg(last = true)]
    command: Vec<OsString>,
}

/// Whether what the lab prints goes to standard error.
static REMARKS: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let args = Args::parse();
    REMARKS.store(!args.command.is_empty(), Relaxed);
    (if args.live { live() } else { lab(&args.command) }).unwrap_or_else(|Failure(why)| {
        let _ = writeln!(io::stderr(), "program-and-process: {why}");
        ExitCode::FAILURE
    })
}

fn lab(command: &[OsString]) -> Result<ExitCode, Failure> {
    install().map_err(|Failure(why)| {
        let hint = "run it as root (sudo env PATH=\"$PATH\" program-and-process), or where users \
                    may make user namespaces";
        Failure(format!("{why}\nhint: {hint}"))
    })?;
    row("file", format_args!("{PROGRAM}: {}", identity(PROGRAM)?))?;
    let mut lives = [start("first", PROGRAM)?, start("second", PROGRAM)?];
    compare(&lives)?;
    write_to_first(&mut lives)?;
    delete(&lives[0])?;
    let code = look_around(command, &lives)?;
    end(lives)?;
    Ok(code)
}

/// Puts the program into a file that nobody outside sees.
fn install() -> Result<(), Failure> {
    let (uid, gid, none) = (geteuid(), getegid(), None::<&str>);
    let mut flags = CloneFlags::CLONE_NEWNS;
    // An ordinary user makes the mount namespace in a user namespace, and remains who they are.
    flags.set(CloneFlags::CLONE_NEWUSER, !uid.is_root());
    unshare(flags).or_failed("unshare")?;
    let maps = [("uid_map", format!("{uid} {uid} 1")), ("gid_map", format!("{gid} {gid} 1"))];
    for (file, text) in [("setgroups", "deny".to_owned())].into_iter().chain(maps) {
        if !uid.is_root() {
            fs::write(format!("/proc/self/{file}"), text).or_failed(file)?;
        }
    }
    // What is mounted from here on is gone with the last process in the namespace.
    let (private, safe) = (MsFlags::MS_REC | MsFlags::MS_PRIVATE, MsFlags::MS_NODEV);
    mount(none, "/", none, private, none).or_failed("mount / as private")?;
    mount(Some("program-and-process"), "/mnt", Some("tmpfs"), safe, none)
        .or_failed("mount /mnt")?;
    fs::copy("/proc/self/exe", PROGRAM).or_failed(PROGRAM).map(drop)
}

// ANCHOR: life
/// A variable in a page of its own, so that writing it changes nothing else.
#[repr(align(65536))]
struct OwnPage(AtomicU64);
static VARIABLE: OwnPage = OwnPage(AtomicU64::new(1));

/// What the program does: say where its code and its variable are, add one to the variable for each
/// line of input, and end when the input ends.
fn live() -> Result<ExitCode, Failure> {
    // The input ends with the lab, but only this ends a stopped process.
    set_pdeathsig(Signal::SIGKILL).or_failed("prctl")?;
    let OwnPage(variable) = &VARIABLE;
    variable.load(Relaxed);
    say(format_args!("{} {}", live as *const () as usize, variable.as_ptr() as usize))?;
    for _line in io::stdin().lines() {
        say(variable.fetch_add(1, Relaxed) + 1)?;
    }
    Ok(ExitCode::SUCCESS)
}
// ANCHOR_END: life

/// A process of the program, and where in its memory the code and the variable are.
struct Life {
    child: Child,
    report: BufReader<ChildStdout>,
    code: usize,
    variable: usize,
}

// ANCHOR: start
/// Starts `program` once more, with a working directory and an environment of its own.
fn start(name: &str, program: &str) -> Result<Life, Failure> {
    let folder = format!("/mnt/{name}");
    fs::create_dir(&folder).or_failed(&folder)?;
    let mut command = Command::new(program);
    command.arg("--live").env("LIFE", name).current_dir(folder).process_group(0);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().or_failed(program)?;
    let report = BufReader::new(child.stdout.take().expect("piped above"));
    let mut life = Life { child, report, code: 0, variable: 0 };
    [life.code, life.variable] = life.says()?;
    Ok(life)
}
// ANCHOR_END: start

// ANCHOR: compare
/// Prints what the kernel says of the two, side by side.
fn compare(lives: &[Life; 2]) -> Result<(), Failure> {
    let [first, second] = lives;
    // The first soon waits for input; the second is stopped.
    while first.entry("status", '\n', "State:")?.contains('R') {
        sched_yield().or_failed("sched_yield")?;
    }
    kill(second.pid(), Signal::SIGSTOP).or_failed("kill")?;
    waitpid(second.pid(), Some(WaitPidFlag::WUNTRACED)).or_failed("waitpid")?;
    both("pid", lives, |life| Ok(life.pid().to_string()))?;
    both("exe", lives, |life| identity(&life.file("exe")))?;
    both("", lives, |life| life.link("exe"))?;
    both("cwd", lives, |life| life.link("cwd"))?;
    both("environ", lives, |life| life.entry("environ", '\0', "LIFE="))?;
    both("status", lives, |life| life.entry("status", '\n', "State:"))?;
    both("code", lives, |life| life.page(life.code))?;
    both("variable", lives, Life::value)
}
// ANCHOR_END: compare

fn write_to_first(lives: &mut [Life; 2]) -> Result<(), Failure> {
    let first = &mut lives[0];
    first.child.stdin.as_ref().expect("piped").write_all(b"\n").or_failed("write")?;
    let [_value] = first.says()?;
    row("write", "the first adds one to its variable")?;
    both("variable", lives, Life::value)
}

// ANCHOR: delete
/// Deletes the program file, then reads and runs it all the same.
fn delete(first: &Life) -> Result<(), Failure> {
    fs::remove_file(PROGRAM).or_failed(PROGRAM)?;
    let exe = first.file("exe");
    let names = fs::metadata(&exe).or_failed(&exe)?.nlink();
    row("delete", format_args!("{PROGRAM}: the file has {names} names left"))?;
    row("exe", format_args!("{}: {}", first.link("exe")?, identity(&exe)?))?;
    let recovered = fs::read(&exe).or_failed(&exe)?;
    let same = recovered == fs::read("/proc/self/exe").or_failed("/proc/self/exe")?;
    let as_it_was = if same { "every byte as it was" } else { "not what it was" };
    row("read", format_args!("{} KiB from {exe}, {as_it_was}", recovered.len() / 1024))?;
    let third = start("third", &exe)?;
    let (pid, file, value) = (third.pid(), identity(&third.file("exe"))?, third.value()?);
    row("run", format_args!("{exe} as {pid}: {file}, variable {value}"))?;
    third.end()
}
// ANCHOR_END: delete

/// Runs the learner's command beside the two.
fn look_around(argv: &[OsString], [first, second]: &[Life; 2]) -> Result<ExitCode, Failure> {
    let Some((program, args)) = argv.split_first() else { return Ok(ExitCode::SUCCESS) };
    let mut command = Command::new(program);
    command.args(args).env("FIRST", first.pid().to_string());
    command.env("SECOND", second.pid().to_string());
    let lab = getpid();
    // Ctrl-C at a terminal reaches the whole foreground job; there it is the command's to handle.
    let terminal = io::stdin().is_terminal();
    let shield = if terminal { SigHandler::SigIgn } else { SigHandler::SigDfl };
    // SAFETY: no handler is installed, and between fork and exec there are only system calls.
    unsafe {
        signal(Signal::SIGINT, shield).or_failed("signal")?;
        command.pre_exec(move || {
            signal(Signal::SIGINT, SigHandler::SigDfl)?;
            // The command ends with the lab, also if the lab has ended just now.
            set_pdeathsig(Signal::SIGKILL)?;
            if getppid() == lab { Ok(()) } else { Err(Errno::ESRCH.into()) }
        });
    }
    let code = match command.status() {
        Ok(status) => status.code().or(status.signal().map(|n| 128 + n)).unwrap_or(1),
        Err(e) => {
            let code = if e.kind() == ErrorKind::NotFound { 127 } else { 126 };
            let (name, why) = (program.to_string_lossy(), reason(&e));
            let _ = writeln!(io::stderr(), "program-and-process: {name}: {why}");
            code
        }
    };
    Ok(ExitCode::from(code as u8))
}

/// Ends the two, and shows that the file goes with them.
fn end(lives: [Life; 2]) -> Result<(), Failure> {
    let inodes = || statvfs("/mnt").map(|fs| fs.files() - fs.files_free()).or_failed("/mnt");
    let before = inodes()?;
    lives.into_iter().try_for_each(Life::end)?;
    row("end", format_args!("both are gone; /mnt had {before} inodes in use, now {}", inodes()?))
}

impl Life {
    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    fn file(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.pid())
    }

    fn link(&self, name: &str) -> Result<String, Failure> {
        let path = self.file(name);
        Ok(fs::read_link(&path).or_failed(&path)?.display().to_string())
    }

    /// The entry that begins with `key`, in a file of entries that end with `end`.
    fn entry(&self, name: &str, end: char, key: &str) -> Result<String, Failure> {
        let path = self.file(name);
        let text = String::from_utf8_lossy(&fs::read(&path).or_failed(&path)?).replace('\t', " ");
        let entry = text.split(end).find(|entry| entry.starts_with(key));
        entry.map(str::to_owned).ok_or_else(|| Failure(format!("{path}: no {key}")))
    }

    // ANCHOR: page
    /// Whose page of physical memory is behind `address`.
    fn page(&self, address: usize) -> Result<String, Failure> {
        let size = sysconf(SysconfVar::PAGE_SIZE).or_failed("sysconf")?.unwrap_or(4096);
        let bits = self.word("pagemap", address / size as usize * 8)?;
        let whose = if bits >> 61 & 1 == 1 { "the file's" } else { "its own" };
        // The number of the page frame is for root only; others read 0.
        match bits & ((1 << 55) - 1) {
            0 => Ok(format!("{whose} page")),
            frame => Ok(format!("{whose} page {frame:#x}")),
        }
    }

    /// The value of the variable, and the page it is in.
    fn value(&self) -> Result<String, Failure> {
        Ok(format!("{} in {}", self.word("mem", self.variable)?, self.page(self.variable)?))
    }
    // ANCHOR_END: page

    fn word(&self, name: &str, offset: usize) -> Result<u64, Failure> {
        let (path, mut bytes) = (self.file(name), [0; 8]);
        let file = File::open(&path).or_failed(&path)?;
        file.read_exact_at(&mut bytes, offset as u64).or_failed(&path)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    /// The numbers on the next line that the process writes.
    fn says<const N: usize>(&mut self) -> Result<[usize; N], Failure> {
        let mut line = String::new();
        self.report.read_line(&mut line).or_failed("read")?;
        let numbers: Vec<_> = line.split_whitespace().flat_map(str::parse).collect();
        numbers.try_into().map_err(|_| Failure(format!("process {} has ended", self.pid())))
    }

    fn end(mut self) -> Result<(), Failure> {
        self.child.kill().or_failed("kill")?;
        self.child.wait().or_failed("waitpid").map(drop)
    }
}

/// Which file it is, whatever its name: the device and the inode.
fn identity(path: &str) -> Result<String, Failure> {
    let file = fs::metadata(path).or_failed(path)?;
    let (major, minor) = (libc::major(file.dev()), libc::minor(file.dev()));
    Ok(format!("device {major}:{minor} inode {}", file.ino()))
}

fn both(
    step: &str,
    [first, second]: &[Life; 2],
    look: impl Fn(&Life) -> Result<String, Failure>,
) -> Result<(), Failure> {
    row(step, format_args!("{:<32}{}", look(first)?, look(second)?))
}

fn row(step: &str, what: impl Display) -> Result<(), Failure> {
    say(format_args!("{step:<9}{what}"))
}

fn say(line: impl Display) -> Result<(), Failure> {
    // With a command, standard output is the command's alone.
    match REMARKS.load(Relaxed) {
        true => writeln!(io::stderr(), "{line}").or_failed("standard error"),
        false => {
            let written = writeln!(io::stdout(), "{line}").or_else(unless_unread);
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
        self.map_err(|error| Failure(format!("{call}: {}", reason(&error.into()))))
    }
}

fn reason(error: &io::Error) -> String {
    let number = error.raw_os_error().map(|n| Errno::from_raw(n).desc().to_lowercase());
    number.unwrap_or_else(|| error.to_string())
}
