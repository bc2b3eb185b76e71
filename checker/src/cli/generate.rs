//! Commands that print what is known elsewhere.

use std::path::Path;

use crate::caller::Caller;
use crate::error::Error;
use crate::facts::Learner;
use crate::report::style::Style;
use crate::session::Session;
use crate::{book, doctor, tour};

use super::{Done, lab, print};

pub(super) fn doctor(session: &Session, style: Style) -> Result<Done, Error> {
    let findings = session.machine.findings(session.home.caller())?;
    print(&doctor::text(&findings, style))?;
    let is_serious =
        findings.iter().filter_map(|finding| finding.lack.as_ref()).any(|l| l.is_serious);
    Ok(if is_serious { Done::Fails } else { Done::Holds })
}

/// The findings for the user whom this process runs as, for the podlab that started it.
pub(super) fn findings() -> Result<Done, Error> {
    let findings = doctor::examine(&Caller::new())?;
    print(&serde_json::to_string(&findings).expect("findings are JSON"))?;
    Ok(Done::Holds)
}

pub(super) fn tour(learner: &Learner, caller: &Caller, style: Style) -> Result<Done, Error> {
    let program = lab::program("fake-init", caller)?;
    tour::run(&program, learner, style)?;
    Ok(Done::Holds)
}

pub(super) fn book(
    port: Option<u16>,
    build: Option<&Path>,
    caller: &Caller,
) -> Result<Done, Error> {
    match build {
        Some(folder) => {
            let pages = book::Pages::build()?;
            caller.with_rights(|| pages.write_to(folder))?;
        }
        None => book::serve(book::Options { port }, &mut std::io::stdout())?,
    }
    Ok(Done::Holds)
}

pub(super) fn completions(
    shell: clap_complete::Shell,
    mut command: clap::Command,
) -> Result<Done, Error> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "podlab", &mut script);
    print(&String::from_utf8_lossy(&script))?;
    Ok(Done::Holds)
}

pub(super) fn man(command: clap::Command) -> Result<Done, Error> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut page)
        .map_err(|error| Error::new(format!("manual page: {error}")))?;
    print(&String::from_utf8_lossy(&page))?;
    Ok(Done::Holds)
}
