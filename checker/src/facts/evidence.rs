//! Everything that a verdict rests on, in one document.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Cgroup, CgroupRef, CgroupTree, Observed, ProcessId, Snapshot};

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

impl Start {
    /// How things are at the moment of a snapshot.
    pub fn at(snapshot: &Snapshot) -> Start {
        Start {
            boot_id: snapshot.machine.boot_id.clone(),
            ticks: snapshot.machine.ticks_since_boot,
            oom_kills: OomBaseline::all(&snapshot.cgroups),
            room: None,
        }
    }
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

impl OomBaseline {
    /// The groups in which something has been killed so far.
    pub fn all(tree: &CgroupTree) -> Vec<OomBaseline> {
        let noted = |group: &Cgroup| {
            let kills = *group.memory.as_ref()?.oom_kills.known()?;
            (kills > 0).then(|| OomBaseline { at: group.at.clone(), ino: group.ino, kills })
        };
        tree.groups.iter().filter_map(noted).collect()
    }
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
    /// The words of rooms that are gone, the latest first.
    pub earlier: Vec<EarlierRoom>,
}

/// The words of a room that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EarlierRoom {
    /// Mixed into the digests.
    pub salt: String,
    /// Digests of the words inside: file, network, host name.
    pub digests: [String; 3],
}

impl Room {
    /// How many rooms that are gone are remembered.
    const MOST_EARLIER: usize = 4;

    /// How often a digest is digested again, so that guessing a word takes longer than finding it.
    const ROUNDS: u32 = 4096;

    /// The digest of a word: SHA-256 over salt and word, then over itself, in hexadecimal.
    pub fn digest(salt: &str, word: &str) -> String {
        let mut digest = Sha256::new().chain_update(salt).chain_update(word).finalize();
        for _ in 0..Room::ROUNDS {
            digest = Sha256::digest(digest);
        }
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What the next room remembers: this one and those before it.
    pub fn remembered(&self) -> Vec<EarlierRoom> {
        let this = EarlierRoom { salt: self.salt.clone(), digests: self.digests.clone() };
        let before = self.earlier.iter().cloned();
        std::iter::once(this).chain(before).take(Room::MOST_EARLIER).collect()
    }
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
