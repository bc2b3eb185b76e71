//! `podlab author check`: the course's own lint.

use std::collections::BTreeSet;

use crate::book;
use crate::course::{self, Chapter, Lab};
use crate::error::Error;
use crate::exercise::{Check, Exercise};
use crate::exercises;
use crate::facts::Learner;
use crate::params::Params;

use super::{Done, print};

/// How many mistakes an exercise knows at least.
const FEWEST_MISTAKES: usize = 4;

/// Columns of a line of a task.
const TASK_WIDTH: usize = 78;

pub(super) fn check() -> Result<Done, Error> {
    let mut found: Vec<String> = exercises::ALL.iter().flat_map(faults).collect();
    found.extend(course::CHAPTERS.iter().flat_map(chapter_faults));
    let in_table = |name: &String| course::labs().any(|lab| lab.name == name);
    found.extend(
        book::lab_programs()
            .filter(|name| !in_table(name))
            .map(|name| format!("lab '{name}' is in no chapter")),
    );
    found.extend(repeated("exercise", exercises::ALL.iter().map(|exercise| exercise.id)));
    found.extend(repeated("lab", course::labs().map(|lab| lab.name)));
    found.extend(repeated("chapter", course::CHAPTERS.iter().map(|chapter| chapter.stem)));
    if found.is_empty() {
        let count = exercises::ALL.len();
        print(&format!("{count} exercises in {} chapters: no fault\n", course::CHAPTERS.len()))?;
        return Ok(Done::Holds);
    }
    print(&(found.join("\n") + "\n"))?;
    Ok(Done::Fails)
}

/// A chapter is there, quotes its labs, and names its exercises.
fn chapter_faults(chapter: &Chapter) -> Vec<String> {
    let Some(text) = book::chapter(chapter.stem) else {
        return vec![format!("chapter '{}' is not in the book", chapter.stem)];
    };
    let quotes = |lab: &&Lab| text.contains(&format!("labs/src/bin/{}.rs", lab.name));
    let unquoted = chapter.labs.iter().filter(|lab| !quotes(lab)).map(|lab| lab.name);
    let unnamed = chapter.exercises().map(|exercise| exercise.id).filter(|id| !text.contains(id));
    let stem = chapter.stem;
    let unquoted = unquoted.map(|lab| format!("chapter '{stem}' does not quote lab '{lab}'"));
    let unnamed = unnamed.map(|id| format!("chapter '{stem}' does not name exercise '{id}'"));
    unquoted.chain(unnamed).collect()
}

fn faults(exercise: &Exercise) -> Vec<String> {
    let mut found = Vec::new();
    let mut fault = |what: String| found.push(format!("{}: {what}", exercise.id));
    if course::chapter(exercise.chapter).is_none() {
        fault(format!("no chapter '{}'", exercise.chapter));
    }
    if exercise.mistakes.len() < FEWEST_MISTAKES {
        fault(format!("fewer than {FEWEST_MISTAKES} mistakes"));
    }
    if exercise.hints.is_empty() {
        fault("no hints".to_owned());
    }
    for mistake in exercise.mistakes.iter().filter(|made| exercise.check(made.check).is_none()) {
        fault(format!("mistake '{}' explains no check '{}'", mistake.id, mistake.check));
    }
    for (at, check) in exercise.checks.iter().enumerate() {
        check_faults(check, &exercise.checks[..at]).into_iter().for_each(&mut fault);
    }
    for what in repeated("check", exercise.checks.iter().map(|check| check.id)) {
        fault(what);
    }
    for what in repeated("mistake", exercise.mistakes.iter().map(|mistake| mistake.id)) {
        fault(what);
    }
    for line in task_lines_too_long(exercise) {
        fault(format!("a line of its task is longer than {TASK_WIDTH}: {line}"));
    }
    found
}

/// A check is judged after those it needs, so it stands after them.
fn check_faults(check: &Check, earlier: &[Check]) -> Vec<String> {
    let mut found = Vec::new();
    if check.points == 0 {
        found.push(format!("check '{}' is worth nothing", check.id));
    }
    for need in check.needs {
        if !earlier.iter().any(|before| before.id == *need) {
            found.push(format!("check '{}' needs '{need}', which is not before it", check.id));
        }
    }
    if check.claim.ends_with('.') || check.claim.starts_with(char::is_uppercase) {
        found.push(format!("the claim of '{}' is no plain clause: {}", check.id, check.claim));
    }
    found
}

fn task_lines_too_long(exercise: &Exercise) -> Vec<String> {
    let learner = Learner { seed: "author".to_owned(), name: "check".to_owned() };
    let task = (exercise.task)(&Params::new(&learner, exercise.id));
    task.lines().filter(|line| line.chars().count() > TASK_WIDTH).map(str::to_owned).collect()
}

fn repeated(what: &str, names: impl Iterator<Item = &'static str>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    names.filter(|name| !seen.insert(*name)).map(|name| format!("{what} '{name}' twice")).collect()
}
