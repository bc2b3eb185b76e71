//! Names of exercises and labs on the command line: completed by the shell, and when mistyped, the
//! nearest one suggested.

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::ErrorKind;

use crate::exercise::Exercise;
use crate::{course, exercises};

/// Parses the id of an exercise.
#[derive(Clone)]
pub(super) struct ExerciseId;

/// Parses the name of a lab.
#[derive(Clone)]
pub(super) struct LabName;

/// The exercise with an id that [`ExerciseId`] let through.
pub(super) fn exercise(id: &str) -> &'static Exercise {
    exercises::by_id(id).expect("the id was looked up when the command line was parsed")
}

impl TypedValueParser for ExerciseId {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<String, clap::Error> {
        let known = exercises::ALL.iter().map(|exercise| exercise.id);
        one_of("exercise", known, command, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values = exercises::ALL.iter().map(|e| PossibleValue::new(e.id).help(e.title));
        Some(Box::new(values))
    }
}

impl TypedValueParser for LabName {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<String, clap::Error> {
        one_of("lab", course::labs().map(|lab| lab.name), command, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(course::labs().map(|lab| PossibleValue::new(lab.name).help(lab.shows))))
    }
}

fn one_of(
    what: &str,
    mut known: impl Iterator<Item = &'static str> + Clone,
    command: &clap::Command,
    value: &std::ffi::OsStr,
) -> Result<String, clap::Error> {
    let value = value.to_string_lossy();
    if known.clone().any(|name| name == value) {
        return Ok(value.into_owned());
    }
    let nearest = known.by_ref().map(|name| (strsim::jaro_winkler(name, &value), name));
    let tip = nearest
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .filter(|(likeness, _)| *likeness > 0.75)
        .map_or_else(String::new, |(_, name)| format!("did you mean {name}?  "));
    let message = format!("no {what} named '{value}'\ntip: {tip}podlab list shows them all\n");
    Err(command.clone().error(ErrorKind::InvalidValue, message))
}
