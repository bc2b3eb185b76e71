//! Control groups (cgroups(7); Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/).

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Reading;

/// Which version of cgroups a machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CgroupMode {
    /// Version 1 hierarchies only.
    V1,
    /// The one version 2 hierarchy only.
    V2,
    /// Both; the controllers are on one side or the other.
    Hybrid,
    /// None is mounted.
    None,
}

impl fmt::Display for CgroupMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CgroupMode::V1 => "v1",
            CgroupMode::V2 => "v2",
            CgroupMode::Hybrid => "hybrid",
            CgroupMode::None => "none",
        })
    }
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hierarchy {
    /// 1 or 2.
    pub version: u8,
    /// Its controllers: for version 1 as mounted (or `name=…`), for version 2 the content of
    /// `cgroup.controllers` at its root.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount_point: String,
    /// The cgroup that stands at the mount point: field 4 of mountinfo.
    pub root: String,
}

/// A limit, which may be none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Limit {
    /// This much.
    At(u64),
    /// No limit.
    Max(Max),
}

/// The word `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Max {
    /// No limit.
    #[serde(rename = "max")]
    Max,
}

impl Limit {
    /// No limit.
    pub const MAX: Limit = Limit::Max(Max::Max);

    /// The number, where there is one.
    pub fn number(self) -> Option<u64> {
        match self {
            Limit::At(number) => Some(number),
            Limit::Max(_) => None,
        }
    }
}

/// The memory controller's files of one cgroup; amounts in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Memory {
    /// v1 `memory.limit_in_bytes`, v2 `memory.max`.
    pub limit: Reading<Limit>,
    /// v2 `memory.high`: above it the group is slowed down, not killed.
    pub high: Reading<Limit>,
    /// v1 `memory.memsw.limit_in_bytes`: memory and swap together.
    pub memory_and_swap_limit: Reading<Limit>,
    /// v2 `memory.swap.max`: swap alone.
    pub swap_limit: Reading<Limit>,
    /// v1 `memory.usage_in_bytes`, v2 `memory.current`.
    pub usage: Reading<u64>,
    /// v1 `memory.max_usage_in_bytes`, v2 `memory.peak`.
    pub peak: Reading<u64>,
    /// How often the limit was hit: v1 `memory.failcnt`, v2 `max` of `memory.events`.
    pub limit_hits: Reading<u64>,
    /// How many processes were killed: `oom_kill` of v1 `memory.oom_control` (of this group alone)
    /// or v2 `memory.events` (of the groups below, too).
    pub oom_kills: Reading<u64>,
    /// How many processes of this very group were killed: v1 as above, v2 `memory.events.local`.
    pub oom_kills_local: Reading<u64>,
    /// v1 `oom_kill_disable` of `memory.oom_control`: tasks wait instead of being killed.
    pub oom_kill_disabled: Reading<bool>,
    /// v2 `memory.oom.group`: one goes, all go.
    pub oom_group: Reading<bool>,
}

/// The pids controller's files of one cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pids {
    /// `pids.max`
    pub limit: Reading<Limit>,
    /// `pids.current`: tasks, threads and zombies included.
    pub current: Reading<u64>,
    /// How often a fork was refused: `max` of `pids.events`.
    pub refused: Reading<u64>,
}

/// The cpu controller's files of one cgroup; times in microseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cpu {
    /// Time allowed in each period: v1 `cpu.cfs_quota_us`, v2 `cpu.max`.
    pub quota: Reading<Limit>,
    /// Length of a period: v1 `cpu.cfs_period_us`, v2 `cpu.max`.
    pub period: Reading<u64>,
    /// v1 `cpu.shares` (1024 is one's fair share), v2 `cpu.weight` (100 is).
    pub weight: Reading<u64>,
    /// Periods that have passed: `nr_periods` of `cpu.stat`.
    pub periods: Reading<u64>,
    /// Periods in which it was stopped: `nr_throttled`.
    pub throttled: Reading<u64>,
    /// Time for which it was stopped.
    pub throttled_us: Reading<u64>,
}

/// What identifies a cgroup within a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct CgroupRef {
    /// Index into [`CgroupTree::hierarchies`].
    pub hierarchy: usize,
    /// Path as in `/proc/PID/cgroup`, `/` for the root.
    pub path: String,
}

/// One cgroup: a directory in a hierarchy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cgroup {
    /// Which one.
    pub at: CgroupRef,
    /// Inode of its directory: tells a removed group from a new one of the same name.
    pub ino: u64,
    /// The PIDs in `cgroup.procs`, as the observer numbers them.
    pub procs: Reading<Vec<i32>>,
    /// Where the memory controller works here.
    pub memory: Option<Memory>,
    /// Where the pids controller works here.
    pub pids: Option<Pids>,
    /// Where the cpu controller works here.
    pub cpu: Option<Cpu>,
    /// v1 `freezer.state`, v2 `frozen` of `cgroup.events`: whether it is frozen.
    pub frozen: Reading<bool>,
}

/// All hierarchies and their groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CgroupTree {
    /// Which version.
    pub mode: CgroupMode,
    /// The mounted hierarchies.
    pub hierarchies: Vec<Hierarchy>,
    /// The groups, each after its parent.
    pub groups: Vec<Cgroup>,
}

impl CgroupTree {
    /// The group at this place.
    pub fn group(&self, at: &CgroupRef) -> Option<&Cgroup> {
        self.groups.iter().find(|group| group.at == *at)
    }

    /// Which version of cgroups a group belongs to, 1 or 2.
    pub fn version(&self, at: &CgroupRef) -> Option<u8> {
        self.hierarchies.get(at.hierarchy).map(|hierarchy| hierarchy.version)
    }

    /// A group and those below it.
    pub fn subtree<'t>(&'t self, at: &'t CgroupRef) -> impl Iterator<Item = &'t Cgroup> {
        self.group(at).into_iter().chain(self.below(at))
    }

    /// The groups below a group, without itself.
    pub fn below<'t>(&'t self, at: &'t CgroupRef) -> impl Iterator<Item = &'t Cgroup> {
        self.groups.iter().filter(move |group| {
            group.at.hierarchy == at.hierarchy
                && group.at.path.strip_prefix(at.path.trim_end_matches('/')).is_some_and(|rest| {
                    rest.starts_with('/') && rest.len() > 1 && group.at.path != at.path
                })
        })
    }
}
