//! `podlab doctor`: what this machine can and cannot do, what each missing thing costs, and how to
//! get it. Everything is tried or read, nothing is guessed from a distribution's name.

mod cgroups;
mod engines;
mod kernel;
mod privileges;

use std::borrow::Cow;
use std::process::Stdio;

use serde::{Deserialize, Serialize};

use crate::caller::Caller;
use crate::error::Error;
use crate::report::style::{Style, Tone};
use crate::report::{fold, printable};

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about.
    pub subject: Cow<'static, str>,
    /// What was seen.
    pub saw: String,
    /// What is missing of it.
    pub lack: Option<Lack>,
}

/// Something missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lack {
    /// What one cannot do without it.
    pub costs: String,
    /// How to get it.
    pub fix: String,
    /// Whether the course cannot be done here without it; otherwise it is only poorer.
    pub is_serious: bool,
}

impl Finding {
    fn fine(subject: &'static str, saw: impl Into<String>) -> Finding {
        Finding { subject: subject.into(), saw: saw.into(), lack: None }
    }

    fn poorer(
        subject: &'static str,
        saw: impl Into<String>,
        costs: impl Into<String>,
        fix: impl Into<String>,
    ) -> Finding {
        let lack = Lack { costs: costs.into(), fix: fix.into(), is_serious: false };
        Finding { subject: subject.into(), saw: saw.into(), lack: Some(lack) }
    }

    fn serious(self) -> Finding {
        let lack = self.lack.map(|lack| Lack { is_serious: true, ..lack });
        Finding { lack, ..self }
    }
}

/// Looks at everything.
///
/// # Errors
///
/// When not even `/proc` can be read.
pub fn examine(caller: &Caller) -> Result<Vec<Finding>, Error> {
    let mut findings = kernel::examine()?;
    findings.extend(privileges::examine(caller));
    findings.extend(cgroups::examine(caller)?);
    findings.extend(engines::examine());
    Ok(findings)
}

/// The hidden argument with which podlab starts itself as a doctor for another user.
pub const ARGUMENT: &str = "__doctor";

/// Looks at everything as the caller would without sudo(8), with their groups and without privileges.
///
/// # Errors
///
/// As [`examine`].
pub fn examine_as(caller: &Caller) -> Result<Vec<Finding>, Error> {
    if !caller.is_through_sudo() {
        return examine(caller);
    }
    let failed = |why: String| Error::new(format!("doctor: {why}"));
    let mut command = caller.command("/proc/self/exe");
    command.arg(ARGUMENT).stdin(Stdio::null());
    for variable in ["SUDO_UID", "SUDO_GID", "SUDO_USER", "SUDO_COMMAND"] {
        command.env_remove(variable);
    }
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    serde_json::from_slice(&output.stdout).map_err(|_| {
        failed(String::from_utf8_lossy(&output.stderr).trim_start_matches("podlab: ").to_owned())
    })
}

/// The findings, as people read them.
pub fn text(findings: &[Finding], style: Style) -> String {
    findings.iter().flat_map(|finding| lines(finding, style)).collect()
}

fn lines(finding: &Finding, style: Style) -> Vec<String> {
    let (tone, mark) = match &finding.lack {
        None => (Tone::Good, style.mark("✔", "ok")),
        Some(lack) if lack.is_serious => (Tone::Bad, style.mark("✘", "NO")),
        Some(_) => (Tone::Dim, style.mark("·", "--")),
    };
    let mark = style.paint(tone, mark);
    let head = format!("{mark} {:<18} ", printable(&finding.subject));
    let mut lines = vec![format!("{head}{}\n", printable(&finding.saw))];
    if let Some(lack) = &finding.lack {
        lines.extend(folded("   without it: ", &lack.costs));
        // A command must be copied whole.
        lines.push(format!("   to get it:  {}\n", printable(&lack.fix)));
    }
    lines
}

fn folded(head: &str, text: &str) -> Vec<String> {
    let indent = " ".repeat(head.len());
    fold(text, 78, head, &indent).into_iter().map(|line| line + "\n").collect()
}
