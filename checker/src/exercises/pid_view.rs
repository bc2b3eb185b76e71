//! What the exercises on PID namespaces ask alike: does the `/proc` that a process sees belong to
//! its own PID namespace?

use crate::exercise::{Scene, Verdict};
use crate::facts::{Observation, ProcView, Process, Request};

/// The experiment.
pub(super) fn ask(scene: &Scene) -> Option<Request> {
    Some(Request::ProcView { process: scene.process()?.id })
}

/// Holds where `/proc` shows the processes of the subject's own PID namespace and no other.
pub(super) fn judge(scene: &Scene, observation: &Observation) -> Verdict {
    let expected = "the /proc it sees to be of its own PID namespace";
    let (Observation::ProcView(view), Some(process)) = (observation, scene.process()) else {
        return Verdict::cannot_tell("the process is gone");
    };
    if !view.is_procfs {
        return Verdict::fails("no procfs on its /proc", expected);
    }
    if view.init_namespace.is_denied() || process.namespaces.pid.is_denied() {
        return Verdict::cannot_tell("the PID namespaces may not be read; ask as root");
    }
    let count = view.pids.len();
    if is_own(view, process) {
        return Verdict::holds(format!(
            "{count} {} in its /proc, {} in yours",
            if count == 1 { "process" } else { "processes" },
            view.observers_count
        ));
    }
    let whose = if is_observers(view) { "those you see" } else { "those of another namespace" };
    Verdict::fails(format!("{count} processes in its /proc, {whose}"), expected)
}

/// Whether process 1 of that `/proc` is in the PID namespace of `process`.
pub(super) fn is_own(view: &ProcView, process: &Process) -> bool {
    view.init_namespace.known().is_some_and(|id| Some(id) == process.namespaces.pid.known())
}

/// Whether it is the very procfs that the observer has on its `/proc`.
pub(super) fn is_observers(view: &ProcView) -> bool {
    view.device == view.observers_device
}

/// What was seen of the subject's `/proc`, if anything was.
pub(super) fn seen<'a>(scene: &Scene<'a>) -> Option<&'a ProcView> {
    match scene.seen(&ask(scene)?)? {
        Observation::ProcView(view) => Some(view),
        _ => None,
    }
}
