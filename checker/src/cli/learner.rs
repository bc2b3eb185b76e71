//! What a learner asks for: the list, a task, a start, a hint, the live screen, a reset.

use std::io::IsTerminal;

use crate::caller::Caller;
use crate::error::Error;
use crate::exercise::{Exercise, Target};
use crate::exercises;
use crate::facts::Learner;
use crate::params::Params;
use crate::progress::Progress;
use crate::report::style::Style;
use crate::room;
use crate::session::Session;

use super::{Common, Done, course, lookup, print};

/// Whose parameters: as asked for, or those of the calling user.
pub(super) fn name(common: &Common, caller: &Caller) -> Learner {
    Learner {
        seed: common.seed.clone(),
        name: common.learner.clone().unwrap_or_else(|| caller.name.clone()),
    }
}

/// In a terminal the next unfinished exercise, live; otherwise, or when all is done, the list.
pub(super) fn next_or_list(session: &Session, style: Style) -> Result<Done, Error> {
    let in_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    match session.next()? {
        Some(exercise) if in_terminal => watch(session, Some(exercise.id), None),
        _ => list(session, false, style),
    }
}

pub(super) fn list(session: &Session, json: bool, style: Style) -> Result<Done, Error> {
    let state = session.home.load()?;
    print(&if json { course::json(&state) } else { course::text(&state, style) })?;
    Ok(Done::Holds)
}

pub(super) fn show(session: &Session, id: &str) -> Result<Done, Error> {
    let exercise = lookup::exercise(id);
    let progress = session.home.load()?.of(id);
    print(&task(session, exercise, &progress))?;
    Ok(Done::Holds)
}

pub(super) fn start(session: &Session, id: &str) -> Result<Done, Error> {
    let exercise = lookup::exercise(id);
    let progress = session.begin(exercise)?;
    print(&task(session, exercise, &progress))?;
    Ok(Done::Holds)
}

pub(super) fn hint(session: &Session, id: Option<&str>) -> Result<Done, Error> {
    let exercise = named_or_next(session, id)?;
    let text = session.home.update(|state| {
        next_hint(exercise, state.exercises.entry(exercise.id.to_owned()).or_default())
    })?;
    print(&text)?;
    Ok(Done::Holds)
}

pub(super) fn watch(session: &Session, id: Option<&str>, pid: Option<i32>) -> Result<Done, Error> {
    let _ = named_or_next(session, id)?;
    let _ = pid;
    Err(Error::new("the live screen is not there yet"))
}

pub(super) fn reset(session: &Session, id: Option<&str>) -> Result<Done, Error> {
    match id {
        Some(id) => session.reset(lookup::exercise(id))?,
        None => exercises::ALL.iter().try_for_each(|exercise| session.reset(exercise))?,
    }
    Ok(Done::Holds)
}

/// The named exercise, else the first that is not done, else the first.
pub(super) fn named_or_next(
    session: &Session,
    id: Option<&str>,
) -> Result<&'static Exercise, Error> {
    match id {
        Some(id) => Ok(lookup::exercise(id)),
        None => Ok(session.next()?.unwrap_or(&exercises::ALL[0])),
    }
}

/// The task of an exercise, and what was prepared for it.
fn task(session: &Session, exercise: &Exercise, progress: &Progress) -> String {
    let params = Params::new(&session.learner, exercise.id);
    let mut text = format!("{}: {}\n\n{}\n", exercise.id, exercise.title, (exercise.task)(&params));
    match (exercise.target, progress.start.as_ref().and_then(|start| start.room.as_ref())) {
        (Some(Target::LockedRoom), Some(room)) => {
            text += &format!("\n{}\n", room::describe(room));
        }
        (Some(Target::LockedRoom), None) => {
            text += &format!("\nprepare it first: podlab start {}\n", exercise.id);
        }
        (None, _) => {}
    }
    text
}

/// The hint for the mistake of the last check, once; then one more of the exercise's own each time.
fn next_hint(exercise: &'static Exercise, progress: &mut Progress) -> String {
    let made = progress.mistake.take();
    let mistake = made.and_then(|id| exercise.mistakes.iter().find(|mistake| mistake.id == id));
    if let Some(mistake) = mistake {
        return format!("{}\nhint: {}\n", mistake.explain, mistake.hint);
    }
    let last = exercise.hints.len();
    progress.hints = (progress.hints + 1).min(last);
    format!("{} of {last}: {}\n", progress.hints, exercise.hints[progress.hints - 1])
}
