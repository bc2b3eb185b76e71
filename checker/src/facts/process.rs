//! Processes, as `/proc/PID` shows them (proc(5)).

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Namespaces, Reading};

/// One life: a PID can be used again, a PID with its start time cannot.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct ProcessId {
    /// PID in the observer's PID namespace.
    pub pid: i32,
    /// Start time in clock ticks since boot: field 22 of `/proc/PID/stat`.
    pub start: u64,
}

/// The state letter of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum State {
    /// On a processor or waiting for one.
    #[serde(rename = "R")]
    Running,
    /// In a sleep that a signal ends.
    #[serde(rename = "S")]
    Sleeping,
    /// In a sleep that no signal ends.
    #[serde(rename = "D")]
    DiskSleep,
    /// Stopped by a signal.
    #[serde(rename = "T")]
    Stopped,
    /// Stopped by a tracer.
    #[serde(rename = "t")]
    TracingStop,
    /// Dead, not yet waited for.
    #[serde(rename = "Z")]
    Zombie,
    /// Dead.
    #[serde(rename = "X")]
    Dead,
    /// An idle kernel thread.
    #[serde(rename = "I")]
    Idle,
    /// A letter that this program does not know.
    #[serde(rename = "?")]
    Other,
}

impl State {
    /// From the letter.
    pub fn from_letter(letter: char) -> State {
        match letter {
            'R' => State::Running,
            'S' => State::Sleeping,
            'D' => State::DiskSleep,
            'T' => State::Stopped,
            't' => State::TracingStop,
            'Z' => State::Zombie,
            'X' | 'x' => State::Dead,
            'I' => State::Idle,
            _ => State::Other,
        }
    }

    /// Whether it has not ended.
    pub fn is_alive(self) -> bool {
        !matches!(self, State::Zombie | State::Dead)
    }
}

/// A line of `/proc/PID/uid_map` or `gid_map` (user_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IdMap {
    /// First ID inside.
    pub inside: u32,
    /// First ID outside, as the observer's user namespace numbers it.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// Capability sets, one bit a capability (capabilities(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Capabilities {
    /// `CapInh`
    pub inheritable: u64,
    /// `CapPrm`
    pub permitted: u64,
    /// `CapEff`
    pub effective: u64,
    /// `CapBnd`
    pub bounding: u64,
    /// `CapAmb`
    pub ambient: u64,
}

/// Signal sets, bit n-1 for signal n (signal(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Signals {
    /// `SigBlk`: of the main thread.
    pub blocked: u64,
    /// `SigIgn`
    pub ignored: u64,
    /// `SigCgt`: has a handler.
    pub caught: u64,
}

/// The field `Seccomp` of `/proc/PID/status` (seccomp(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// 0
    Disabled,
    /// 1: read, write, exit and sigreturn only.
    Strict,
    /// 2: a filter program decides.
    Filter,
}

/// A line of `/proc/PID/cgroup` (cgroups(7)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CgroupPath {
    /// Hierarchy number; 0 is cgroup v2.
    pub hierarchy: u32,
    /// The v1 controllers, or `name=…`; empty for v2.
    pub controllers: Vec<String>,
    /// The path, seen from the observer's cgroup namespace.
    pub path: String,
}

/// The program file that a process runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Exe {
    /// What `/proc/PID/exe` says, without the kernel's remark ` (deleted)`.
    pub path: String,
    /// Whether that path no longer names this file, by the kernel's word.
    pub deleted: bool,
    /// Device of the file.
    pub dev: u64,
    /// Inode of the file.
    pub ino: u64,
}

impl Exe {
    /// The last part of its path.
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Its identity.
    pub id: ProcessId,
    /// PID of its parent; 0 where the parent is outside the observer's PID namespace.
    pub parent: i32,
    /// Its name, at most 15 bytes: field 2 of `/proc/PID/stat`.
    pub comm: String,
    /// What it is doing.
    pub state: State,
    /// How many threads it has.
    pub threads: u32,
    /// Real, effective, saved and file-system user ID.
    pub uids: [u32; 4],
    /// Real, effective, saved and file-system group ID.
    pub gids: [u32; 4],
    /// Its PID in the observer's PID namespace, then in each one below, its own last (`NSpid`).
    pub ns_pid: Vec<i32>,
    /// Its namespaces.
    pub namespaces: Namespaces,
    /// User IDs inside and outside.
    pub uid_map: Reading<Vec<IdMap>>,
    /// Group IDs inside and outside.
    pub gid_map: Reading<Vec<IdMap>>,
    /// Its capabilities.
    pub capabilities: Capabilities,
    /// Whether execve(2) can no longer grant privileges (`NoNewPrivs`).
    pub no_new_privs: bool,
    /// Its seccomp mode.
    pub seccomp: Seccomp,
    /// What it does with signals.
    pub signals: Signals,
    /// Resident anonymous memory in bytes (`RssAnon`); absent for a zombie or a kernel thread.
    pub rss_anon: Reading<u64>,
    /// How the out-of-memory killer's choice is shifted, -1000 to 1000.
    pub oom_score_adj: Reading<i32>,
    /// Its cgroup in each hierarchy.
    pub cgroups: Reading<Vec<CgroupPath>>,
    /// Its program file; absent for a zombie or a kernel thread.
    pub exe: Reading<Exe>,
    /// Its working directory, with the kernel's remark ` (deleted)` where that was removed.
    pub cwd: Reading<String>,
    /// The value of the variable `PODLAB` in the environment it was started with, by which a
    /// learner marks a process. Absent where there is none, or where the snapshot left it out.
    pub mark: Reading<String>,
}

impl Process {
    /// Its PID in its own PID namespace.
    pub fn inner_pid(&self) -> i32 {
        self.ns_pid.last().copied().unwrap_or(self.id.pid)
    }

    /// Whether it has not ended.
    pub fn is_alive(&self) -> bool {
        self.state.is_alive()
    }

    /// Whether it is a thread of the kernel: it lives, and has no memory of its own.
    pub fn is_kernel_thread(&self) -> bool {
        self.is_alive() && self.rss_anon == Reading::Absent
    }

    /// Its effective user.
    pub fn user(&self) -> u32 {
        self.uids[1]
    }

    /// `NSpid` as the kernel prints it.
    pub fn ns_pid_text(&self) -> String {
        self.ns_pid.iter().map(i32::to_string).collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.comm, self.id.pid)
    }
}
