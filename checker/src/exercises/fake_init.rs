//! *fake-init*: a process that is PID 1 in a PID namespace of its own (pid_namespaces(7)).

use crate::exercise::{Check, Exercise, Facts, How, Mistake, Scene, Subject, Verdict};
use crate::facts::{Kind, Observation, Orphan, Process, Request, State, Terminate};
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
            needs: &["is-pid-one", "is-marked"],
            how: How::Probe(pid_view::ask, pid_view::judge),
        },
        Check {
            id: "reaps-orphans",
            claim: "an orphan in there does not stay a zombie",
            points: 2,
            // An orphan may stay behind, so only where the learner says that it is theirs.
            needs: &["is-pid-one", "is-marked"],
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
            id: "named-the-maker",
            check: "is-pid-one",
            recognise: named_the_maker,
            explain: "this process made the namespace and stayed outside. PID 1 in there is its \
                      child.",
            hint: "see its children with pstree -p, and check the one whose NSpid ends with 1",
        },
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
            explain: "another process was the first in this PID namespace: a shell, or the monitor \
                      of the tool you used. That one is the init in there.",
            hint: "read NSpid in /proc/PID/status and see whose ends with 1; a shell hands its PID \
                   on with exec, bwrap with --as-pid-1",
        },
        Mistake {
            id: "other-namespaces-only",
            check: "is-pid-one",
            recognise: other_namespaces_only,
            explain: "the process has namespaces of its own, but no PID namespace. Each kind is \
                      asked for by itself.",
            hint: "compare readlink /proc/PID/ns/pid with readlink /proc/self/ns/pid",
        },
        Mistake {
            id: "mark-set-later",
            check: "is-marked",
            recognise: mark_set_later,
            explain: "the kernel shows the environment that a program was started with. What a \
                      shell exports afterwards reaches only the programs that it starts.",
            hint: "set the variable before PID 1 starts, or let it start itself anew: \
                   exec env PODLAB=… sh …",
        },
        Mistake {
            id: "mark-stayed-outside",
            check: "is-marked",
            recognise: mark_stayed_outside,
            explain: "the program that started it carries the mark, PID 1 does not. sudo and \
                      container engines hand on an environment of their own.",
            hint: "hand the variable in: sudo PODLAB=… unshare …, docker run --env, bwrap --setenv",
        },
        Mistake {
            id: "host-proc-inside",
            check: "own-proc",
            recognise: pid_view::has_foreign_procfs,
            explain: "the outer /proc is still mounted inside. ps reads /proc, and a /proc belongs \
                      to the PID namespace it was mounted in.",
            hint: "give it a mount namespace too, and mount a new proc there",
        },
        Mistake {
            id: "no-proc-inside",
            check: "own-proc",
            recognise: pid_view::has_no_procfs,
            explain: "no procfs is mounted on /proc in there, so ps has nothing to read.",
            hint: "inside, mount one: mount -t proc proc /proc",
        },
        Mistake {
            id: "init-is-stopped",
            check: "reaps-orphans",
            recognise: is_stopped,
            explain: "PID 1 is stopped. It waits for no one until it goes on.",
            hint: "let it go on: kill -CONT PID, from outside",
        },
        Mistake {
            id: "orphans-stay",
            check: "reaps-orphans",
            recognise: |scene| matches!(orphan(scene), Some(seen) if !seen.reaped),
            explain: "an orphan falls to PID 1 of its namespace, and stays a zombie until PID 1 \
                      waits for it. This one does not wait for a child it never started.",
            hint: "take a program that calls wait(2) again and again: a shell that waits, tini, \
                   docker run --init",
        },
        Mistake {
            id: "deaf-to-term",
            check: "ends-on-term",
            recognise: |scene| scene.process().is_some_and(|process| !handles_term(process)),
            explain: "the kernel spares PID 1 the default action of a signal: without a handler, \
                      SIGTERM does nothing to it.",
            hint: "give it a handler for SIGTERM that ends it, and see SigCgt in /proc/PID/status \
                   change; in a shell: trap 'exit 0' TERM",
        },
        Mistake {
            id: "trap-waits-for-child",
            check: "ends-on-term",
            recognise: |scene| matches!(terminated(scene), Some(seen) if seen.child_stayed),
            explain: "it has a handler for SIGTERM, but a shell runs a trap only when the command \
                      in its foreground has ended, and that one is still there.",
            hint: "end the long command's line with & and then wait: that is where a trap runs \
                   at once",
        },
        Mistake {
            id: "handled-but-stays",
            check: "ends-on-term",
            recognise: |scene| terminated(scene).is_some(),
            explain: "it has a handler for SIGTERM, and the handler returns: the signal no longer \
                      does what it does by default, which is to end the process.",
            hint: "let the handler end the process: trap 'exit 0' TERM",
        },
    ],
    hints: &[
        "the first process in a new PID namespace is its PID 1, whatever program it is",
        "unshare(1) makes namespaces: read about --pid, --fork and --mount-proc in its manual",
        "PID 1 is given every orphan, and signals do to it only what its handlers do: a shell \
         waits for whatever child has ended, and trap sets a handler",
        "as root: PODLAB=… unshare --pid --fork --mount-proc sh -c 'trap \"exit 0\" TERM; \
         while :; do sleep 1 & wait; done'; not as root: add --user --map-root-user",
    ],
};

/// The value of the variable `PODLAB` by which this learner's process is known.
pub fn mark(params: &Params) -> String {
    params.name("mark")
}

fn task(params: &Params) -> String {
    format!(
        "Start a process that is PID 1 in a PID namespace of its own, below yours.\n\
         It was started with PODLAB={} in its environment, which marks it\n\
         as yours. In /proc it sees only what is in there with it. An orphan in there\n\
         does not stay a zombie. SIGTERM from outside ends it.\n\
         \n\
         Leave it running and check from another shell. SIGTERM is tried last, and\n\
         only when the rest holds: then your process is gone.",
        mark(params)
    )
}

/// What has to do with the mark. Where none of that is near, whatever began after `podlab start` and
/// is near: other people's containers are not the learner's work.
fn subjects(facts: &Facts) -> Vec<Subject> {
    let mut found = facts.theirs();
    if facts.pid.is_none() {
        let is_close = |process: &&Process| is_kin(facts, process) && is_near(facts, process);
        let only_kin = facts.start.is_none() || found.iter().any(is_close);
        found.retain(|process| {
            process.is_alive()
                && (is_kin(facts, process)
                    || !only_kin
                        && !process.mark.is_denied()
                        && has_to_do_with_pids(facts, process))
        });
    }
    found.sort_by_key(|process| {
        let is_init = process.inner_pid() == 1 && is_below(facts, process);
        std::cmp::Reverse((is_init, is_below(facts, process), is_near(facts, process)))
    });
    let lives = found.into_iter().map(|process| Subject::Process(process.id));
    lives.chain([Subject::Nothing]).collect()
}

/// Whether it carries the mark, descends from what does, or shares a namespace below with it.
fn is_kin(facts: &Facts, process: &Process) -> bool {
    let wanted = mark(facts.params);
    let is_marked = |process: &Process| process.mark.known() == Some(&wanted);
    let own = process.namespaces.pid.known().filter(|_| is_below(facts, process));
    let is_inside = |other: &Process| own.is_some() && other.namespaces.pid.known() == own;
    is_marked(process)
        || facts.snapshot.ancestors(process).any(is_marked)
        || facts.snapshot.processes.iter().any(|other| is_inside(other) && is_marked(other))
}

fn is_near(facts: &Facts, process: &Process) -> bool {
    has_to_do_with_pids(facts, process) || has_own(facts, process)
}

fn has_to_do_with_pids(facts: &Facts, process: &Process) -> bool {
    is_below(facts, process) || pid_view::has_unshared(process)
}

/// Whether it is in another namespace than the observer, of whatever kind.
fn has_own(facts: &Facts, process: &Process) -> bool {
    Kind::ALL.into_iter().any(|kind| facts.snapshot.differs(process, kind) == Some(true))
}

fn is_below(facts: &Facts, process: &Process) -> bool {
    pid_view::levels_below(facts, process) > 0
}

fn is_pid_one(scene: &Scene) -> Verdict {
    let expected = "the last number of its NSpid to be 1, below your namespace";
    let Some(process) = scene.process() else {
        let since = scene.facts.since_they_began();
        let saw = format!("no process with PODLAB={}{since}", mark(scene.params()));
        return Verdict::fails(saw, expected);
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

fn orphan<'a>(scene: &Scene<'a>) -> Option<&'a Orphan> {
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
        Verdict::holds(format!("{adopted}, which waited for it within {} ms", seen.waited_ms))
    } else {
        Verdict::fails(
            format!("{adopted}, and is still a zombie after {} ms", seen.waited_ms),
            "PID 1 to wait for it",
        )
    }
}

fn ask_terminate(scene: &Scene) -> Option<Request> {
    Some(Request::Terminate { process: scene.process()?.id })
}

fn terminated<'a>(scene: &Scene<'a>) -> Option<&'a Terminate> {
    match scene.seen(&ask_terminate(scene)?)? {
        Observation::Terminate(seen) => Some(seen),
        _ => None,
    }
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

fn handles_term(process: &Process) -> bool {
    process.signals.caught & (1 << (libc::SIGTERM - 1)) != 0
}

fn named_the_maker(scene: &Scene) -> bool {
    scene.process().is_some_and(|process| {
        pid_view::has_unshared(process) && pid_view::has_deeper_child(scene.facts, process)
    })
}

fn unshared_but_not_forked(scene: &Scene) -> bool {
    scene.process().is_some_and(pid_view::has_unshared)
}

fn second_in_line(scene: &Scene) -> bool {
    scene
        .process()
        .is_some_and(|process| is_below(scene.facts, process) && process.inner_pid() != 1)
}

fn other_namespaces_only(scene: &Scene) -> bool {
    scene
        .process()
        .is_some_and(|process| !is_below(scene.facts, process) && has_own(scene.facts, process))
}

/// A process that is in there with it carries the mark.
fn mark_set_later(scene: &Scene) -> bool {
    let Some(process) = scene.process() else { return false };
    let own = process.namespaces.pid.known();
    own.is_some() && others_with_mark(scene).any(|other| other.namespaces.pid.known() == own)
}

fn mark_stayed_outside(scene: &Scene) -> bool {
    others_with_mark(scene).next().is_some()
}

fn others_with_mark<'a>(scene: &Scene<'a>) -> impl Iterator<Item = &'a Process> {
    let wanted = mark(scene.params());
    let others = scene.snapshot().processes.iter();
    others.filter(move |other| other.mark.known() == Some(&wanted))
}

fn is_stopped(scene: &Scene) -> bool {
    scene.process().is_some_and(|process| process.state == State::Stopped)
}
