//! The virtual machine: `vm/run` boots what `vm/build` made, under emulation.

#[path = "../support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::footprint::Mark;
use support::need::Need;

/// `vm/run`, with the image that the environment names.
fn vm_run() -> Command {
    let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("../vm/run"));
    command.stdin(Stdio::null());
    command
}

fn output(command: &mut Command) -> Output {
    command.output().expect("vm/run starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().try_into().expect("a PID"));
    kill(pid, signal).expect("the child is there");
}

#[test]
fn arguments_arrive_as_they_are_and_output_and_exit_status_come_back() {
    needs!(Need::Vm);
    let script = r#"printf '[%s]' "$@"; echo complaint >&2; exit 7"#;
    let arguments = ["", "two words", "line\nbreak", "$(id)", "';", "--"];
    let run = output(vm_run().args(["--", "sh", "-c", script, "sh"]).args(arguments));

    assert_eq!(text(&run.stdout), "[][two words][line\nbreak][$(id)]['".to_owned() + ";][--]");
    assert_eq!(text(&run.stderr), "complaint\n");
    assert_eq!(run.status.code(), Some(7));
}

#[test]
fn it_is_a_systemd_machine_with_cgroup_v2_alone_the_shared_folder_and_no_network() {
    needs!(Need::Vm);
    let shared =
        tempfile::Builder::new().prefix("shared, with space ").tempdir().expect("a folder");
    let private = tempfile::tempdir().expect("a folder");
    std::fs::write(shared.path().join("file"), "from outside\n").expect("write");
    let script = r#"
        cat /proc/1/comm /proc/self/cgroup
        findmnt --noheadings --raw --output FSTYPE --types cgroup,cgroup2
        cat /sys/fs/cgroup/cgroup.controllers
        ls /sys/class/net
        cat "$1/file"
        touch "$1/new" 2>&1
        ls "$2" 2>/dev/null || echo not there
    "#;
    let run = output(
        vm_run()
            .arg("--share")
            .arg(shared.path())
            .args(["--", "sh", "-c", script, "sh"])
            .args([shared.path(), private.path()]),
    );

    let lines: Vec<&str> = text(&run.stdout).lines().collect();
    let [comm, cgroup, mount, controllers, network, file, refusal, unshared] = lines[..] else {
        panic!("eight lines, not {lines:?}: {}", text(&run.stderr));
    };
    assert_eq!((comm, mount, network), ("systemd", "cgroup2", "lo"));
    assert_eq!(cgroup, "0::/system.slice/podlab-run.service");
    for wanted in ["cpu", "cpuset", "io", "memory", "pids"] {
        assert!(controllers.split(' ').any(|name| name == wanted), "{wanted} in {controllers}");
    }
    assert_eq!((file, unshared), ("from outside", "not there"));
    assert!(refusal.ends_with("Read-only file system"), "{refusal}");
    assert!(!shared.path().join("new").exists());
}

#[test]
fn output_comes_while_the_command_runs_and_sigterm_ends_the_machine() {
    needs!(Need::Vm);
    let mark = Mark::new("vm-term");
    let mut run = mark
        .put_on(&mut vm_run())
        .args(["--", "sh", "-c", "echo under way; exec tail -f /dev/null"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("vm/run starts");
    let mut line = String::new();
    let mut stdout = BufReader::new(run.stdout.take().expect("a pipe"));
    stdout.read_line(&mut line).expect("read");
    assert_eq!(line, "under way\n");

    signal(&run, Signal::SIGTERM);
    assert_eq!(run.wait().expect("wait").code(), Some(128 + 15));
    assert_eq!(mark.processes(), [] as [i32; 0]);
}

#[test]
fn sigkill_takes_the_machine_along() {
    needs!(Need::Vm);
    let mark = Mark::new("vm-kill");
    let mut run = mark
        .put_on(&mut vm_run())
        .args(["--", "tail", "-f", "/dev/null"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("vm/run starts");
    while !mark.processes().iter().any(|pid| runs_qemu(*pid)) {
        assert_eq!(run.try_wait().expect("wait"), None, "it ended before QEMU ran");
        std::thread::yield_now();
    }

    signal(&run, Signal::SIGKILL);
    assert_eq!(run.wait().expect("wait").signal(), Some(9));
    // Standard output ends when the last of its family is gone.
    let mut rest = Vec::new();
    run.stdout.take().expect("a pipe").read_to_end(&mut rest).expect("read");
    assert_eq!(mark.processes(), [] as [i32; 0]);
}

fn runs_qemu(pid: i32) -> bool {
    std::fs::read_link(format!("/proc/{pid}/exe"))
        .is_ok_and(|exe| exe.ends_with("qemu-system-x86_64"))
}

#[test]
fn a_deadline_that_passes_is_124_and_says_so() {
    needs!(Need::Vm);
    let mark = Mark::new("vm-deadline");
    let run = output(mark.put_on(&mut vm_run()).args(["--deadline", "1", "--", "true"]));

    assert_eq!(run.status.code(), Some(124));
    assert!(text(&run.stderr).ends_with("vm/run: the deadline of 1 s passed\n"), "{run:?}");
    assert_eq!(mark.processes(), [] as [i32; 0]);
}

#[test]
fn a_machine_that_does_not_come_up_is_125_and_shows_its_console() {
    needs!(Need::Vm);
    let broken = tempfile::tempdir().expect("a folder");
    let image = PathBuf::from(std::env::var_os("PODLAB_VM_IMAGE").expect("Need::Vm"));
    std::os::unix::fs::symlink(image.join("vmlinuz"), broken.path().join("vmlinuz"))
        .expect("symlink");
    for file in ["initrd", "disk"] {
        std::fs::write(broken.path().join(file), [0; 512]).expect("write");
    }
    let run = output(vm_run().arg("--image").arg(broken.path()).args(["--", "true"]));

    let stderr = text(&run.stderr);
    assert_eq!(run.status.code(), Some(125), "{stderr}");
    assert!(stderr.contains("VFS: Unable to mount root fs"), "{stderr}");
    assert!(stderr.ends_with("vm/run: the machine ended before its command did\n"), "{stderr}");
}

#[test]
fn without_an_image_or_a_command_it_says_what_to_do() {
    let empty = tempfile::tempdir().expect("a folder");
    let run = output(vm_run().arg("--image").arg(empty.path()).args(["--", "true"]));
    assert_eq!(run.status.code(), Some(125));
    let missing = empty.path().join("vmlinuz");
    let expected =
        format!("vm/run: {}: cannot be read\nhint: vm/build makes it\n", missing.display());
    assert_eq!(text(&run.stderr), expected);

    let run = output(&mut vm_run());
    assert_eq!(run.status.code(), Some(125));
    assert!(text(&run.stderr).starts_with("vm/run: no command\nhint: vm/run [--share DIR]"));
}
