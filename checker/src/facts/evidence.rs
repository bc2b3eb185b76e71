//! Everything that a verdict rests on, in one document.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CgroupRef, Observed, ProcessId, Snapshot};

/// Whose parameters an exercise has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Learner {
    /// Chosen by whoever hands out the course.
    pub seed: String,
    /// The learner's name.
    pub name: String,
}

/// What `podlab start` noted before the learner began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Start {
    /// The boot it belongs to: after another one it says nothing.
    pub boot_id: String,
    /// When, in clock ticks since boot.
    pub ticks: u64,
    /// Cgroups in which something had been killed for want of memory before.
    pub oom_kills: Vec<OomBaseline>,
    /// What was prepared for the exercise *locked-room*.
    pub room: Option<Room>,
}

/// A counter as it was before the learner began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OomBaseline {
    /// Which cgroup.
    pub at: CgroupRef,
    /// Inode of its directory.
    pub ino: u64,
    /// Its `oom_kill` then.
    pub kills: u64,
}

/// A prepared room: a process whose namespaces hold three words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Room {
    /// The process that lives in it.
    pub keeper: ProcessId,
    /// The file that holds one word inside and another outside.
    pub note: String,
    /// The port on its loopback interface that answers with a word.
    pub port: u16,
    /// Where the learner is to write the three words.
    pub answer: String,
    /// Mixed into the digests.
    pub salt: String,
    /// Digests of the words inside: file, network, host name.
    pub digests: [String; 3],
    /// Digest of the word that the note has outside.
    pub decoy: String,
    /// Digests of the whole answers of rooms that are gone, each with its salt.
    pub earlier: Vec<[String; 2]>,
}

/// All that a verdict rests on: `podlab judge` needs nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// Always [`Evidence::SCHEMA`].
    pub schema: String,
    /// The exercise's id.
    pub exercise: String,
    /// Whose parameters.
    pub learner: Learner,
    /// What was noted before.
    pub start: Option<Start>,
    /// The process that the learner named with `--pid`.
    pub pid: Option<i32>,
    /// The machine as it was.
    pub snapshot: Snapshot,
    /// The experiments, in the order in which they were made.
    pub observations: Vec<Observed>,
}

impl Evidence {
    /// Name and version of this document's schema.
    pub const SCHEMA: &'static str = "podlab/evidence/v1";
}
