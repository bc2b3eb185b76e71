//! What the exercises on PID namespaces ask alike: how deep a process is, and whether the `/proc`
//! that it sees belongs to its own PID namespace.

use crate::exercise::{Facts, Scene, Verdict};
use crate::facts::{Observation, ProcView, Process, Request};

/// How many PID namespaces a process is below the observer's.
pub(super) fn levels_below(facts: &Facts, process: &Process) -> usize {
    process.ns_pid.len().saturating_sub(facts.snapshot.depth())
}

/// Whether its children are to be in another PID namespace than itself.
pub(super) fn has_unshared(process: &Process) -> bool {
    let namespaces = &process.namespaces;
    match (namespaces.pid.known(), namespaces.pid_for_children.known()) {
        (Some(own), Some(childrens)) => own != childrens,
        // Between unshare(2) and the first child the link leads nowhere.
        (Some(_), None) => process.is_alive() && !namespaces.pid_for_children.is_denied(),
        _ => false,
    }
}

/// Whether a child of it lives in a deeper PID namespace than itself.
pub(super) fn has_deeper_child(facts: &Facts, process: &Process) -> bool {
    let mut children = facts.snapshot.children(process.id.pid);
    children.any(|child| child.is_alive() && child.ns_pid.len() > process.ns_pid.len())
}

/// The experiment.
pub(super) fn ask(scene: &Scene) -> Option<Request> {
    Some(Request::ProcView { process: scene.process()?.id })
}

/// Holds where `/proc` shows the processes of the subject's own PID namespace and no other.
pub(super) fn judge(scene: &Scene, observation: &Observation) -> Verdict {
    let expected = "a procfs of its own PID namespace on its /proc";
    let (Observation::ProcView(view), Some(process)) = (observation, scene.process()) else {
        return Verdict::cannot_tell("the process is gone");
    };
    if !view.is_procfs {
        return Verdict::fails("no procfs on its /proc", expected);
    }
    let shown = count(view.pids.len());
    if is_own(view, process) {
        return Verdict::holds(format!("{shown} in its /proc, {} in yours", view.observers_count));
    }
    if is_observers(scene, view) {
        return Verdict::fails(format!("{shown} in its /proc, those that you see"), expected);
    }
    if view.namespace.is_denied() || process.namespaces.pid.is_denied() {
        return Verdict::cannot_tell("its PID namespace may not be read; ask as root");
    }
    Verdict::fails(format!("{shown} in its /proc, those of another namespace"), expected)
}

fn count(processes: usize) -> String {
    format!("{processes} {}", if processes == 1 { "process" } else { "processes" })
}

/// Whether that `/proc` belongs to the PID namespace of `process`.
pub(super) fn is_own(view: &ProcView, process: &Process) -> bool {
    view.namespace.known().is_some_and(|id| Some(id) == process.namespaces.pid.known())
}

/// Whether it belongs to the observer's PID namespace; often it is the very same mount.
pub(super) fn is_observers(scene: &Scene, view: &ProcView) -> bool {
    let observer = scene.snapshot().observer();
    view.device.known() == Some(&view.observers_device)
        || observer.is_some_and(|observer| is_own(view, observer))
}

/// What was seen of the subject's `/proc`, if anything was.
pub(super) fn seen<'a>(scene: &Scene<'a>) -> Option<&'a ProcView> {
    match scene.seen(&ask(scene)?)? {
        Observation::ProcView(view) => Some(view),
        _ => None,
    }
}

/// The mistake that there is nothing to read at all.
pub(super) fn has_no_procfs(scene: &Scene) -> bool {
    seen(scene).is_some_and(|view| !view.is_procfs)
}

/// The mistake that there is a procfs, but not of its own namespace.
pub(super) fn has_foreign_procfs(scene: &Scene) -> bool {
    let own = |view| scene.process().is_some_and(|process| is_own(view, process));
    seen(scene).is_some_and(|view| view.is_procfs && !own(view))
}
