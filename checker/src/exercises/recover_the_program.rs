//! *recover-the-program*: a process goes on when its program file is deleted, and through it the
//! file can be had back (unlink(2), proc_pid_exe(5)).

use std::cmp::Reverse;

use crate::exercise::{Check, Exercise, Facts, How, Mistake, Scene, Subject, Verdict};
use crate::facts::{
    FileKind, FileSeen, Observation, Process, ProgramFile, Reading, Request, Snapshot,
};
use crate::params::Params;

/// The exercise.
pub(super) const EXERCISE: Exercise = Exercise {
    id: "recover-the-program",
    chapter: "program-and-process",
    title: "Recover the program",
    task,
    target: None,
    reads_cgroups: false,
    subjects,
    checks: &[
        Check {
            id: "deleted",
            claim: "a live process whose program file was deleted",
            points: 2,
            needs: &[],
            how: How::Probe(ask, is_deleted),
        },
        Check {
            id: "recovered",
            claim: "the file is back, under its new name",
            points: 3,
            needs: &["deleted"],
            how: How::Probe(ask, is_recovered),
        },
        Check {
            id: "runnable",
            claim: "the recovered file may be executed",
            points: 1,
            needs: &["recovered"],
            how: How::Probe(ask, is_runnable),
        },
    ],
    mistakes: &[
        Mistake {
            id: "program-ended",
            check: "deleted",
            recognise: program_ended,
            explain: "the process that ran the deleted file has ended. It was the last that held \
                      the file: with its end the kernel freed the content.",
            hint: "do it again, and leave the process alone until it has been judged",
        },
        Mistake {
            id: "never-a-file",
            check: "deleted",
            recognise: |scene| seen(scene).is_some_and(|seen| seen.never_named),
            explain: "the program never had a name in a directory: it lives in memory, or in a \
                      file that was made without a name. Nothing was deleted, although the kernel \
                      says (deleted) here too.",
            hint: "start a program from an ordinary file, and delete that",
        },
        Mistake {
            id: "another-name-left",
            check: "deleted",
            recognise: |scene| seen(scene).is_some_and(|seen| seen.deleted && has_name(seen)),
            explain: "one name of the file was removed, but it has another: a hard link. A file is \
                      deleted when its last name is gone.",
            hint: "stat --dereference --format %h /proc/PID/exe says how many names are left",
        },
        Mistake {
            id: "script-deleted",
            check: "deleted",
            recognise: |scene| kept(scene).is_some_and(|seen| seen.lost_script.is_some()),
            explain: "a script was deleted, but a script is not the program: the program of the \
                      process is the interpreter that reads it, and its file is still there.",
            hint: "readlink /proc/PID/exe says which file is the program",
        },
        Mistake {
            id: "renamed",
            check: "deleted",
            recognise: |scene| kept(scene).is_some_and(|seen| seen.lost_call.is_some()),
            explain: "the file is not where it was started from, but it was moved, not deleted: it \
                      has another name now, and the process knows it.",
            hint: "readlink /proc/PID/exe shows the new path; mv renames, rm deletes",
        },
        Mistake {
            id: "never-deleted",
            check: "deleted",
            recognise: |scene| kept(scene).is_some(),
            explain: "the program file is still where it was. A copy of a file that is there is no \
                      recovery.",
            hint: "delete it while the process runs, and see what readlink /proc/PID/exe says then",
        },
        Mistake {
            id: "linked-not-copied",
            check: "recovered",
            recognise: |scene| beside(scene).is_some_and(|file| file.kind == FileKind::Symlink),
            explain: "there is a symbolic link of that name. It holds a path, not the content: when \
                      the process ends, it leads nowhere.",
            hint: "copy what the link leads to: cp follows a link that it is given",
        },
        Mistake {
            id: "wrong-bytes",
            check: "recovered",
            recognise: |scene| beside(scene).is_some_and(|file| file.kind == FileKind::Regular),
            explain: "there is a file of that name, but it does not hold what the program file \
                      held. The memory of the process is not the file: parts of the file are never \
                      mapped, and the data have changed.",
            hint: "cmp /proc/PID/exe FILE names the first byte that differs",
        },
        Mistake {
            id: "not-executable",
            check: "runnable",
            recognise: |scene| beside(scene).is_some_and(|file| file.mode & EXECUTE == 0),
            explain: "the content is back, the permission is not. The mode belongs to the inode: a \
                      new file gets one of its own, and output that was redirected is not \
                      executable.",
            hint: "chmod +x, or a copy that takes the mode along",
        },
    ],
    hints: &[
        "rm removes a name; the file is freed when no name is left and nobody has it open, and a \
         running program is open",
        "use a copy of a program, started from a directory of your own: ls -l /proc/PID/exe before \
         and after rm",
        "/proc/PID/exe looks like a symbolic link that leads nowhere, but opening it opens the file \
         itself",
        "something like: cp /bin/sleep prog; ./prog 600 & rm prog; cp /proc/$!/exe NAME",
    ],
};

/// The permission to execute of owner, group and others.
const EXECUTE: u32 = 0o111;

fn file_name(params: &Params) -> String {
    params.name("file")
}

fn task(params: &Params) -> String {
    format!(
        "Start a program of yours from a file of its own, and delete that file while\n\
         the program runs, so that no name of it is left: podlab prepares nothing.\n\
         Then recover the file, under the name {}, in the directory in which\n\
         it was. What counts is a new file with the same content that may be\n\
         executed. The process still runs when it is judged.",
        file_name(params)
    )
}

/// Live processes whose program was deleted, the latest first; then what comes near.
fn subjects(facts: &Facts) -> Vec<Subject> {
    let deleted = facts.theirs().into_iter().filter(|process| runs_deleted(process));
    let near = nearest(facts).filter(|process| process.is_alive());
    let lives = deleted.chain(near).map(|process| Subject::Process(process.id));
    lives.chain([Subject::Nothing]).collect()
}

fn runs_deleted(process: &Process) -> bool {
    process.is_alive() && process.exe.known().is_some_and(|exe| exe.deleted)
}

/// The process that the learner named; or else the one closest to podlab itself by its ancestors,
/// such as a child of the shell that podlab was started from, and of these the latest.
fn nearest<'a>(facts: &Facts<'a>) -> Option<&'a Process> {
    let snapshot = facts.snapshot;
    let ours = lineage(snapshot, snapshot.observer()?);
    let kinship = |process: &Process| {
        lineage(snapshot, process).iter().filter(|pid| ours.contains(pid)).count()
    };
    let wanted = file_name(facts.params);
    facts
        .theirs()
        .into_iter()
        .filter(|process| {
            facts.pid.is_some() || (!ours.contains(&process.id.pid) && kinship(process) > 0)
        })
        .min_by_key(|process| (!runs(process, &wanted), Reverse(kinship(process))))
}

/// The ancestors of a process but for those that everybody has.
fn lineage(snapshot: &Snapshot, process: &Process) -> Vec<i32> {
    snapshot.ancestors(process).map(|ancestor| ancestor.id.pid).filter(|pid| *pid > 1).collect()
}

fn runs(process: &Process, name: &str) -> bool {
    process.exe.known().is_some_and(|exe| exe.file_name() == name)
}

fn ask(scene: &Scene) -> Option<Request> {
    let beside = file_name(scene.params());
    Some(Request::ProgramFile { process: scene.process()?.id, beside })
}

fn seen<'a>(scene: &Scene<'a>) -> Option<&'a ProgramFile> {
    match scene.seen(&ask(scene)?)? {
        Observation::ProgramFile(seen) => Some(seen),
        _ => None,
    }
}

/// What was seen of a program whose file is still there.
fn kept<'a>(scene: &Scene<'a>) -> Option<&'a ProgramFile> {
    seen(scene).filter(|seen| !seen.deleted)
}

fn beside<'a>(scene: &Scene<'a>) -> Option<&'a FileSeen> {
    seen(scene)?.beside.known()
}

/// Whether the file has a name left. Overlay file systems do not count them.
fn has_name(seen: &ProgramFile) -> bool {
    seen.other_name.is_some() || (seen.links > 0 && !seen.on_overlay)
}

fn path(folder: &str, name: &str) -> String {
    format!("{}/{name}", folder.trim_end_matches('/'))
}

fn is_deleted(scene: &Scene, observation: &Observation) -> Verdict {
    let (Observation::ProgramFile(seen), Some(process)) = (observation, scene.process()) else {
        return Verdict::cannot_tell("the program file was not looked at");
    };
    let expected = "a program file that had a name and has none any more";
    let saw = format!("{process} runs {}", path(&seen.folder, &seen.name));
    if !seen.deleted {
        return Verdict::fails(format!("{saw}, and it is there"), expected);
    }
    if seen.never_named {
        return Verdict::fails(format!("{saw}, which never was a name"), expected);
    }
    if let Some(other) = &seen.other_name {
        return Verdict::fails(format!("{saw}; the file is now named {other}"), expected);
    }
    if has_name(seen) {
        return Verdict::fails(format!("{saw}; names of it left: {}", seen.links), expected);
    }
    Verdict::holds(format!("{saw} (deleted)"))
}

fn is_recovered(scene: &Scene, observation: &Observation) -> Verdict {
    let Observation::ProgramFile(seen) = observation else {
        return Verdict::cannot_tell("the program file was not looked at");
    };
    let name = file_name(scene.params());
    let at = format!("{name} in {}", seen.folder);
    let expected = format!("a new file {name} beside it, with the program's {} bytes", seen.size);
    let file = match &seen.beside {
        Reading::Known(file) => file,
        Reading::Denied(_) => return Verdict::cannot_tell(format!("{at} may not be looked at")),
        Reading::Absent => return Verdict::fails(format!("no {at}"), expected),
    };
    if file.kind != FileKind::Regular {
        return Verdict::fails(format!("{name} is {}", kind_text(file.kind)), expected);
    }
    match &file.sha256 {
        _ if (file.dev, file.ino) == (seen.dev, seen.ino) => {
            Verdict::fails(format!("{name} is the program file itself"), expected)
        }
        _ if file.size != seen.size => {
            Verdict::fails(format!("{name} has {} bytes", file.size), expected)
        }
        None => Verdict::cannot_tell(format!("{at} may not be read; ask as root or as its owner")),
        Some(digest) if *digest != seen.sha256 => {
            Verdict::fails(format!("{name} has other content"), expected)
        }
        Some(digest) => {
            let short = digest.get(..12).unwrap_or(digest);
            Verdict::holds(format!("{at}: the same {} bytes, SHA-256 {short}…", file.size))
        }
    }
}

fn kind_text(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Regular => "a regular file",
        FileKind::Symlink => "a symbolic link",
        FileKind::Other => "neither a regular file nor a link",
    }
}

fn is_runnable(_scene: &Scene, observation: &Observation) -> Verdict {
    let expected = "permission to execute";
    let Observation::ProgramFile(ProgramFile { beside: Reading::Known(file), .. }) = observation
    else {
        return Verdict::cannot_tell("the recovered file was not looked at");
    };
    let saw = format!("its mode is {:04o}", file.mode);
    if file.mode & EXECUTE == 0 { Verdict::fails(saw, expected) } else { Verdict::holds(saw) }
}

/// Nobody runs a deleted program; but somebody has ended, or the recovered program runs.
fn program_ended(scene: &Scene) -> bool {
    let wanted = file_name(scene.params());
    match scene.process() {
        Some(process) => !runs_deleted(process) && runs(process, &wanted),
        None => nearest(scene.facts).is_some_and(|process| !process.is_alive()),
    }
}
