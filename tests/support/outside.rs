//! Verdicts from outside: the tests run in a virtual machine, and the host judges it by
//! `podlab check --on`. Two ends of one socket, which OpenSSH forwards.
//!
//! In the machine `PODLAB_OUTSIDE` names a folder: `socket` leads to the host, and `home` is where the
//! state of the user lies whom the host logs in as.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Output;

use podlab::facts::Learner;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

/// What is to be judged.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// What stands behind `podlab check`.
    pub arguments: Vec<String>,
    /// Whose parameters.
    pub learner: Learner,
}

/// What the host's podlab said.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// `podlab check --on TARGET`.
    pub checked: Said,
    /// `podlab judge`, with the evidence of that check.
    pub judged_again: Said,
}

/// What one podlab said.
#[derive(Debug, Serialize, Deserialize)]
pub struct Said {
    /// Its exit status.
    pub code: i32,
    /// What it wrote to standard output.
    pub printed: String,
    /// What it wrote to standard error.
    pub remarks: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Said {
            code: output.status.code().expect("an exit status"),
            printed: text(&output.stdout),
            remarks: text(&output.stderr),
        }
    }
}

/// The way to the host, where there is one.
pub struct Outside(PathBuf);

impl Outside {
    /// As the environment says.
    pub fn named() -> Option<Outside> {
        std::env::var_os("PODLAB_OUTSIDE").map(|folder| Outside(folder.into()))
    }

    /// Asks the host, which finds this `home` where the user it logs in as keeps theirs. One at a time:
    /// that user has one home, each test its own.
    pub fn ask(&self, request: &Request, home: &Path) -> Answer {
        let turn = File::open(&self.0).expect("the folder PODLAB_OUTSIDE");
        flock(&turn, FlockOperation::LockExclusive).expect("flock");
        let link = self.0.join("home");
        let _ = fs::remove_file(&link);
        symlink(home, &link).expect("a link");
        let mut host = UnixStream::connect(self.0.join("socket")).expect("the way to the host");
        serde_json::to_writer(&host, request).expect("the request is sent");
        host.write_all(b"\n").expect("the request is sent");
        let mut answer = String::new();
        BufReader::new(host).read_line(&mut answer).expect("the host answers");
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
    }
}
