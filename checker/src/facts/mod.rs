//! Plain data: what was read from the kernel. No I/O here, so the same facts give the same verdict
//! on any machine.

mod cgroup;
mod evidence;
mod mount;
mod namespace;
mod observation;
mod process;
mod reading;

pub use cgroup::{
    Cgroup, CgroupMode, CgroupRef, CgroupTree, Cpu, Hierarchy, Limit, Max, Memory, Pids,
};
pub use evidence::{EarlierRoom, Evidence, Learner, OomBaseline, Room, Start};
pub use mount::{Mount, MountTable};
pub use namespace::{Kind, Namespace, NamespaceId, Namespaces};
pub use observation::{
    FileKind, FileSeen, Observation, Observed, OomKill, Orphan, ProcView, ProgramFile, Request,
    Terminate,
};
pub use process::{
    Capabilities, CgroupPath, Exe, IdMap, Process, ProcessId, Seccomp, Signals, State,
};
pub use reading::{Denied, Reading};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The machine and the moment of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// Host name as the observer sees it (uname(2)).
    pub hostname: String,
    /// Kernel release (uname(2)).
    pub kernel: String,
    /// `/proc/sys/kernel/random/boot_id`: tells one boot from the next.
    pub boot_id: String,
    /// Bytes in a page; cgroup memory limits are rounded to it.
    pub page_size: u64,
    /// Clock ticks in a second: the unit of [`ProcessId::start`].
    pub ticks_per_second: u64,
    /// When the snapshot was taken, in clock ticks since boot (CLOCK_BOOTTIME).
    pub ticks_since_boot: u64,
    /// When the snapshot was taken, in milliseconds since 1970 (CLOCK_REALTIME).
    pub unix_ms: u64,
    /// Swap space in use or not, in bytes (`SwapTotal` of `/proc/meminfo`).
    pub swap_total: u64,
}

/// Everything that was read in one pass over the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Snapshot {
    /// The machine and the moment.
    pub machine: Machine,
    /// The PID of the process that looked. Its namespaces count as the machine's own: those of PID 1
    /// may not be readable, even to root.
    pub observer: i32,
    /// The processes, in the order of their PIDs.
    pub processes: Vec<Process>,
    /// The namespaces that these processes are in, and their ancestors.
    pub namespaces: Vec<Namespace>,
    /// The cgroup hierarchies.
    pub cgroups: CgroupTree,
    /// The mounts of each mount namespace that could be read.
    pub mounts: Vec<MountTable>,
}

impl Snapshot {
    /// The process with this PID.
    pub fn process(&self, pid: i32) -> Option<&Process> {
        let at = self.processes.binary_search_by_key(&pid, |process| process.id.pid).ok()?;
        self.processes.get(at)
    }

    /// The same life: this PID and this start time.
    pub fn life(&self, id: ProcessId) -> Option<&Process> {
        self.process(id.pid).filter(|process| process.id == id)
    }

    /// The process that looked.
    pub fn observer(&self) -> Option<&Process> {
        self.process(self.observer)
    }

    /// How deep the observer's PID namespace is: 1 in the initial one.
    pub fn depth(&self) -> usize {
        self.observer().map_or(1, |process| process.ns_pid.len().max(1))
    }

    /// The record of a namespace.
    pub fn namespace(&self, id: NamespaceId) -> Option<&Namespace> {
        self.namespaces.iter().find(|namespace| namespace.id == id)
    }

    /// The children of a process, in the order of their PIDs.
    pub fn children(&self, pid: i32) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(move |process| process.parent == pid)
    }

    /// The ancestors of a process, nearest first.
    pub fn ancestors<'s>(&'s self, process: &'s Process) -> impl Iterator<Item = &'s Process> {
        // A snapshot is not atomic and a recorded one may be forged: bound the walk.
        std::iter::successors(Some(process), |child| self.process(child.parent))
            .skip(1)
            .take(self.processes.len())
    }

    /// The mounts of a mount namespace.
    pub fn mount_table(&self, namespace: NamespaceId) -> Option<&MountTable> {
        self.mounts.iter().find(|table| table.namespace == namespace)
    }

    /// Whether `process` is in another namespace of this kind than the observer; nothing where
    /// either may not be read.
    pub fn differs(&self, process: &Process, kind: Kind) -> Option<bool> {
        let ours = self.observer()?.namespaces.get(kind).known()?;
        let theirs = process.namespaces.get(kind).known()?;
        Some(ours != theirs)
    }
}
