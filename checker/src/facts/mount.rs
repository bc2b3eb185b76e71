//! Mounts, as `/proc/PID/mountinfo` lists them (proc_pid_mountinfo(5)).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{NamespaceId, Reading};

/// One line of mountinfo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mount {
    /// Unique among the mounts of now.
    pub id: u64,
    /// The mount it stands on.
    pub parent: u64,
    /// Device, `major:minor`, of the files on it.
    pub device: String,
    /// The part of the file system that is its root.
    pub root: String,
    /// Where it is mounted, seen from the process's root; octal escapes resolved.
    pub mount_point: String,
    /// Options of this mount, such as `rw,nosuid`.
    pub options: String,
    /// Peer group that it shares events with (`shared:N`).
    pub shared: Option<u32>,
    /// Peer group that it only receives from (`master:N`).
    pub master: Option<u32>,
    /// Type of the file system.
    pub fs_type: String,
    /// Where its data comes from.
    pub source: String,
    /// Options of the file system.
    pub super_options: String,
}

/// The mounts of one mount namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MountTable {
    /// Whose mounts these are.
    pub namespace: NamespaceId,
    /// The process through which they were read, and from whose root they are seen.
    pub through: i32,
    /// In the kernel's order.
    pub mounts: Reading<Vec<Mount>>,
}
