//! `podlab run`: a lab, built on demand in a checkout.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::caller::Caller;
use crate::checkout::Checkout;
use crate::error::Error;

use super::Done;

pub(super) fn run(lab: &str, args: &[OsString], caller: &Caller) -> Result<Done, Error> {
    let program = program(lab, caller)?;
    // The lab takes podlab's place: signals and the exit status are its own.
    let error = Command::new(&program).args(args).exec();
    Err(Error::file(&program, error))
}

/// What stands after the lab's name, as it was typed: clap would take a `--` for its own.
pub(super) fn arguments(lab: &str) -> Vec<OsString> {
    std::env::args_os()
        .skip_while(|word| word != "run")
        .skip_while(|word| word != lab)
        .skip(1)
        .collect()
}

/// The lab's program: beside podlab's own, built first where podlab runs from a checkout.
///
/// # Errors
///
/// When it is not there and cannot be built.
pub(super) fn program(lab: &str, caller: &Caller) -> Result<PathBuf, Error> {
    let own =
        std::env::current_exe().map_err(|error| Error::new(format!("podlab itself: {error}")))?;
    let folder = own.parent().unwrap_or(Path::new("/"));
    let program = folder.join(lab);
    if let Some(checkout) = Checkout::of(folder) {
        build(lab, &checkout, folder, program.is_file(), caller)?;
    }
    if program.is_file() {
        return Ok(program);
    }
    Err(Error::file(&program, "no such lab here")
        .hint("run podlab from a checkout of the course, or install the labs beside it"))
}

fn build(
    lab: &str,
    checkout: &Checkout,
    folder: &Path,
    is_built: bool,
    caller: &Caller,
) -> Result<(), Error> {
    let mut cargo = caller.command("cargo");
    cargo.current_dir(&checkout.root).args(["build", "--package", "podlab-labs", "--bin", lab]);
    // The same profile and folder as podlab's own.
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    if let Some(target) = folder.parent() {
        cargo.arg("--target-dir").arg(target);
    }
    if is_built {
        // Progress is for what takes long: the first time.
        cargo.arg("--quiet");
    }
    let said = cargo.stdout(std::process::Stdio::null()).status();
    match said {
        Ok(status) if status.success() => Ok(()),
        // Without cargo, what was built before still runs.
        _ if is_built => Ok(()),
        Ok(_) => Err(Error::new(format!("{lab}: cargo could not build it"))),
        Err(error) => {
            Err(Error::new(format!("cargo: {error}"))
                .hint("building a lab needs cargo on the PATH"))
        }
    }
}
