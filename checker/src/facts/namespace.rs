//! Namespaces (namespaces(7)).

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Reading;

/// The kinds of namespaces.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// cgroup_namespaces(7)
    Cgroup,
    /// ipc_namespaces(7)
    Ipc,
    /// mount_namespaces(7)
    Mnt,
    /// network_namespaces(7)
    Net,
    /// pid_namespaces(7)
    Pid,
    /// time_namespaces(7)
    Time,
    /// user_namespaces(7)
    User,
    /// uts_namespaces(7)
    Uts,
}

impl Kind {
    /// All eight, in the order in which `ls /proc/self/ns` shows them.
    pub const ALL: [Kind; 8] = [
        Kind::Cgroup,
        Kind::Ipc,
        Kind::Mnt,
        Kind::Net,
        Kind::Pid,
        Kind::Time,
        Kind::User,
        Kind::Uts,
    ];

    /// The name of its link in `/proc/PID/ns`.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Cgroup => "cgroup",
            Kind::Ipc => "ipc",
            Kind::Mnt => "mnt",
            Kind::Net => "net",
            Kind::Pid => "pid",
            Kind::Time => "time",
            Kind::User => "user",
            Kind::Uts => "uts",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What identifies a namespace: device and inode of its file in nsfs (namespaces(7)). Inode numbers
/// are used again after a namespace is gone.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct NamespaceId {
    /// Device number of nsfs.
    pub dev: u64,
    /// Inode number: the one in `pid:[4026531836]`.
    pub ino: u64,
}

/// The namespaces of one process: what its `/proc/PID/ns` links lead to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Namespaces {
    /// The one that cgroup paths are seen from.
    pub cgroup: Reading<NamespaceId>,
    /// System V IPC and POSIX message queues.
    pub ipc: Reading<NamespaceId>,
    /// Mounts.
    pub mnt: Reading<NamespaceId>,
    /// Network.
    pub net: Reading<NamespaceId>,
    /// Process IDs.
    pub pid: Reading<NamespaceId>,
    /// Where its next child will be; absent between unshare(2) and the first child.
    pub pid_for_children: Reading<NamespaceId>,
    /// Offsets of the monotonic and boot-time clocks.
    pub time: Reading<NamespaceId>,
    /// Where its next child will be.
    pub time_for_children: Reading<NamespaceId>,
    /// Users, groups and capabilities.
    pub user: Reading<NamespaceId>,
    /// Host and domain name.
    pub uts: Reading<NamespaceId>,
}

impl Namespaces {
    /// The one of this kind.
    pub fn get(&self, kind: Kind) -> &Reading<NamespaceId> {
        match kind {
            Kind::Cgroup => &self.cgroup,
            Kind::Ipc => &self.ipc,
            Kind::Mnt => &self.mnt,
            Kind::Net => &self.net,
            Kind::Pid => &self.pid,
            Kind::Time => &self.time,
            Kind::User => &self.user,
            Kind::Uts => &self.uts,
        }
    }
}

/// One namespace and where it hangs (ioctl_ns(2)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Namespace {
    /// Its identity.
    pub id: NamespaceId,
    /// Its kind.
    pub kind: Kind,
    /// The namespace it was made in, for the nested kinds pid and user (NS_GET_PARENT). Denied for
    /// one whose parent lies outside the observer's; absent for the other kinds.
    pub parent: Reading<NamespaceId>,
    /// The user namespace that owns it (NS_GET_USERNS); for a user namespace, its parent.
    pub owner: Reading<NamespaceId>,
    /// For a user namespace, the user ID of its maker (NS_GET_OWNER_UID).
    pub owner_uid: Reading<u32>,
}
