//! Running a lab as root and as an ordinary user.

use std::process::{Command, Stdio};

use assert_cmd::cargo::cargo_bin;
use tempfile::TempDir;

use crate::support::need::{Need, met};
use crate::support::user;

/// Who runs a lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Root,
    Ordinary,
}

impl Who {
    /// Whether this machine lets them; if not, says so and counts it.
    pub(crate) fn can_run(self) -> bool {
        met(&[if self == Who::Root { Need::Root } else { Need::Userns }])
    }

    /// The lab as they run it, from a copy in a folder that anyone can reach.
    pub(crate) fn lab(self, name: &str) -> (Command, TempDir) {
        let folder = user::folder();
        let mut command = Command::new(user::copy_of(&cargo_bin(name), folder.path()));
        if self == Who::Ordinary {
            user::as_ordinary(&mut command);
        }
        command.stdin(Stdio::null());
        (command, folder)
    }
}
