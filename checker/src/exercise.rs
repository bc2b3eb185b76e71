//! What an exercise is: a row of data with functions over facts in it.

use crate::facts::{
    CgroupRef, Observation, Observed, Process, ProcessId, Request, Snapshot, Start,
};
use crate::params::Params;

/// An exercise: what must be true of the kernel, by whatever means.
pub struct Exercise {
    /// Its name on the command line and in results.
    pub id: &'static str,
    /// The chapter it belongs to: the file's name in `book/src`, without `.md`.
    pub chapter: &'static str,
    /// A few words.
    pub title: &'static str,
    /// The text that a learner reads: the goal, the parameters, what counts, and nothing about how.
    pub task: fn(&Params) -> String,
    /// What `podlab start` prepares for it.
    pub target: Option<Target>,
    /// Whether it is about cgroups, whose directories the live screen then follows.
    pub reads_cgroups: bool,
    /// What the checks could be about, best first. Never empty: [`Subject::Nothing`] at least.
    pub subjects: fn(&Facts) -> Vec<Subject>,
    /// What must hold, in the order in which it is shown.
    pub checks: &'static [Check],
    /// Misconceptions that facts give away, the more specific first.
    pub mistakes: &'static [Mistake],
    /// From a nudge to nearly everything.
    pub hints: &'static [&'static str],
}

impl Exercise {
    /// All its points.
    pub fn points(&self) -> u32 {
        self.checks.iter().map(|check| check.points).sum()
    }

    /// The check with this id.
    pub fn check(&self, id: &str) -> Option<&'static Check> {
        self.checks.iter().find(|check| check.id == id)
    }
}

/// Something that an exercise needs and that podlab makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A process in namespaces of its own that hold a secret.
    LockedRoom,
}

/// One thing that must hold.
pub struct Check {
    /// Its name in results.
    pub id: &'static str,
    /// What holds, as a sentence without capital and period.
    pub claim: &'static str,
    /// What it is worth.
    pub points: u32,
    /// The checks that must hold before this one means anything.
    pub needs: &'static [&'static str],
    /// How it is judged.
    pub how: How,
}

/// How a check is judged.
pub enum How {
    /// From facts that were read.
    Facts(fn(&Scene) -> Verdict),
    /// From what an experiment saw. The second function is never given [`Observation::Nothing`].
    Probe(fn(&Scene) -> Option<Request>, fn(&Scene, &Observation) -> Verdict),
}

/// A misconception.
pub struct Mistake {
    /// Its name in results.
    pub id: &'static str,
    /// The check that it explains.
    pub check: &'static str,
    /// Whether the facts give it away.
    pub recognise: fn(&Scene) -> bool,
    /// What is so, and why.
    pub explain: &'static str,
    /// What to look at or try.
    pub hint: &'static str,
}

/// What is known before a subject is chosen.
pub struct Facts<'a> {
    /// The machine.
    pub snapshot: &'a Snapshot,
    /// The learner's parameters.
    pub params: &'a Params,
    /// What was noted before the learner began, on this boot.
    pub start: Option<&'a Start>,
    /// The process that the learner named.
    pub pid: Option<i32>,
}

impl<'a> Facts<'a> {
    /// Whether this life may be the learner's work: it is the one they named; or they named none,
    /// it began no earlier than they did, and it is neither podlab itself nor of the kernel.
    pub fn may_be_theirs(&self, process: &Process) -> bool {
        match self.pid {
            Some(pid) => process.id.pid == pid,
            None => {
                self.start.is_none_or(|start| process.id.start >= start.ticks)
                    && !process.is_kernel_thread()
                    && !self.is_podlab(process)
            }
        }
    }

    /// The observer, and the probes and rooms that it starts, run the same program, or the one that
    /// was there before podlab was built anew. Where podlab looks from another machine, the learner
    /// has one of the same name besides.
    fn is_podlab(&self, process: &Process) -> bool {
        let own = self.snapshot.observer().and_then(|observer| observer.exe.known());
        process.id.pid == self.snapshot.observer
            || own.is_some_and(|own| {
                process.exe.known().is_some_and(|exe| {
                    (exe.dev, exe.ino) == (own.dev, own.ino) || exe.file_name() == own.file_name()
                })
            })
    }

    /// Completes `no process …` where others were left out: what began before they did is not theirs.
    pub fn since_they_began(&self) -> &'static str {
        match (self.start, self.pid) {
            (Some(_), None) => " that began after podlab start",
            _ => "",
        }
    }

    /// The processes that may be the learner's work, the latest first.
    pub fn theirs(&self) -> Vec<&'a Process> {
        let mut found: Vec<&'a Process> =
            self.snapshot.processes.iter().filter(|process| self.may_be_theirs(process)).collect();
        found.sort_by_key(|process| std::cmp::Reverse((process.id.start, process.id.pid)));
        found
    }
}

/// What the checks are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Nothing on this machine comes near.
    Nothing,
    /// A process.
    Process(ProcessId),
    /// Two processes.
    Pair(ProcessId, ProcessId),
    /// A cgroup.
    Cgroup(CgroupRef),
}

/// What a check sees: the facts, the subject, and what experiments have shown so far.
pub struct Scene<'a> {
    /// The facts.
    pub facts: &'a Facts<'a>,
    /// The subject.
    pub subject: &'a Subject,
    /// The experiments so far.
    pub observations: &'a [Observed],
}

impl<'a> Scene<'a> {
    /// The machine.
    pub fn snapshot(&self) -> &'a Snapshot {
        self.facts.snapshot
    }

    /// The learner's parameters.
    pub fn params(&self) -> &'a Params {
        self.facts.params
    }

    /// The subject, where it is a process; the first of two.
    pub fn process(&self) -> Option<&'a Process> {
        match self.subject {
            Subject::Process(id) | Subject::Pair(id, _) => self.snapshot().life(*id),
            Subject::Nothing | Subject::Cgroup(_) => None,
        }
    }

    /// The second process of a pair.
    pub fn other(&self) -> Option<&'a Process> {
        match self.subject {
            Subject::Pair(_, id) => self.snapshot().life(*id),
            _ => None,
        }
    }

    /// What was seen when `request` was asked.
    pub fn seen(&self, request: &Request) -> Option<&'a Observation> {
        self.observations
            .iter()
            .find(|observed| observed.request == *request)
            .map(|observed| &observed.observation)
    }
}

/// The outcome of one check. The four are never merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Holds {
        /// What was seen.
        saw: String,
    },
    /// It does not.
    Fails {
        /// What was seen.
        saw: String,
        /// What would hold.
        expected: String,
    },
    /// A check that it needs does not hold.
    Blocked {
        /// Which.
        by: &'static str,
    },
    /// It could not be judged; never the learner's fault, never a point.
    CannotTell {
        /// What stood in the way.
        why: String,
    },
}

impl Verdict {
    /// It holds.
    pub fn holds(saw: impl Into<String>) -> Verdict {
        Verdict::Holds { saw: saw.into() }
    }

    /// It does not.
    pub fn fails(saw: impl Into<String>, expected: impl Into<String>) -> Verdict {
        Verdict::Fails { saw: saw.into(), expected: expected.into() }
    }

    /// It could not be judged.
    pub fn cannot_tell(why: impl Into<String>) -> Verdict {
        Verdict::CannotTell { why: why.into() }
    }
}
