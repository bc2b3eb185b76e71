//! What host and agent say to each other: one JSON document per line, each way. An empty line from the
//! host only says that it is still there.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::doctor::Finding;
use crate::facts::{Observation, Request, Snapshot, Start};

/// The version of this protocol. Host and agent are the same podlab, so nothing older is spoken.
pub(super) const VERSION: u32 = 1;

/// The longest line that an agent takes.
pub(super) const LONGEST_ASKED: usize = 1 << 20;

/// The longest line that a host takes: a machine full of processes.
pub(super) const LONGEST_ANSWER: usize = 256 << 20;

/// The first line that an agent writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Greeting {
    /// The version of the protocol.
    pub(super) protocol: u32,
    /// The version of podlab.
    pub(super) podlab: String,
    /// The SHA-256 under which its program file lies there.
    pub(super) program: String,
    /// On whose behalf it looks: the user who logged in.
    pub(super) user: String,
}

/// What a host asks, with a number for the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    /// The answer carries the same.
    pub(super) id: u64,
    /// What is asked.
    pub(super) question: Question,
}

/// What an agent reads for its host. It judges nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Question {
    /// The whole machine, with the learner's marks.
    Snapshot,
    /// What `podlab start` noted there for this exercise.
    Start(String),
    /// One experiment.
    Experiment(Request),
    /// What `podlab doctor` finds there.
    Findings,
    /// From now on tell of changes, to these processes and in these folders too.
    Follow(Follow),
}

/// What to follow closely, besides the births and deaths of processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Follow {
    /// Processes of which everything matters.
    pub(super) pids: Vec<i32>,
    /// Folders.
    pub(super) folders: Vec<PathBuf>,
}

/// What an agent writes after its greeting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Told {
    /// The answer to the question of this number.
    Answer(u64, Answer),
    /// Something has changed since the last snapshot.
    Changed,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Answer {
    /// To [`Question::Snapshot`].
    Snapshot(Box<Snapshot>),
    /// To [`Question::Start`].
    Start(Box<Option<Start>>),
    /// To [`Question::Experiment`].
    Observation(Box<Observation>),
    /// To [`Question::Findings`].
    Findings(Vec<Finding>),
    /// To [`Question::Follow`]: whether the kernel tells of processes there.
    Following { told: bool },
    /// To any of them.
    Failed {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
}
