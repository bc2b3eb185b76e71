//! What a learner asks for: the list, a task, a start, a hint, the live screen, a reset.

use std::io::IsTerminal;

use crate::caller::Caller;
use crate::error::Error;
use crate::exercise::Exercise;
use crate::exercises;
use crate::facts::Learner;
use crate::machine::Machine;
use crate::report::style::Style;
use crate::session::Session;
use crate::watch;

use super::{Common, Done, course, lookup, print};

/// Whose parameters: as asked for, or those of the calling user; on another machine, of the user there.
pub(super) fn name(common: &Common, machine: &Machine, caller: &Caller) -> Learner {
    let user = match machine {
        Machine::Here => &caller.name,
        Machine::There(remote) => remote.user(),
    };
    Learner {
        seed: common.seed.clone(),
        name: common.learner.clone().unwrap_or_else(|| user.to_owned()),
    }
}

/// In a terminal the next unfinished exercise, live; otherwise, or when all is done, the list.
pub(super) fn next_or_list(session: &Session, style: Style) -> Result<Done, Error> {
    let in_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    match session.next()? {
        Some(exercise) if in_terminal => watch(session, Some(exercise.id), None, style),
        _ => list(session, false, style),
    }
}

pub(super) fn list(session: &Session, json: bool, style: Style) -> Result<Done, Error> {
    let state = session.home.load()?;
    print(&if json { course::json(&state) } else { course::text(&state, style) })?;
    Ok(Done::Holds)
}

pub(super) fn show(session: &Session, id: Option<&str>) -> Result<Done, Error> {
    print(&session.headed_task(named_or_next(session, id)?)?)?;
    Ok(Done::Holds)
}

pub(super) fn start(session: &Session, id: Option<&str>) -> Result<Done, Error> {
    let exercise = named_or_next(session, id)?;
    session.begin(exercise)?;
    print(&session.headed_task(exercise)?)?;
    Ok(Done::Holds)
}

pub(super) fn hint(session: &Session, id: Option<&str>) -> Result<Done, Error> {
    let exercise = named_or_next(session, id)?;
    print(&format!("{}: {}", exercise.id, session.next_hint(exercise)?))?;
    Ok(Done::Holds)
}

pub(super) fn watch(
    session: &Session,
    id: Option<&str>,
    pid: Option<i32>,
    style: Style,
) -> Result<Done, Error> {
    watch::run(session, named_or_next(session, id)?, pid, style)?;
    Ok(Done::Holds)
}

pub(super) fn reset(session: &Session, id: Option<&str>) -> Result<Done, Error> {
    let named = |exercise: &&Exercise| id.is_none_or(|id| exercise.id == id);
    for exercise in exercises::ALL.iter().filter(named) {
        let was_begun = session.reset(exercise)?;
        if was_begun || id.is_some() {
            let what = if was_begun { "as before its start" } else { "was not begun" };
            print(&format!("{}: {what}\n", exercise.id))?;
        }
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
