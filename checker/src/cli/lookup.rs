//! Names of exercises and labs on the command line: completed by the shell, and when mistyped, the
//! nearest one suggested.

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::ErrorKind;

use crate::exercise::Exercise;
use crate::remote::{self, Target};
use crate::{course, exercises};

/// Parses a name out of a closed set.
#[derive(Clone)]
pub(super) struct NameOf {
    what: &'static str,
    /// The names, each with a few words on it.
    known: fn() -> Vec<(&'static str, &'static str)>,
}

/// The id of an exercise.
pub(super) const EXERCISE: NameOf = NameOf {
    what: "exercise",
    known: || exercises::ALL.iter().map(|exercise| (exercise.id, exercise.title)).collect(),
};

/// The name of a lab.
pub(super) const LAB: NameOf =
    NameOf { what: "lab", known: || course::labs().map(|lab| (lab.name, lab.shows)).collect() };

/// Another machine.
pub(super) const TARGET: Machines = Machines;

/// The exercise with an id that [`EXERCISE`] let through.
pub(super) fn exercise(id: &str) -> &'static Exercise {
    exercises::by_id(id).expect("the id was looked up when the command line was parsed")
}

/// Less alike than this, a name is no suggestion.
const LIKENESS: f64 = 0.75;

impl TypedValueParser for NameOf {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<String, clap::Error> {
        let value = value.to_string_lossy();
        let known = (self.known)();
        if known.iter().any(|(name, _)| *name == value) {
            return Ok(value.into_owned());
        }
        let likeness = known.iter().map(|(name, _)| (strsim::jaro_winkler(name, &value), name));
        let tip = likeness
            .max_by(|one, other| one.0.total_cmp(&other.0))
            .filter(|(likeness, _)| *likeness > LIKENESS)
            .map_or_else(String::new, |(_, name)| format!("did you mean {name}?  "));
        let what = self.what;
        let message = format!("no {what} named '{value}'\ntip: {tip}podlab list shows them all\n");
        Err(command.clone().error(ErrorKind::InvalidValue, message))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let values = (self.known)().into_iter();
        Some(Box::new(values.map(|(name, about)| PossibleValue::new(name).help(about))))
    }
}

/// Parses the name of another machine.
#[derive(Clone)]
pub(super) struct Machines;

impl TypedValueParser for Machines {
    type Value = Target;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<Target, clap::Error> {
        value.to_string_lossy().parse().map_err(|why: String| {
            let message = format!("--on: {why}\ntip: it can be {}\n", remote::FORMS);
            command.clone().error(ErrorKind::InvalidValue, message)
        })
    }
}
