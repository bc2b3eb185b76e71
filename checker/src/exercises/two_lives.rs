//! *two-lives*: two processes of one program. A program is a file, a process is a life (execve(2),
//! proc_pid_exe(5), proc_pid_cwd(5)).

use std::cmp::Reverse;

use crate::exercise::{Check, Exercise, Facts, How, Mistake, Scene, Subject, Verdict};
use crate::facts::{Exe, Kind, Observation, Process, Request, Snapshot};
use crate::params::Params;

/// The exercise.
pub(super) const EXERCISE: Exercise = Exercise {
    id: "two-lives",
    chapter: "program-and-process",
    title: "One program, two lives",
    task,
    target: None,
    reads_cgroups: false,
    subjects,
    checks: &[
        Check {
            id: "two-homes",
            claim: "two live processes, one in each directory",
            points: 2,
            needs: &[],
            how: How::Facts(has_two_homes),
        },
        Check {
            id: "one-program",
            claim: "both run one program: the same file",
            points: 2,
            needs: &["two-homes"],
            how: How::Facts(is_one_program),
        },
        Check {
            id: "own-memory",
            claim: "each has a memory of its own",
            points: 1,
            needs: &["two-homes"],
            how: How::Probe(ask_memory, has_own_memory),
        },
    ],
    mistakes: &[
        Mistake {
            id: "directory-removed",
            check: "two-homes",
            recognise: directory_removed,
            explain: "a process stands in a directory of that name that has been removed. It keeps \
                      the directory itself, which has no name any more. A new directory of the \
                      same name is another directory.",
            hint: "readlink /proc/PID/cwd ends in (deleted); leave the directory where it is",
        },
        Mistake {
            id: "both-in-one-place",
            check: "two-homes",
            recognise: both_in_one_place,
            explain: "two processes of one program are there, but both in the same directory. The \
                      working directory belongs to the process, and a child begins with that of \
                      its parent.",
            hint: "change the directory before each start, or let each process change its own",
        },
        Mistake {
            id: "already-over",
            check: "two-homes",
            recognise: already_over,
            explain: "one of the two has ended and its parent has not waited for it yet: a zombie. \
                      It still has a PID, but no program, no memory and no working directory.",
            hint: "ps shows Z as its state; start a program that goes on for a while",
        },
        Mistake {
            id: "one-life-only",
            check: "two-homes",
            recognise: one_life_only,
            explain: "a process stands in one of the two directories, none in the other. Making \
                      a directory, or naming it to a program, puts no process into it.",
            hint: "readlink /proc/PID/cwd says where a process is: look at both",
        },
        Mistake {
            id: "two-containers",
            check: "one-program",
            recognise: two_containers,
            explain: "each runs in a container with an overlay file system of its own. The path \
                      and the inode number are equal, the device is not: to the kernel these are \
                      two files, and each container could change its own.",
            hint: "start the second process in the container of the first: docker exec",
        },
        Mistake {
            id: "copied-program",
            check: "one-program",
            recognise: copied_program,
            explain: "the two program files have the same name, but they are two files. A copy has \
                      an inode of its own, so it is another program, whatever its content. A link \
                      would be the same file.",
            hint: "compare: stat --dereference --format '%d %i' /proc/PID/exe",
        },
        Mistake {
            id: "two-programs",
            check: "one-program",
            recognise: |scene| pair(scene).is_some(),
            explain: "the two run different files, so they are two programs. What the processes do \
                      and what the files hold does not count.",
            hint: "compare: stat --dereference --format '%n %d %i' /proc/PID/exe",
        },
        Mistake {
            id: "shared-memory",
            check: "own-memory",
            recognise: |scene| {
                matches!(memory(scene), Some(Observation::SameMemory { shared: true }))
            },
            explain: "the two have one memory: what one writes, the other reads. The child of \
                      vfork(2), or of clone(2) with CLONE_VM, borrows its parent's memory until \
                      it calls execve(2).",
            hint: "use fork(2), or let the child execute the program",
        },
    ],
    hints: &[
        "the same command, started twice, is one program with two lives",
        "every process has a working directory of its own: in a shell, cd changes the shell's, and \
         what is started from it begins there",
        "a command can go on in the background: end it with &, and the shell is free for the next; \
         readlink /proc/$!/cwd then says where it is",
        "something like: (cd DIRECTORY && exec sleep 600) & twice, with the two directories",
    ],
};

/// The names of the two directories.
fn places(params: &Params) -> [String; 2] {
    let first = params.name("a");
    // One learner in many thousands draws the same name twice.
    let second = ["b", "c"].map(|label| params.name(label)).into_iter().find(|name| *name != first);
    [first.clone(), second.unwrap_or_else(|| format!("{first}-b"))]
}

fn task(params: &Params) -> String {
    let [a, b] = places(params);
    format!(
        "Have two processes alive at once that run one program: the same file,\n\
         under whatever name. The working directory of one is a directory named\n\
         {a}, that of the other a directory named {b}. Where these two\n\
         directories are does not matter. Each process has its own memory."
    )
}

fn subjects(facts: &Facts) -> Vec<Subject> {
    let [a, b] = places(facts.params);
    let lives = lives(facts);
    let is_named = |process: &Process| facts.pid.is_none_or(|pid| process.id.pid == pid);
    let in_place = |name: &str| -> Vec<&Process> {
        lives.iter().copied().filter(|process| stands_in(process, name)).collect()
    };
    let (in_a, in_b) = (in_place(&a), in_place(&b));
    let mut pairs: Vec<(&Process, &Process)> = in_a
        .iter()
        .flat_map(|one| in_b.iter().map(move |other| (*one, *other)))
        .filter(|(one, other)| is_named(one) || is_named(other))
        .collect();
    pairs.sort_by_key(|pair| Reverse(rank(facts, pair)));
    let pairs = pairs.into_iter().map(|(one, other)| Subject::Pair(one.id, other.id));
    let mut alone: Vec<&Process> = in_a.iter().chain(&in_b).copied().collect();
    alone.extend(lives.iter().filter(|process| stood_in_either(process, &[&a, &b])));
    alone.extend(facts.pid.and_then(|pid| facts.snapshot.process(pid)));
    let alone = alone.into_iter().filter(|process| is_named(process));
    pairs
        .chain(alone.map(|process| Subject::Process(process.id)))
        .chain([Subject::Nothing])
        .collect()
}

/// How many processes of each place are combined.
const MOST: usize = 64;

/// The lives that may be one of the two, the latest first, those that only led to podlab last. A
/// learner who names one process does not name the other.
fn lives<'a>(facts: &Facts<'a>) -> Vec<&'a Process> {
    let anyone = Facts { pid: None, ..*facts };
    let [a, b] = places(facts.params);
    let mut found: Vec<&Process> = facts
        .snapshot
        .processes
        .iter()
        .filter(|process| anyone.may_be_theirs(process) && process.is_alive())
        .filter(|process| {
            [&a, &b].into_iter().any(|name| stands_in(process, name))
                || stood_in_either(process, &[&a, &b])
        })
        .collect();
    found.sort_by_key(|process| (led_here(facts.snapshot, process), Reverse(process.id.start)));
    found.truncate(2 * MOST);
    found
}

/// One program before two; the learner's work before the shells it was done from; late before early.
fn rank(facts: &Facts, (one, other): &(&Process, &Process)) -> (bool, bool, u64) {
    let is_work = ![one, other].iter().any(|process| led_here(facts.snapshot, process));
    (is_same_file(one, other), is_work, one.id.start.min(other.id.start))
}

fn led_here(snapshot: &Snapshot, process: &Process) -> bool {
    snapshot
        .observer()
        .is_some_and(|observer| snapshot.ancestors(observer).any(|led| led.id == process.id))
}

/// What the kernel appends to the path of a directory that was removed.
const REMOVED: &str = " (deleted)";

fn place(process: &Process) -> Option<&str> {
    process.cwd.known()?.rsplit('/').next()
}

fn stands_in(process: &Process, name: &str) -> bool {
    process.is_alive() && place(process) == Some(name)
}

fn stood_in(process: &Process, name: &str) -> bool {
    process.is_alive() && place(process).and_then(|place| place.strip_suffix(REMOVED)) == Some(name)
}

fn stood_in_either(process: &Process, names: &[&String; 2]) -> bool {
    names.iter().any(|name| stood_in(process, name))
}

fn is_same_file(one: &Process, other: &Process) -> bool {
    match (one.exe.known(), other.exe.known()) {
        (Some(one), Some(other)) => (one.dev, one.ino) == (other.dev, other.ino),
        _ => false,
    }
}

fn pair<'a>(scene: &Scene<'a>) -> Option<(&'a Process, &'a Process)> {
    Some((scene.process()?, scene.other()?))
}

fn has_two_homes(scene: &Scene) -> Verdict {
    let [a, b] = places(scene.params());
    let expected = format!("one in a directory named {a}, another in one named {b}");
    if let Some((one, other)) = pair(scene) {
        return Verdict::holds(format!("{one} in {a}, {other} in {b}"));
    }
    match scene.process() {
        Some(process) if process.cwd.is_denied() => Verdict::cannot_tell(format!(
            "the working directory of {process} may not be read; ask as root or as its user"
        )),
        Some(process) if !process.is_alive() => {
            Verdict::fails(format!("{process} has ended"), expected)
        }
        Some(process) => {
            let place = process.cwd.known().map_or("no directory", String::as_str);
            let saw = format!("{process} in {place}, no second one{}", unseen(scene));
            Verdict::fails(saw, expected)
        }
        None => {
            let since = scene.facts.since_they_began();
            Verdict::fails(format!("no process in either{since}{}", unseen(scene)), expected)
        }
    }
}

/// An ordinary user does not see where the processes of others are.
fn unseen(scene: &Scene) -> String {
    let is_root = scene.snapshot().observer().is_some_and(|observer| observer.user() == 0);
    match scene.facts.theirs().iter().filter(|process| process.cwd.is_denied()).count() {
        0 => String::new(),
        _ if is_root => String::new(),
        count => format!("; {count} more that only root could look at"),
    }
}

fn is_one_program(scene: &Scene) -> Verdict {
    let Some((one, other)) = pair(scene) else { return Verdict::cannot_tell("there are no two") };
    let (Some(file), Some(others)) = (one.exe.known(), other.exe.known()) else {
        return Verdict::cannot_tell("their program files may not be read; ask as root");
    };
    if is_same_file(one, other) {
        return Verdict::holds(format!("{} behind both", file_text(file)));
    }
    let saw = format!("{one} runs {}, {other} runs {}", file_text(file), file_text(others));
    Verdict::fails(saw, "the same device and inode behind /proc/PID/exe of both")
}

fn file_text(exe: &Exe) -> String {
    let (major, minor) = (libc::major(exe.dev), libc::minor(exe.dev));
    format!("{} (device {major}:{minor}, inode {})", exe.path, exe.ino)
}

fn ask_memory(scene: &Scene) -> Option<Request> {
    let (one, other) = pair(scene)?;
    Some(Request::SameMemory { one: one.id, other: other.id })
}

fn memory<'a>(scene: &Scene<'a>) -> Option<&'a Observation> {
    scene.seen(&ask_memory(scene)?)
}

fn has_own_memory(_scene: &Scene, observation: &Observation) -> Verdict {
    match observation {
        Observation::SameMemory { shared: false } => {
            Verdict::holds("kcmp(2) finds two address spaces")
        }
        Observation::SameMemory { shared: true } => Verdict::fails(
            "kcmp(2) finds one address space for both",
            "an address space of its own for each",
        ),
        _ => Verdict::cannot_tell("their memories were not compared"),
    }
}

/// The one life in one of the two places, with the other place empty.
fn lone<'a>(scene: &Scene<'a>) -> Option<&'a Process> {
    let process = scene.process().filter(|_| scene.other().is_none())?;
    let names = places(scene.params());
    names.iter().any(|name| stands_in(process, name)).then_some(process)
}

fn directory_removed(scene: &Scene) -> bool {
    let [a, b] = places(scene.params());
    pair(scene).is_none()
        && lives(scene.facts).iter().any(|process| stood_in_either(process, &[&a, &b]))
}

fn both_in_one_place(scene: &Scene) -> bool {
    lone(scene).is_some_and(|process| {
        lives(scene.facts).iter().any(|other| {
            other.id != process.id && place(other) == place(process) && is_same_file(other, process)
        })
    })
}

/// A zombie says nothing of the directory it was in: it must be of the one life's family and name.
fn already_over(scene: &Scene) -> bool {
    let anyone = Facts { pid: None, ..*scene.facts };
    lone(scene).is_some_and(|process| {
        scene.snapshot().processes.iter().any(|other| {
            !other.is_alive()
                && anyone.may_be_theirs(other)
                && [process.id.pid, process.parent].contains(&other.parent)
                && other.comm == process.comm
        })
    })
}

fn one_life_only(scene: &Scene) -> bool {
    lone(scene).is_some()
}

fn two_containers(scene: &Scene) -> bool {
    let Some((one, other)) = pair(scene) else { return false };
    let on_overlay = |process: &Process| {
        let namespace = process.namespaces.get(Kind::Mnt).known().copied();
        let table = namespace.and_then(|id| scene.snapshot().mount_table(id));
        let mounts = table.and_then(|table| table.mounts.known());
        mounts.is_some_and(|mounts| {
            mounts.iter().any(|mount| mount.mount_point == "/" && mount.fs_type == "overlay")
        })
    };
    let same_path = match (one.exe.known(), other.exe.known()) {
        (Some(one), Some(other)) => one.path == other.path && one.dev != other.dev,
        _ => false,
    };
    let (ones, others) = (&one.namespaces.mnt, &other.namespaces.mnt);
    same_path && ones.known() != others.known() && on_overlay(one) && on_overlay(other)
}

fn copied_program(scene: &Scene) -> bool {
    let name = |process: &Process| process.exe.known().map(|exe| exe.file_name().to_owned());
    pair(scene).is_some_and(|(one, other)| name(one).is_some() && name(one) == name(other))
}
