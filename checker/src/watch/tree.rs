//! The learner's processes as a tree, with what differs from the observer's namespaces.

use crate::exercise::Facts;
use crate::facts::{Kind, Process, Snapshot};
use crate::report::printable;

/// One line of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Branch {
    /// Indentation, name and PIDs.
    pub(super) name: String,
    /// The kinds of namespaces in which it differs from the observer.
    pub(super) differs: Vec<Kind>,
    /// Whether it is what the checks are about.
    pub(super) is_subject: bool,
}

/// The learner's processes, children below their parents.
pub(super) fn branches(facts: &Facts, subjects: &[i32]) -> Vec<Branch> {
    let theirs = facts.theirs();
    let is_theirs = |pid: i32| theirs.iter().any(|process| process.id.pid == pid);
    let mut roots: Vec<&Process> =
        theirs.iter().copied().filter(|process| !is_theirs(process.parent)).collect();
    // Whatever else was started on this machine comes last.
    let is_plain = |process: &&Process| !is_remarkable(facts, process, subjects);
    roots.sort_by_key(|process| (is_plain(process), process.id));
    let mut lines = Vec::new();
    for root in roots {
        add(facts, root, 0, subjects, &mut lines);
    }
    lines
}

/// Whether it, or a process below it, is judged or has a namespace that is not the observer's.
fn is_remarkable(facts: &Facts, process: &Process, subjects: &[i32]) -> bool {
    let counts = |process: &Process| {
        subjects.contains(&process.id.pid) || !differences(facts.snapshot, process).is_empty()
    };
    counts(process)
        || facts.theirs().into_iter().any(|other| {
            counts(other) && facts.snapshot.ancestors(other).any(|above| above.id == process.id)
        })
}

fn add(facts: &Facts, process: &Process, depth: usize, subjects: &[i32], lines: &mut Vec<Branch>) {
    // A recorded snapshot may have been forged into a circle.
    if depth > 64 || lines.len() > 256 {
        return;
    }
    lines.push(Branch {
        name: format!("{}{}", "  ".repeat(depth), name(process)),
        differs: differences(facts.snapshot, process),
        is_subject: subjects.contains(&process.id.pid),
    });
    for child in facts.snapshot.children(process.id.pid).filter(|c| facts.may_be_theirs(c)) {
        add(facts, child, depth + 1, subjects, lines);
    }
}

/// `bash 26097`, and where it has another PID inside, `bash 26097 → 1`.
fn name(process: &Process) -> String {
    let comm = printable(&process.comm);
    let ended = if process.is_alive() { "" } else { " (zombie)" };
    match process.ns_pid.as_slice() {
        [_, .., inner] => format!("{comm} {} → {inner}{ended}", process.id.pid),
        _ => format!("{comm} {}{ended}", process.id.pid),
    }
}

fn differences(snapshot: &Snapshot, process: &Process) -> Vec<Kind> {
    let differs = |kind: &Kind| snapshot.differs(process, *kind) == Some(true);
    Kind::ALL.into_iter().filter(differs).collect()
}
