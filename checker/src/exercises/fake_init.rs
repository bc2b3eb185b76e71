//! *fake-init*: a process that is PID 1 in a PID namespace of its own (pid_namespaces(7)).

use crate::exercise::{Check, Exercise, Facts, How, Mistake, Scene, Subject, Verdict};
use crate::facts::{Kind, Observation, Process, Request};
use crate::params::Params;

use super::pid_view;

/// The exercise.
pub(super) const EXERCISE: Exercise = Exercise {
    id: "fake-init",
    chapter: "fake-init",
    title: "Be PID 1",
    task,
    target: None,
    reads_cgroups: false,
    subjects,
    checks: &[
        Check {
            id: "is-pid-one",
            claim: "it is PID 1 of a PID namespace below yours",
            points: 2,
            needs: &[],
            how: How::Facts(is_pid_one),
        },
        Check {
            id: "is-marked",
            claim: "its environment carries your mark",
            points: 1,
            needs: &["is-pid-one"],
            how: How::Facts(is_marked),
        },
        Check {
            id: "own-proc",
            claim: "what it sees in /proc is only what is inside",
            points: 2,
            needs: &["is-pid-one"],
            how: How::Probe(pid_view::ask, pid_view::judge),
        },
        Check {
            id: "reaps-orphans",
            claim: "an orphan in there does not stay a zombie",
            points: 2,
            needs: &["is-pid-one"],
            how: How::Probe(ask_orphan, is_reaped),
        },
        Check {
            id: "ends-on-term",
            claim: "it ends on SIGTERM from outside",
            points: 1,
            needs: &["is-pid-one", "is-marked", "own-proc", "reaps-orphans"],
            how: How::Probe(ask_terminate, ends),
        },
    ],
    mistakes: &[
        Mistake {
            id: "unshared-but-not-forked",
            check: "is-pid-one",
            recognise: unshared_but_not_forked,
            explain: "a process never changes its own PID namespace. unshare(CLONE_NEWPID) moves \
                      only the children still to come, and the first of them is PID 1.",
            hint: "let the process fork after unsharing: unshare(1) does so with --fork",
        },
        Mistake {
            id: "second-in-line",
            check: "is-pid-one",
            recognise: second_in_line,
            explain: "another process was the first in this PID namespace, a shell or a monitor \
                      of the tool you used. It is the init in there, not yours.",
            hint: "read NSpid in /proc/PID/status, and see who has 1 as its last number",
        },
        Mistake {
            id: "other-namespaces-only",
            check: "is-pid-one",
            recognise: other_namespaces_only,
            explain: "the process has namespaces of its own, but not a PID namespace. Each kind \
                      is asked for by itself.",
            hint: "compare readlink /proc/PID/ns/pid with readlink /proc/self/ns/pid",
        },
        Mistake {
            id: "mark-stayed-outside",
            check: "is-marked",
            recognise: mark_stayed_outside,
            explain: "the program that started it carries the mark, PID 1 does not. An engine \
                      gives its container an environment of its own.",
            hint: "hand the variable in: docker run --env, bwrap --setenv",
        },
        Mistake {
            id: "host-proc-inside",
            check: "own-proc",
            recognise: host_proc_inside,
            explain: "the outer /proc is still mounted inside. ps reads /proc, and a /proc belongs \
                      to the PID namespace it was mounted in.",
            hint: "give it a mount namespace too, and mount a new proc there",
        },
        Mistake {
            id: "no-proc-inside",
            check: "own-proc",
            recognise: no_proc_inside,
            explain: "nothing is mounted on /proc in there, so ps has nothing to read.",
            hint: "mount -t proc proc /proc, inside",
        },
        Mistake {
            id: "orphans-stay",
            check: "reaps-orphans",
            recognise: |scene| matches!(orphan(scene), Some(seen) if !seen.reaped),
            explain: "an orphan is adopted by PID 1 of its namespace, and stays a zombie until \
                      PID 1 waits for it. This one never waits for a child it did not start.",
            hint: "use an init that calls wait(2) in a loop, such as a shell, tini or docker's --init",
        },
        Mistake {
            id: "deaf-to-term",
            check: "ends-on-term",
            recognise: deaf_to_term,
            explain: "the kernel spares PID 1 the default action of a signal: without a handler, \
                      SIGTERM does nothing to it.",
            hint: "give it a handler for SIGTERM that ends it; grep SigCgt /proc/PID/status shows it",
        },
        Mistake {
            id: "trap-waits-for-child",
            check: "ends-on-term",
            recognise: trap_waits_for_child,
            explain: "it has a handler for SIGTERM, but a shell runs a trap only when the command \
                      in its foreground has ended.",
            hint: "run the long command in the background and wait for it: cmd & wait",
        },
    ],
    hints: &[
        "the first process in a new PID namespace is its PID 1, whatever program it is",
        "unshare(1) makes namespaces: read its --pid, --fork and --mount-proc in the manual",
        "a shell waits for children it did not start, and trap sets a handler",
        "something like: PODLAB=… unshare --pid --fork --mount-proc sh -c 'trap \"exit 0\" TERM; \
         while :; do sleep 1 & wait; done'",
    ],
};

/// The value of the variable `PODLAB` by which this learner's process is known.
pub fn mark(params: &Params) -> String {
    params.name("mark")
}

fn task(params: &Params) -> String {
    format!(
        "Start a process that is PID 1 in a PID namespace of its own, below yours.\n\
         Its environment has PODLAB={}, so that it is known for yours.\n\
         In /proc it sees only what is in there with it.\n\
         An orphan in there does not stay a zombie, and SIGTERM from outside ends it.",
        mark(params)
    )
}

/// PID 1s first, those with the mark before others; then whatever differs from the observer.
fn subjects(facts: &Facts) -> Vec<Subject> {
    let wanted = mark(facts.params);
    let mut found: Vec<&Process> = facts.theirs();
    found.retain(|process| facts.pid.is_some() || is_near(facts, process));
    found.sort_by_key(|process| {
        let is_init = process.inner_pid() == 1 && is_below(facts, process);
        let is_marked = process.mark.known() == Some(&wanted);
        std::cmp::Reverse((is_init && is_marked, is_init, is_marked, process.ns_pid.len()))
    });
    let lives = found.into_iter().map(|process| Subject::Process(process.id));
    lives.chain([Subject::Nothing]).collect()
}

fn is_below(facts: &Facts, process: &Process) -> bool {
    process.ns_pid.len() > facts.snapshot.depth()
}

fn is_near(facts: &Facts, process: &Process) -> bool {
    let differs = |kind| facts.snapshot.differs(process, kind) == Some(true);
    process.is_alive()
        && (is_below(facts, process)
            || has_unshared(process)
            || Kind::ALL.into_iter().any(differs)
            || process.mark.known() == Some(&mark(facts.params)))
}

fn is_pid_one(scene: &Scene) -> Verdict {
    let expected = "the last number of its NSpid to be 1, below your namespace";
    let Some(process) = scene.process() else {
        return Verdict::fails("no process in a PID namespace below yours", expected);
    };
    let saw = format!("{process}: NSpid {}", process.ns_pid_text());
    if !process.is_alive() {
        return Verdict::fails(format!("{saw}, and it has ended"), expected);
    }
    if is_below(scene.facts, process) && process.inner_pid() == 1 {
        return Verdict::holds(saw);
    }
    Verdict::fails(saw, expected)
}

fn is_marked(scene: &Scene) -> Verdict {
    let wanted = mark(scene.params());
    let expected = format!("PODLAB={wanted} in its environment");
    let Some(process) = scene.process() else { return Verdict::fails("no process", expected) };
    match process.mark.known() {
        _ if process.mark.is_denied() => {
            Verdict::cannot_tell("its environment may not be read; ask as root or as its user")
        }
        Some(mark) if *mark == wanted => Verdict::holds(format!("PODLAB={mark}")),
        Some(mark) => Verdict::fails(format!("PODLAB={mark}"), expected),
        None => Verdict::fails("no PODLAB in its environment", expected),
    }
}

fn ask_orphan(scene: &Scene) -> Option<Request> {
    Some(Request::Orphan { init: scene.process()?.id })
}

fn orphan<'a>(scene: &Scene<'a>) -> Option<&'a crate::facts::Orphan> {
    match scene.seen(&ask_orphan(scene)?)? {
        Observation::Orphan(seen) => Some(seen),
        _ => None,
    }
}

fn is_reaped(_scene: &Scene, observation: &Observation) -> Verdict {
    let Observation::Orphan(seen) = observation else {
        return Verdict::cannot_tell("no orphan was made");
    };
    let adopted = format!("an orphan was adopted by process {} in there", seen.adopted_by);
    if seen.reaped {
        Verdict::holds(format!("{adopted} and waited for within {} ms", seen.waited_ms))
    } else {
        Verdict::fails(
            format!("{adopted} and is still a zombie after {} ms", seen.waited_ms),
            "PID 1 to wait for it",
        )
    }
}

fn ask_terminate(scene: &Scene) -> Option<Request> {
    Some(Request::Terminate { process: scene.process()?.id })
}

fn ends(_scene: &Scene, observation: &Observation) -> Verdict {
    match observation {
        Observation::Terminate(seen) if seen.ended => {
            Verdict::holds(format!("it ended {} ms after SIGTERM", seen.waited_ms))
        }
        Observation::Terminate(seen) => Verdict::fails(
            format!("it was still there {} ms after SIGTERM", seen.waited_ms),
            "it to end",
        ),
        _ => Verdict::cannot_tell("no signal was sent"),
    }
}

/// Its children would be in another PID namespace than itself.
fn has_unshared(process: &Process) -> bool {
    let namespaces = &process.namespaces;
    match (namespaces.pid.known(), namespaces.pid_for_children.known()) {
        (Some(own), Some(childrens)) => own != childrens,
        // Between unshare(2) and the first child the link leads nowhere.
        (Some(_), None) => process.is_alive() && !namespaces.pid_for_children.is_denied(),
        _ => false,
    }
}

fn unshared_but_not_forked(scene: &Scene) -> bool {
    scene.process().is_some_and(has_unshared)
}

fn second_in_line(scene: &Scene) -> bool {
    scene
        .process()
        .is_some_and(|process| is_below(scene.facts, process) && process.inner_pid() != 1)
}

fn other_namespaces_only(scene: &Scene) -> bool {
    scene.process().is_some_and(|process| {
        let differs = |kind| scene.snapshot().differs(process, kind) == Some(true);
        !differs(Kind::Pid) && Kind::ALL.into_iter().any(differs)
    })
}

fn mark_stayed_outside(scene: &Scene) -> bool {
    let wanted = mark(scene.params());
    scene.process().is_some_and(|process| {
        process.mark.known().is_none()
            && scene.facts.theirs().iter().any(|other| other.mark.known() == Some(&wanted))
    })
}

fn host_proc_inside(scene: &Scene) -> bool {
    pid_view::seen(scene).is_some_and(|view| view.is_procfs && pid_view::is_observers(view))
}

fn no_proc_inside(scene: &Scene) -> bool {
    pid_view::seen(scene).is_some_and(|view| !view.is_procfs)
}

const SIGTERM_BIT: u64 = 1 << (libc::SIGTERM - 1);

fn deaf_to_term(scene: &Scene) -> bool {
    scene.process().is_some_and(|process| process.signals.caught & SIGTERM_BIT == 0)
}

fn trap_waits_for_child(scene: &Scene) -> bool {
    let asked = ask_terminate(scene).and_then(|request| scene.seen(&request));
    matches!(asked, Some(Observation::Terminate(seen)) if seen.had_children)
        && scene.process().is_some_and(|process| process.signals.caught & SIGTERM_BIT != 0)
}
