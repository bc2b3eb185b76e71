//! `vm/qemu up` that does not get to its end: it says why, and nothing of it is left.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::needs;
use crate::programs::checkout;
use crate::support::footprint::Mark;
use crate::support::need::Need;
use crate::support::running::until;

/// `vm/qemu up`, and the folder in which it would leave something.
struct Up {
    state: TempDir,
    mark: Mark,
    command: Command,
}

impl Up {
    fn new(arguments: &[&str]) -> Up {
        let state = tempfile::tempdir().expect("a folder");
        let mark = Mark::new("vm-qemu");
        let mut command = Command::new(checkout().join("vm/qemu"));
        command.arg("up").args(arguments).env("XDG_STATE_HOME", state.path());
        mark.put_on(&mut command).stdin(Stdio::null());
        Up { state, mark, command }
    }

    /// Of the image that the environment names.
    fn of_image(arguments: &[&str]) -> Up {
        let mut up = Up::new(arguments);
        up.command.arg("--image").arg(Need::VmImage.image().expect("an image"));
        up
    }

    fn folder(&self) -> PathBuf {
        self.state.path().join("podlab/qemu/podlab")
    }

    /// Refused: what it said last.
    fn refused(&mut self) -> String {
        let Output { status, stderr, .. } = self.command.output().expect("vm/qemu");
        let said = String::from_utf8(stderr).expect("text");
        assert_eq!(status.code(), Some(2), "{said}");
        self.nothing_is_left();
        said
    }

    fn nothing_is_left(&self) {
        assert_eq!(self.mark.processes(), [0; 0]);
        assert!(!self.folder().exists());
    }

    /// Sends `signal` as soon as QEMU runs. Its end, and with it QEMU's.
    fn ended_by(&mut self, signal: Signal) -> ExitStatus {
        let mut up =
            self.command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("bash");
        until("QEMU", || self.mark.processes().into_iter().find(|pid| is_qemu(*pid)));
        kill(Pid::from_raw(up.id() as i32), signal).expect("it runs");
        let status = up.wait().expect("its end");
        until("the end of all", || self.mark.processes().is_empty().then_some(()));
        self.nothing_is_left();
        status
    }
}

fn is_qemu(pid: i32) -> bool {
    std::fs::read_link(format!("/proc/{pid}/exe"))
        .is_ok_and(|exe| exe.to_string_lossy().contains("qemu-system"))
}

#[test]
fn an_image_that_is_not_there_is_asked_for() {
    needs!(Need::Program("qemu-system-x86_64"), Need::Program("qemu-img"));
    let empty = tempfile::tempdir().expect("a folder");
    let image = empty.path().to_str().expect("UTF-8");
    let said = Up::new(&["--image", image]).refused();
    let expected = format!("vm/qemu: {image}/vmlinuz: cannot be read\nhint: sudo vm/image/build ");
    assert!(said.starts_with(&expected), "{said}");
}

#[test]
fn a_machine_that_is_not_up_in_time_is_taken_away_again() {
    needs!(Need::VmImage);
    let said = Up::of_image(&["--deadline", "1"]).refused();
    assert!(said.ends_with("vm/qemu: podlab: did not come up within 1 s\n"), "{said}");
}

#[test]
fn an_up_that_is_ended_takes_the_machine_along() {
    needs!(Need::VmImage);
    assert_eq!(Up::of_image(&[]).ended_by(Signal::SIGTERM).code(), Some(128 + 15));
    assert_eq!(Up::of_image(&[]).ended_by(Signal::SIGKILL).signal(), Some(9));
}
