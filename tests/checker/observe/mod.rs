//! What `podlab::observe` says of the running kernel, held against other sources.

mod cgroups;
mod mounts;
mod namespaces;
mod processes;
mod recorded;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use podlab::facts::{Process, Snapshot};
use podlab::observe::{Options, snapshot};

use crate::support::need::program;
use crate::support::user;

fn options() -> Options {
    Options { mark: true, ..Options::default() }
}

fn everything() -> Snapshot {
    snapshot(&options()).expect("a snapshot")
}

fn process(pid: i32) -> Process {
    let read = podlab::observe::process(&options(), pid).expect("a readable /proc");
    read.unwrap_or_else(|| panic!("process {pid} is gone"))
}

/// The example `snapshot`, which prints one as JSON: for looking from where the tests are not.
fn example() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", "podlab", "--example", "snapshot"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        // Where there is no cargo, it was brought along.
        let built = cargo.stdin(Stdio::null()).status();
        assert!(built.is_ok_and(|status| status.success()) || program("cargo").is_none());
        let test = std::env::current_exe().expect("the test's own path");
        let folder = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
        folder.join("examples/snapshot")
    })
}

/// Runs `command`, which ends as the example does.
fn snapshot_by(command: &mut Command) -> Snapshot {
    let output = command.output().expect("the example");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a snapshot")
}

/// What a user without privileges sees.
fn snapshot_by_ordinary() -> Snapshot {
    let folder = user::folder();
    let copy = user::copy_of(example(), folder.path());
    snapshot_by(user::as_ordinary(&mut Command::new(copy)))
}
