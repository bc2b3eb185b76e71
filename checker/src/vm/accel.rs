//! What a virtual machine can run on here, as `vm/accel` says.

use std::path::Path;

use crate::error::Error;

use super::{Host, Step};

/// What a virtual machine can run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accel {
    /// Whether by software emulation, and so slowly.
    pub is_emulated: bool,
    /// One line on why.
    pub why: String,
}

impl Accel {
    /// As the scripts and files in `vm/` take it.
    pub fn name(&self) -> &'static str {
        if self.is_emulated { "tcg" } else { "kvm" }
    }
}

/// Asks `vm/accel`, which tries once and remembers until the host is booted again.
///
/// # Errors
///
/// When it cannot be asked.
pub fn accel(host: &Host) -> Result<Accel, Error> {
    let output = host.command(host.vm()?.join("accel")).output();
    let output = output.map_err(|error| Error::file(Path::new("vm/accel"), error))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let why = said.lines().next().unwrap_or_default().to_owned();
    match output.stdout.trim_ascii() {
        b"kvm" => Ok(Accel { is_emulated: false, why }),
        b"tcg" => Ok(Accel { is_emulated: true, why }),
        _ => Err(Step::error_of(&said)),
    }
}
