//! *three-deep*: a process in a PID namespace in a PID namespace in a PID namespace
//! (pid_namespaces(7)).

use std::collections::BTreeSet;

use crate::exercise::{Check, Exercise, Facts, How, Mistake, Scene, Subject, Verdict};
use crate::facts::{Kind, NamespaceId, Process};
use crate::params::Params;

use super::pid_view;

/// How many levels below the observer's.
const DEEP: usize = 3;

/// The exercise.
pub(super) const EXERCISE: Exercise = Exercise {
    id: "three-deep",
    chapter: "fake-init",
    title: "Nested three deep",
    task,
    target: None,
    reads_cgroups: false,
    subjects,
    checks: &[
        Check {
            id: "nested",
            claim: "it is in a PID namespace three levels below yours",
            points: 3,
            needs: &[],
            how: How::Facts(is_nested),
        },
        Check {
            id: "inner-pid",
            claim: "it has your number in there",
            points: 2,
            needs: &["nested"],
            how: How::Facts(has_number),
        },
        Check {
            id: "own-proc",
            claim: "what it sees in /proc is only what is inside",
            points: 2,
            needs: &["nested"],
            how: How::Probe(pid_view::ask, pid_view::judge),
        },
    ],
    mistakes: &[
        Mistake {
            id: "not-forked-last",
            check: "nested",
            recognise: not_forked_last,
            explain: "it has unshared the third level but is not in it: only a child that it still \
                      has to have will be. A process never changes its own PID namespace.",
            hint: "fork after each unshare, after the last one too: unshare(1) does so with --fork",
        },
        Mistake {
            id: "too-deep",
            check: "nested",
            recognise: |scene| below(scene) > Some(DEEP),
            explain: "there are more levels than three. An engine or a monitor may have added one \
                      of its own.",
            hint: "NSpid in /proc/PID/status has one number for each level, yours first",
        },
        Mistake {
            id: "two-deep",
            check: "nested",
            recognise: two_deep,
            explain: "it is two levels below yours. The first number of NSpid is the one in your \
                      own namespace, which does not count: three levels below make four numbers.",
            hint: "nest once more",
        },
        Mistake {
            id: "side-by-side",
            check: "nested",
            recognise: side_by_side,
            explain: "there are three namespaces, but beside each other: each was made from yours, \
                      and none sees into another.",
            hint: "make the second from within the first, and the third from within the second",
        },
        Mistake {
            id: "only-user-namespaces-nested",
            check: "nested",
            recognise: only_users_nested,
            explain: "the user namespaces are nested, the PID namespaces are not. Each kind is \
                      asked for by itself, at every level.",
            hint: "ask for a PID namespace each time: readlink /proc/PID/ns/pid tells them apart",
        },
        Mistake {
            id: "a-few-off",
            check: "inner-pid",
            recognise: a_few_off,
            explain: "a PID namespace gives out its numbers one after the other. Every process that \
                      is born in it takes one, those that a shell starts on the way included.",
            hint: "let as many more be born before it as are missing, or fewer if it is too far",
        },
        Mistake {
            id: "number-of-another-level",
            check: "inner-pid",
            recognise: number_of_another_level,
            explain: "your number is among its PIDs, but at another level. It is known by one PID \
                      at each level, and NSpid lists them from yours inwards.",
            hint: "the last number of NSpid is the one that counts: what getpid(2) says in there",
        },
        Mistake {
            id: "outer-proc-inside",
            check: "own-proc",
            recognise: pid_view::has_foreign_procfs,
            explain: "the /proc that it sees was mounted at a level above, and shows what is there.",
            hint: "mount a new proc at the innermost level, in a mount namespace of its own: \
                   unshare(1) does both with --mount-proc",
        },
        Mistake {
            id: "no-proc-inside",
            check: "own-proc",
            recognise: pid_view::has_no_procfs,
            explain: "no procfs is mounted on /proc in there, so ps has nothing to read.",
            hint: "inside, mount one: mount -t proc proc /proc",
        },
    ],
    hints: &[
        "whoever is PID 1 of a namespace can make the next one from in there",
        "a namespace gives its PIDs out in order: 1, then 2, and so on, none of them twice",
        "a shell that starts one process after another and ends each again comes to any number; \
         $! is the PID of the last one",
        "as root: unshare --pid --fork unshare --pid --fork unshare --pid --fork --mount-proc sh, \
         then in there: until sleep 1000 & [ $! = … ]; do kill $!; done; \
         not as root: unshare --user --map-root-user before all that",
    ],
};

fn number(params: &Params) -> i32 {
    params.number("pid", 5, 30) as i32
}

fn task(params: &Params) -> String {
    format!(
        "Start a process in a PID namespace that is three levels below yours: each of\n\
         the three was made from within the one above. In the innermost its PID is {},\n\
         and in /proc it sees only what is in there with it.\n\
         \n\
         Leave it running and check from another shell.",
        number(params)
    )
}

/// The processes at the right depth first, and of those the one with the number.
fn subjects(facts: &Facts) -> Vec<Subject> {
    let wanted = number(facts.params);
    let mut found = facts.theirs();
    if facts.pid.is_none() {
        found.retain(|process| process.is_alive() && comes_near(facts, process));
    }
    found.sort_by_key(|process| {
        let levels = pid_view::levels_below(facts, process);
        let is_inside = levels > 0 && process.inner_pid() == wanted;
        std::cmp::Reverse((levels == DEEP, is_inside, levels, pid_view::has_unshared(process)))
    });
    let lives = found.into_iter().map(|process| Subject::Process(process.id));
    lives.chain([Subject::Nothing]).collect()
}

/// One level alone is what containers of other people have, too: that is near only where we know
/// that it began after `podlab start`.
fn comes_near(facts: &Facts, process: &Process) -> bool {
    let least = if facts.start.is_some() { 1 } else { 2 };
    let made = usize::from(pid_view::has_unshared(process));
    pid_view::levels_below(facts, process) + made >= least || user_levels_below(facts, process) > 1
}

fn below(scene: &Scene) -> Option<usize> {
    Some(pid_view::levels_below(scene.facts, scene.process()?))
}

fn is_nested(scene: &Scene) -> Verdict {
    let expected = "three more numbers in its NSpid than in your own";
    let Some(process) = scene.process() else {
        let since = scene.facts.since_they_began();
        let saw = format!("no process in nested PID namespaces{since}");
        return Verdict::fails(saw, expected);
    };
    let levels = pid_view::levels_below(scene.facts, process);
    let saw = format!("{process}: NSpid {}, {levels} below yours", process.ns_pid_text());
    if !process.is_alive() {
        return Verdict::fails(format!("{saw}, and it has ended"), expected);
    }
    if levels == DEEP { Verdict::holds(saw) } else { Verdict::fails(saw, expected) }
}

fn has_number(scene: &Scene) -> Verdict {
    let wanted = number(scene.params());
    let Some(process) = scene.process() else {
        return Verdict::cannot_tell("the process is gone");
    };
    let saw = format!("NSpid {}", process.ns_pid_text());
    if process.inner_pid() == wanted {
        return Verdict::holds(saw);
    }
    Verdict::fails(saw, format!("the last number to be {wanted}"))
}

fn not_forked_last(scene: &Scene) -> bool {
    scene.process().is_some_and(|process| {
        below(scene) == Some(DEEP - 1)
            && pid_view::has_unshared(process)
            && !pid_view::has_deeper_child(scene.facts, process)
    })
}

fn two_deep(scene: &Scene) -> bool {
    below(scene) == Some(DEEP - 1)
        && scene.process().is_some_and(|process| !pid_view::has_unshared(process))
}

/// Three namespaces one level below yours, and one program from which the processes in them stem.
fn side_by_side(scene: &Scene) -> bool {
    let Some(process) = scene.process().filter(|_| below(scene) == Some(1)) else { return false };
    let snapshot = scene.snapshot();
    snapshot.ancestors(process).take_while(|ancestor| ancestor.id.pid != 1).any(|ancestor| {
        let stems = |other: &&Process| snapshot.ancestors(other).any(|of| of.id == ancestor.id);
        let level = |other: &&Process| pid_view::levels_below(scene.facts, other) == 1;
        let beside = snapshot.processes.iter().filter(level).filter(stems);
        let apart: BTreeSet<&NamespaceId> =
            beside.filter_map(|other| other.namespaces.pid.known()).collect();
        apart.len() >= DEEP
    })
}

fn only_users_nested(scene: &Scene) -> bool {
    scene.process().is_some_and(|process| {
        below(scene) <= Some(1) && user_levels_below(scene.facts, process) >= DEEP
    })
}

/// How many user namespaces a process is below the observer's; 0 where that cannot be told.
fn user_levels_below(facts: &Facts, process: &Process) -> usize {
    let snapshot = facts.snapshot;
    let parent = |id: &NamespaceId| snapshot.namespace(*id)?.parent.known().copied();
    let observers = snapshot.observer().and_then(|observer| observer.namespaces.user.known());
    let own = process.namespaces.get(Kind::User).known().copied();
    // The kernel nests 32 deep; a forged document may go round in a circle.
    let mut chain = std::iter::successors(own, parent).take(64);
    chain.position(|id| Some(&id) == observers).unwrap_or(0)
}

fn a_few_off(scene: &Scene) -> bool {
    let wanted = number(scene.params());
    scene.process().is_some_and(|process| process.inner_pid().abs_diff(wanted) <= 2)
}

fn number_of_another_level(scene: &Scene) -> bool {
    let wanted = number(scene.params());
    scene
        .process()
        .is_some_and(|process| process.ns_pid.iter().rev().skip(1).any(|number| *number == wanted))
}
