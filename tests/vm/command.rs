//! `podlab vm` with a real machine, under plain QEMU: started, used, judged, and gone.

use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::machine::turn;
use crate::needs;
use crate::support::footprint::Mark;
use crate::support::need::Need;
use crate::support::running::until;

/// A caller with a state and a runtime folder of their own.
struct Caller {
    folder: TempDir,
    mark: Mark,
}

impl Caller {
    fn podlab(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_podlab"));
        for name in ["XDG_STATE_HOME", "XDG_RUNTIME_DIR", "PODLAB_HOME"] {
            command.env(name, self.folder.path());
        }
        command.env("PODLAB_LEARNER", "vm command").env_remove("SUDO_UID").args(args);
        self.mark.put_on(&mut command).stdin(Stdio::null()).output().expect("podlab")
    }

    #[track_caller]
    fn says(&self, args: &[&str], code: i32) -> (String, String) {
        let output = self.podlab(args);
        let [printed, said] =
            [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
        assert_eq!(output.status.code(), Some(code), "podlab {args:?}: {printed}{said}");
        (printed, said)
    }

    /// What is in its folders, apart from progress and from what `vm/accel` keeps.
    fn left(&self) -> Vec<String> {
        let mut find = Command::new("find");
        find.arg(self.folder.path()).args(["(", "-type", "s", "-o", "-path", "*/qemu*", ")"]);
        let found = find.output().expect("find").stdout;
        String::from_utf8_lossy(&found).lines().map(str::to_owned).collect()
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.mark.end_all();
    }
}

#[test]
fn a_machine_is_started_logged_in_to_judged_and_ended_without_a_trace() {
    needs!(Need::VmImage);
    let _turn = turn();
    let caller =
        Caller { folder: tempfile::tempdir().expect("a folder"), mark: Mark::new("vm-command") };

    let (_, said) = caller.says(&["vm", "up", "--backend", "qemu"], 0);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "qemu: it is here");
    let [.., up, next] = lines[..] else { panic!("{said}") };
    assert!(up.starts_with("podlab is up, after ") && up.ends_with(" s"), "{said}");
    assert_eq!(next, "next: podlab vm ssh; from out here, podlab check --on qemu");
    let (_, said) = caller.says(&["vm", "up"], 0);
    assert!(said.starts_with("podlab is up already, by qemu\n"), "{said}");

    let (status, _) = caller.says(&["vm", "status", "--backend", "qemu"], 0);
    assert!(status.starts_with("qemu     podlab  up, ") && status.lines().count() == 1, "{status}");
    let script = "cat; id -un; echo $PODLAB_LEARNER; exit 7";
    let (printed, _) = caller.says(&["vm", "ssh", "--", script], 7);
    assert_eq!(printed, "learner\nvm command\n");

    // The check leaves a shared connection for the next one; it goes with the machine.
    let (printed, _) = caller.says(&["check", "two-lives", "--on", "qemu"], 1);
    assert!(printed.contains("judged: on qemu"), "{printed}");
    assert!(caller.left().len() > 1, "{:?}", caller.left());
    let (_, said) = caller.says(&["vm", "down"], 0);
    assert!(said.ends_with("podlab is gone, and all that qemu had of it\n"), "{said}");
    until("end of it", || caller.mark.processes().is_empty().then_some(()));
    assert_eq!(caller.left(), [""; 0]);
    let (_, said) = caller.says(&["vm", "down"], 2);
    assert_eq!(said, "podlab: there is no machine 'podlab'\nhint: podlab vm up starts one\n");
}
