//! Which tool is to run the machine, or runs it already.

use crate::error::Error;

use super::{BACKENDS, Backend, Condition, Host, Obstacle, is_installed};

/// A tool that can be used here.
pub struct Choice {
    /// The tool.
    pub backend: &'static Backend,
    /// Why this one, in a few words.
    pub why: String,
    /// How its machine is.
    pub condition: Condition,
}

/// A tool, and how its machine is where the tool is installed.
pub type Seen = (&'static Backend, Option<Condition>);

/// The tool that has a machine of this name already; else the one that is wanted, or the first that can
/// be used.
///
/// # Errors
///
/// When none can be used, or the wanted one cannot.
pub fn choose(host: &Host, wanted: Option<&str>, name: &str) -> Result<Choice, Error> {
    if let Some(choice) = find(host, wanted, name)? {
        return Ok(choice);
    }
    let mut others = Vec::new();
    for backend in asked(wanted) {
        match ready(host, backend) {
            Ok(()) => {
                let why =
                    if others.is_empty() { "it is here".to_owned() } else { reasons(&others) };
                return Ok(Choice { backend, why, condition: Condition::None });
            }
            Err(obstacle) => others.push((backend, obstacle)),
        }
    }
    Err(nothing(&others))
}

/// The tool that has a machine of this name, and how that is.
///
/// # Errors
///
/// When there is no such machine.
pub fn with_machine(host: &Host, wanted: Option<&str>, name: &str) -> Result<Choice, Error> {
    find(host, wanted, name)?.ok_or_else(|| {
        let of = wanted.map(|wanted| format!(" of {wanted}'s")).unwrap_or_default();
        Error::new(format!("there is no machine '{name}'{of}")).hint("podlab vm up starts one")
    })
}

/// Each tool, and how its machine of this name is.
///
/// # Errors
///
/// When a tool cannot be asked.
pub fn overview(host: &Host, wanted: Option<&str>, name: &str) -> Result<Vec<Seen>, Error> {
    let how = |backend: &'static Backend| match is_installed(backend.program) {
        true => Ok((backend, Some((backend.condition)(host, name)?))),
        false => Ok((backend, None)),
    };
    asked(wanted).map(how).collect()
}

/// One that is up rather than another.
fn find(host: &Host, wanted: Option<&str>, name: &str) -> Result<Option<Choice>, Error> {
    let mut found = None;
    for (backend, condition) in overview(host, wanted, name)? {
        let Some(condition) = condition.filter(|it| *it != Condition::None) else { continue };
        let is_up = matches!(condition, Condition::Up(_));
        if is_up || found.is_none() {
            found = Some(Choice { backend, why: format!("it has {name} already"), condition });
        }
        if is_up {
            break;
        }
    }
    Ok(found)
}

fn asked(wanted: Option<&str>) -> impl Iterator<Item = &'static Backend> {
    BACKENDS.iter().filter(move |it| wanted.is_none_or(|wanted| wanted == it.name))
}

fn ready(host: &Host, backend: &Backend) -> Result<(), Obstacle> {
    if !is_installed(backend.program) {
        let what = format!("no {} on the PATH", backend.program);
        return Err(Obstacle { what, hint: backend.install.to_owned() });
    }
    (backend.obstacle)(host).map_or(Ok(()), Err)
}

/// None can be used: what the easiest of them lacks.
fn nothing(others: &[(&Backend, Obstacle)]) -> Error {
    // One that is installed needs the least.
    let installed = others.iter().find(|(backend, _)| is_installed(backend.program));
    let hint = installed.or(others.last()).map(|(_, obstacle)| obstacle.hint.clone());
    Error::new(format!("nothing here can run the machine: {}", reasons(others)))
        .hint(hint.unwrap_or_default())
}

fn reasons(others: &[(&Backend, Obstacle)]) -> String {
    let reasons = others.iter().map(|(backend, why)| format!("{}: {}", backend.name, why.what));
    reasons.collect::<Vec<_>>().join("; ")
}
