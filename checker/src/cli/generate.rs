//! Commands that print what is known elsewhere.

use std::path::Path;

use crate::book;
use crate::error::Error;
use crate::report::style::Style;

use super::{Done, print};

pub(super) fn doctor(_style: Style) -> Result<Done, Error> {
    Err(Error::new("the doctor is not there yet"))
}

pub(super) fn tour(_style: Style) -> Result<Done, Error> {
    Err(Error::new("the tour is not there yet"))
}

pub(super) fn book(port: Option<u16>, build: Option<&Path>) -> Result<Done, Error> {
    match build {
        Some(folder) => book::Pages::build()?.write_to(folder)?,
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
