//! What an active experiment is asked, and what it saw.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{NamespaceId, ProcessId, Reading};

/// An experiment on a subject. The request is data, so that recorded evidence says what was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "ask")]
pub enum Request {
    /// Look at the `/proc` that a process sees.
    ProcView {
        /// Through whose root to look.
        process: ProcessId,
    },
    /// Make an orphan in the PID namespace of a process and see who waits for it.
    Orphan {
        /// PID 1 of that namespace.
        init: ProcessId,
    },
    /// Send SIGTERM from outside and see whether the process ends.
    Terminate {
        /// To whom.
        process: ProcessId,
    },
    /// Ask whether two processes share one memory (kcmp(2), `KCMP_VM`).
    SameMemory {
        /// One.
        one: ProcessId,
        /// The other.
        other: ProcessId,
    },
    /// Look at the program file of a process, and at a file beside it.
    ProgramFile {
        /// Whose program.
        process: ProcessId,
        /// The name of the other file, in the folder in which the program was.
        beside: String,
    },
    /// Read a file in which the learner left an answer.
    Answer {
        /// Its path.
        path: String,
    },
    /// Read what the kernel logged about processes killed for want of memory.
    OomLog {
        /// Only kills in this cgroup or below it, as the log names it.
        cgroup: String,
    },
}

impl Request {
    /// Whether the experiment ends or changes what the learner made.
    pub fn disturbs(&self) -> bool {
        matches!(self, Request::Terminate { .. })
    }
}

/// What an experiment saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "saw")]
pub enum Observation {
    /// It could not look: no permission, no such kernel feature, the process is gone.
    Nothing {
        /// What stood in the way.
        why: String,
    },
    /// Answer to [`Request::ProcView`].
    ProcView(ProcView),
    /// Answer to [`Request::Orphan`].
    Orphan(Orphan),
    /// Answer to [`Request::Terminate`].
    Terminate(Terminate),
    /// Answer to [`Request::SameMemory`].
    SameMemory {
        /// Whether the two share one memory.
        shared: bool,
    },
    /// Answer to [`Request::ProgramFile`].
    ProgramFile(ProgramFile),
    /// Answer to [`Request::Answer`].
    Answer {
        /// What the file holds, without white space around it; absent where there is no file.
        text: Reading<String>,
    },
    /// Answer to [`Request::OomLog`].
    OomLog {
        /// The kills, oldest first; denied where the log may not be read.
        kills: Reading<Vec<OomKill>>,
    },
}

/// The `/proc` that a process sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcView {
    /// Whether a procfs is mounted there at all.
    pub is_procfs: bool,
    /// The device of what is there, absent where nothing is; two mounts of one procfs instance have
    /// the same.
    pub device: Reading<u64>,
    /// The device of the observer's own `/proc`.
    pub observers_device: u64,
    /// The PID namespace that it belongs to: that of its process 1.
    pub namespace: Reading<NamespaceId>,
    /// The PIDs it shows, at most [`ProcView::MOST`].
    pub pids: Vec<i32>,
    /// How many processes the observer's own `/proc` shows.
    pub observers_count: usize,
}

impl ProcView {
    /// How many PIDs are noted.
    pub const MOST: usize = 4096;
}

/// What became of an orphan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Orphan {
    /// Its parent after its own had ended, as its PID namespace numbers it.
    pub adopted_by: i32,
    /// Whether its adopter waited for it before the deadline.
    pub reaped: bool,
    /// How long that took, or how long the probe waited, in milliseconds.
    pub waited_ms: u64,
}

/// What came of a SIGTERM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Terminate {
    /// Whether the process ended before the deadline.
    pub ended: bool,
    /// How long that took, or how long the probe waited, in milliseconds.
    pub waited_ms: u64,
    /// Whether a child that it had when the signal came was there all the while: a shell runs a trap
    /// only when the command in its foreground has ended.
    pub child_stayed: bool,
}

/// A program file and the file beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProgramFile {
    /// The folder in which it is or was, seen from the process's root.
    pub folder: String,
    /// The name it has or had there.
    pub name: String,
    /// Whether the kernel says that it was deleted, and the path does not lead to it.
    pub deleted: bool,
    /// Whether it never had a name (memfd_create(2), `O_TMPFILE` of open(2)).
    pub never_named: bool,
    /// Hard links that the file still has; an overlay file system may say 1 for none.
    pub links: u64,
    /// Whether it lies on an overlay file system.
    pub on_overlay: bool,
    /// Another name that the same file has in that folder.
    pub other_name: Option<String>,
    /// Device of the file.
    pub dev: u64,
    /// Inode of the file.
    pub ino: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// The path by which the process was started, where that leads nowhere any more.
    pub lost_call: Option<String>,
    /// The script that the program interprets, where its path leads nowhere any more.
    pub lost_script: Option<String>,
    /// The file beside it; absent where there is none.
    pub beside: Reading<FileSeen>,
}

/// A file that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileSeen {
    /// What kind of file.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u32,
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 in hexadecimal, of a regular file that has the program's size and may be read.
    pub sha256: Option<String>,
}

/// Kinds of files that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A symbolic link.
    Symlink,
    /// Anything else.
    Other,
}

/// One `oom-kill:` record of the kernel log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OomKill {
    /// Microseconds since boot, suspension included, by the log's clock: CLOCK_BOOTTIME but for its
    /// drift.
    pub at_us: u64,
    /// The cgroup whose limit was hit; none for the machine as a whole.
    pub limited: Option<String>,
    /// The cgroup of the killed process.
    pub of: String,
    /// Its name.
    pub comm: String,
    /// Its PID in the initial PID namespace.
    pub pid: i32,
    /// Who was in the cgroup whose limit was hit, and below it, by PID in the initial PID namespace;
    /// empty where the log does not list them all (`vm.oom_dump_tasks`).
    #[serde(default)]
    pub present: Vec<i32>,
}

/// An experiment and what it saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Observed {
    /// What was asked.
    pub request: Request,
    /// What was seen.
    pub observation: Observation,
}
