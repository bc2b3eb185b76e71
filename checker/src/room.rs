//! The prepared target of the exercise *locked-room*: a process whose namespaces hold three words.
//!
//! One word is in a file that only its mount namespace has, one is answered on the loopback
//! interface of its network namespace, one is the host name of its UTS namespace. The words are
//! known to the process alone; what is kept of them are digests.

mod files;
mod keeper;
mod service;

use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::caller::Caller;
use crate::error::{Error, lower};
use crate::facts::{ProcessId, Room};
use crate::params::WORDS;

pub use keeper::keeper;

/// The hidden argument with which podlab starts itself as the keeper of a room.
pub const ARGUMENT: &str = "__room";

/// How long the keeper may take to furnish its room, and to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A room whose keeper waits for the word to stay. If it never comes, because podlab was ended,
/// the keeper ends.
pub struct Prepared {
    room: Room,
    keeper: ChildStdin,
}

impl Prepared {
    /// What is to be recorded before the room is released.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// Lets the keeper stay when podlab has ended.
    ///
    /// # Errors
    ///
    /// When the keeper has ended.
    pub fn release(mut self) -> Result<Room, Error> {
        self.keeper.write_all(&[keeper::STAY]).map_err(|_| not_made("its keeper has ended"))?;
        Ok(self.room)
    }
}

/// Makes a room. `folder` is an existing folder of the learner's; `replaced` is the room that this
/// one takes the place of, which has been cleared. `caller` is whose rights to files are used.
///
/// # Errors
///
/// When the folder cannot be written to, or the kernel refuses the namespaces.
pub fn prepare(folder: &Path, replaced: Option<&Room>, caller: &Caller) -> Result<Prepared, Error> {
    let [file, network, host, decoy] = draw_words()?;
    let salt = hexadecimal(&random::<16>()?);
    caller.with_rights(|| files::furnish(folder, &decoy))?;
    let plan = keeper::Plan { folder: folder.to_owned(), words: [file, network, host] };
    let (keeper, id, port) = settle(&plan).inspect_err(|_| sweep(folder, caller))?;
    let room = Room {
        keeper: id,
        note: text(&files::note(folder))?,
        port,
        answer: text(&files::answer(folder))?,
        digests: plan.words.map(|word| Room::digest(&salt, &word)),
        decoy: Room::digest(&salt, &decoy),
        salt,
        earlier: replaced.map(Room::remembered).unwrap_or_default(),
    };
    Ok(Prepared { room, keeper })
}

/// Ends the keeper of a room and removes the files that podlab made for it. The learner's answer
/// stays. A room that is gone is no error.
///
/// # Errors
///
/// When the keeper is another user's, or does not end.
pub fn clear(room: &Room, caller: &Caller) -> Result<(), Error> {
    end(room.keeper)?;
    if let Some(folder) = files::folder_of(&room.note) {
        sweep(&folder, caller);
    }
    Ok(())
}

/// Removes the folder with all that the exercise left in it: the files of a room, also of one that
/// was never recorded because podlab was ended while it made it, and the learner's answer. What
/// else the learner has put there stays.
pub fn forget(folder: &Path, caller: &Caller) {
    caller.with_rights(|| files::forget(folder));
}

fn sweep(folder: &Path, caller: &Caller) {
    caller.with_rights(|| files::sweep(folder));
}

/// What the learner is told of a room.
pub fn describe(room: &Room) -> String {
    format!(
        "  target   process {}\n  \
         file     {}\n  \
         network  127.0.0.1 port {}\n  \
         host     its host name\n  \
         answer   {}",
        room.keeper.pid, room.note, room.port, room.answer
    )
}

/// Four different words.
fn draw_words() -> Result<[String; 4], Error> {
    let mut words: Vec<String> = Vec::new();
    while words.len() < 4 {
        let drawn = u64::from_ne_bytes(random()?);
        let name = WORDS[(drawn % WORDS.len() as u64) as usize];
        let word = format!("{name}-{}", 1000 + (drawn >> 32) % 9000);
        if !words.contains(&word) {
            words.push(word);
        }
    }
    Ok(words.try_into().expect("there are four"))
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    // Up to 256 bytes come whole.
    getrandom(&mut bytes, GetRandomFlags::empty())
        .map_err(|error| Error::new(format!("getrandom: {error}")))?;
    Ok(bytes)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(path: &Path) -> Result<String, Error> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| Error::file(path, "not UTF-8").hint("set PODLAB_HOME to another folder"))
}

/// Starts the keeper and waits until its room is furnished.
fn settle(plan: &keeper::Plan) -> Result<(ChildStdin, ProcessId, u16), Error> {
    let failed = |error: io::Error| not_made(&lower(&error.to_string()));
    let mut child = spawn().map_err(failed)?;
    let furnished = converse(&mut child, plan);
    if furnished.is_err() {
        // It may wait for what will never come.
        let _ = child.kill();
    }
    child.wait().map_err(failed)?;
    furnished
}

/// Why there is no room, and what to do where the kernel refused the namespaces.
fn not_made(why: &str) -> Error {
    let error = Error::new(format!("the room cannot be made: {why}"));
    if why.starts_with("unshare") {
        return error.hint("podlab doctor says what restricts namespaces here; root may make them");
    }
    error
}

fn spawn() -> io::Result<Child> {
    use std::os::unix::process::CommandExt;
    Command::new("/proc/self/exe")
        .arg0("podlab")
        .arg(ARGUMENT)
        // A learner's mark for another exercise is not the room's.
        .env_remove("PODLAB")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
}

/// Hands over the plan and hears of the keeper's PID and port.
fn converse(child: &mut Child, plan: &keeper::Plan) -> Result<(ChildStdin, ProcessId, u16), Error> {
    let failed = |error: io::Error| not_made(&lower(&error.to_string()));
    let mut stdin = child.stdin.take().expect("standard input is a pipe");
    let mut line = serde_json::to_vec(plan).map_err(|error| failed(error.into()))?;
    line.push(b'\n');
    stdin.write_all(&line).map_err(failed)?;
    let mut reports = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
    let (mut pid, mut port) = (None, None);
    loop {
        if let (Some(pid), Some(port)) = (pid, port) {
            return Ok((stdin, ProcessId { pid, start: start_of(pid).map_err(failed)? }, port));
        }
        match hear(&mut reports).map_err(failed)? {
            keeper::Report::Keeper(number) => pid = Some(number),
            keeper::Report::Furnished(number) => port = Some(number),
            keeper::Report::Failed(why) => return Err(not_made(&why)),
        }
    }
}

fn hear(reports: &mut BufReader<std::process::ChildStdout>) -> io::Result<keeper::Report> {
    if reports.buffer().is_empty() && !ready(reports.get_ref(), PATIENCE)? {
        return Err(io::Error::new(io::ErrorKind::TimedOut, "its keeper takes too long"));
    }
    let mut line = String::new();
    if reports.read_line(&mut line)? == 0 {
        return Err(io::Error::other("its keeper has ended"));
    }
    Ok(serde_json::from_str(&line)?)
}

/// The start time of a process that waits for us, and so cannot end meanwhile.
fn start_of(pid: i32) -> io::Result<u64> {
    let stat = std::fs::read(format!("/proc/{pid}/stat"))?;
    start_in(&stat).ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat: not understood")))
}

/// Field 22 of `/proc/PID/stat`.
fn start_in(stat: &[u8]) -> Option<u64> {
    // The name in parentheses may hold anything, parentheses included.
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 2;
    let fields = std::str::from_utf8(stat.get(after_name..)?).ok()?;
    fields.split(' ').nth(19)?.parse().ok()
}

/// Ends the keeper, if it is still the same life and still a keeper.
fn end(keeper: ProcessId) -> Result<(), Error> {
    let Some(held) = hold(keeper) else { return Ok(()) };
    let failed = |error: io::Error| {
        Error::new(format!("process {}: {}", keeper.pid, lower(&error.to_string())))
    };
    match rustix::process::pidfd_send_signal(&held, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(rustix::io::Errno::PERM) => {
            return Err(failed(rustix::io::Errno::PERM.into())
                .hint("the room was made as root; run: sudo podlab reset locked-room"));
        }
        Err(error) => return Err(failed(error.into())),
    }
    // A pidfd is readable when its process has ended.
    if ready(&held, PATIENCE).map_err(failed)? {
        Ok(())
    } else {
        Err(failed(io::Error::new(io::ErrorKind::TimedOut, "it does not end")))
    }
}

/// A pidfd of the keeper; none where another process has its PID, or none has.
fn hold(keeper: ProcessId) -> Option<OwnedFd> {
    let pidfd =
        rustix::process::pidfd_open(Pid::from_raw(keeper.pid)?, PidfdFlags::empty()).ok()?;
    // Read after the pidfd was opened: what is read is of the process that it holds, or of a later
    // one, whose start time differs.
    let folder = PathBuf::from(format!("/proc/{}", keeper.pid));
    let stat = std::fs::read(folder.join("stat")).ok()?;
    let command = std::fs::read(folder.join("cmdline")).ok()?;
    let is_keeper = command.split(|byte| *byte == 0).nth(1) == Some(ARGUMENT.as_bytes());
    (start_in(&stat) == Some(keeper.start) && is_keeper).then_some(pidfd)
}

/// Waits until `file` can be read, or says that it cannot within `patience`.
fn ready(file: &impl std::os::fd::AsFd, patience: Duration) -> io::Result<bool> {
    let timeout = Timespec::try_from(patience).map_err(io::Error::other)?;
    loop {
        match poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
