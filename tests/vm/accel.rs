//! `vm/accel`: KVM only where a guest kernel starts under it, and each reason against it told apart.

use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::needs;
use crate::programs::checkout;
use crate::support::need::Need;

fn script() -> PathBuf {
    checkout().join("vm/accel")
}

/// What `vm/accel` says on a machine whose /dev holds what `devices` makes; `before` runs it.
fn on_a_machine_with(devices: &str, state: &TempDir, before: &str) -> Output {
    let inner = format!(
        "mount -t tmpfs none /dev && chmod 755 /dev && mknod -m 666 /dev/null c 1 3 && {devices} \
         && exec {before} \"$0\" /etc/passwd"
    );
    Command::new("unshare")
        .args(["--mount", "sh", "-c", &inner])
        .arg(script())
        .env("XDG_STATE_HOME", state.path())
        .env_remove("PODLAB_ACCEL")
        .output()
        .expect("unshare")
}

#[track_caller]
fn says(output: &Output, accel: &str, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{accel}\n"), "{said}");
    assert!(said.starts_with(why), "{said}");
}

#[test]
fn without_dev_kvm_it_is_emulation() {
    needs!(Need::Root);
    let state = tempfile::tempdir().unwrap();
    let output = on_a_machine_with("true", &state, "");
    says(&output, "tcg", "there is no /dev/kvm: software emulation, slower\n");
}

#[test]
fn a_dev_kvm_that_may_not_be_opened_is_told_apart_and_the_group_named() {
    needs!(Need::Root);
    let state = tempfile::tempdir().unwrap();
    let as_nobody = "setpriv --reuid=65534 --clear-groups";
    let output = on_a_machine_with("mknod -m 600 /dev/kvm c 10 232", &state, as_nobody);
    says(
        &output,
        "tcg",
        "/dev/kvm cannot be opened (permission denied): software emulation, slower\n",
    );
    assert!(!String::from_utf8_lossy(&output.stderr).contains("hint: "), "root's group is no way");

    let groups = std::fs::read_to_string("/etc/group").unwrap();
    if groups.lines().any(|line| line.starts_with("kvm:")) {
        let device = "mknod -m 660 /dev/kvm c 10 232 && chgrp kvm /dev/kvm";
        let output = on_a_machine_with(device, &state, as_nobody);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("\nhint: sudo usermod --append --groups kvm "), "{said}");
    }
}

#[test]
fn a_dev_kvm_under_which_no_guest_runs_is_not_taken_and_that_is_kept_until_the_next_boot() {
    needs!(Need::Root, Need::Program("qemu-system-x86_64"));
    let state = tempfile::tempdir().unwrap();
    // What opens, and is no KVM.
    let device = "mknod -m 666 /dev/kvm c 1 3";
    let why = "/dev/kvm is there, but QEMU cannot run a guest under it (failed to initialize kvm: ";
    says(&on_a_machine_with(device, &state, ""), "tcg", why);

    let kept = state.path().join("podlab/accel");
    let text = std::fs::read_to_string(&kept).unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(text.starts_with(&format!("{} tcg {why}", boot.trim())), "{text}");

    std::fs::write(&kept, format!("{} kvm kept\n", boot.trim())).unwrap();
    says(&on_a_machine_with(device, &state, ""), "kvm", "kept\n");
    std::fs::write(&kept, "another-boot kvm kept\n").unwrap();
    says(&on_a_machine_with(device, &state, ""), "tcg", why);
}

#[test]
fn podlab_accel_is_an_answer_without_asking_and_must_be_one() {
    let ask = |accel| Command::new(script()).env("PODLAB_ACCEL", accel).output().unwrap();
    says(&ask("kvm"), "kvm", "PODLAB_ACCEL says so\n");
    says(&ask("tcg"), "tcg", "PODLAB_ACCEL says so\n");
    let refused = ask("hvf");
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(said, "vm/accel: PODLAB_ACCEL=hvf: neither kvm nor tcg\n");
}
