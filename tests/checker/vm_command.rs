//! `podlab vm`: which tool it takes, what it tells it, and what it says when there is none. A real
//! machine is started in tests/vm; here a stand-in that keeps a diary is on the PATH, for Lima is not
//! in Debian.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::needs;
use crate::support::need::{Need, program};
use crate::support::user::{as_ordinary, copy_program, folder};

/// An ordinary user with a checkout of the course and a PATH on which little is.
struct User {
    home: TempDir,
}

impl User {
    fn new() -> User {
        let user = User { home: folder() };
        for folder in ["labs/src/bin", "vm", "target/debug", "bin", ".lima"] {
            fs::create_dir_all(user.path(folder)).expect("a folder");
        }
        for file in ["Cargo.toml", "vm/lima.yaml"] {
            fs::write(user.path(file), "").expect("a file");
        }
        copy_program(Path::new(env!("CARGO_BIN_EXE_podlab")), &user.path("target/debug/podlab"));
        user.has("vm/accel", "echo tcg; echo 'slow, says the test' >&2");
        for tool in ["sh", "setpriv", "cat", "mkdir", "rm", "touch"] {
            symlink(program(tool).expect(tool), user.path("bin").join(tool)).expect("symlink");
        }
        chown(user.home.path());
        user
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A program of this name that is a shell script.
    fn has(&self, name: &str, script: &str) {
        let source = self.path("script");
        fs::write(&source, format!("#!/bin/sh\n{script}\n")).expect("a script");
        copy_program(&source, &self.path(name));
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.path("target/debug/podlab"));
        command.arg("vm").args(args).env_clear().env("PATH", self.path("bin"));
        command.env("HOME", self.home.path());
        as_ordinary(&mut command);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("podlab")
    }

    fn diary(&self) -> String {
        fs::read_to_string(self.path("diary")).unwrap_or_default()
    }

    /// A stand-in for `limactl`, which makes and deletes the folders of machines.
    fn has_lima(&self) {
        let home = self.home.path().display();
        self.has(
            "bin/limactl",
            &format!(
                r#"
                cd {home}/.lima
                case $1 in
                list) [ -d "$4" ] && cat "$4/state" ;;
                start)
                    echo "$@" "${{QEMU_SYSTEM_X86_64-}}" >>{home}/diary
                    echo 'stand-in: starting'
                    mkdir -p podlab && echo Running >podlab/state && echo >podlab/ssh.config ;;
                delete) echo "$@" >>{home}/diary; rm -r "$3" ;;
                esac"#
            ),
        );
    }
}

fn chown(path: &Path) {
    let status = Command::new("chown").args(["-R", "--reference"]).arg(path).arg(path).status();
    assert!(status.expect("chown").success());
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// One line, and at most one hint.
#[track_caller]
fn is_refused(output: &Output, line: &str, hint: &str) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(printed(output), "");
    let lines: Vec<&str> = said.lines().collect();
    let [first, second] = lines[..] else { panic!("two lines, not {lines:?}") };
    assert!(first.starts_with("podlab: ") && first.contains(line), "{said}");
    assert!(second.starts_with("hint: ") && second.contains(hint), "{said}");
}

#[test]
fn with_nothing_installed_each_tool_is_named_and_the_way_to_get_one() {
    let user = User::new();
    let why = "nothing here can run the machine: lima: no limactl on the PATH; \
               vagrant: no vagrant on the PATH; qemu: no qemu-system-x86_64 on the PATH";
    is_refused(&user.run(&["up"]), why, "sudo apt install qemu-system-x86");
    let one = "nothing here can run the machine: lima: no limactl on the PATH";
    is_refused(&user.run(&["up", "--backend", "lima"]), one, "https://lima-vm.io");

    let status = user.run(&["status"]);
    assert_eq!(status.status.code(), Some(1));
    let lines =
        ["lima     podlab  no limactl on the PATH", "vagrant  podlab  no vagrant on the PATH"];
    assert!(printed(&status).starts_with(&lines.join("\n")), "{}", printed(&status));
}

#[test]
fn a_machine_that_is_not_there_is_named() {
    let user = User::new();
    user.has_lima();
    for verb in ["ssh", "down"] {
        is_refused(&user.run(&[verb]), "there is no machine 'podlab'", "podlab vm up");
        let of = "there is no machine 'web' of lima's";
        is_refused(&user.run(&[verb, "web", "--backend", "lima"]), of, "podlab vm up");
    }
    assert_eq!(user.diary(), "");
}

#[test]
fn a_tool_or_a_name_that_cannot_be_is_refused() {
    let user = User::new();
    is_refused(&user.run(&["up", "--backend", "docker"]), "'docker'", "lima, vagrant, qemu");
    for name in ["../x", "a b", "$(id)", ""] {
        is_refused(&user.run(&["up", name]), "cannot be the name of a machine", "--help");
    }
    let help = user.run(&["--help"]);
    for verb in ["up", "ssh", "status", "down"] {
        assert!(printed(&help).contains(&format!("\n  {verb} ")), "{}", printed(&help));
    }
}

#[test]
fn an_image_that_only_root_can_make_is_asked_for() {
    let user = User::new();
    user.has("bin/qemu-system-x86_64", "exit 1");
    let build = user.path("vm/image/build").display().to_string();
    let hint = format!("sudo {build} makes one");
    user.has("vm/qemu", "echo podlab: none; exit 1");
    is_refused(&user.run(&["up"]), "qemu: no image yet", &hint);
}

#[test]
fn what_is_installed_is_started_with_its_file_said_to_be_slow_and_ended() {
    let user = User::new();
    user.has_lima();
    let up = user.run(&["up"]);
    let text = said(&up);
    assert!(up.status.success(), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["lima: it is here", "slow, says the test"]);
    assert!(lines[2].ends_with(" s  stand-in: starting"), "{text}");
    assert!(lines[3].starts_with("podlab is up, after "), "{text}");
    assert_eq!(lines[4], "next: podlab vm ssh; from out here, podlab check --on lima");
    let home = user.home.path().display();
    let started = format!(
        "start --tty=false --timeout=40m --name podlab --set .param.checkout = \"{home}\" \
         {home}/vm/lima.yaml qemu-system-x86_64 "
    );
    assert!(user.diary().starts_with(&started), "{}", user.diary());

    let again = user.run(&["up"]);
    assert!(again.status.success() && said(&again).starts_with("podlab is up already, by lima\n"));
    let status = user.run(&["status"]);
    assert!(status.status.success() && printed(&status).starts_with("lima     podlab  up\n"));

    let down = user.run(&["down"]);
    assert!(down.status.success(), "{}", said(&down));
    assert!(user.diary().ends_with("\ndelete --force podlab\n"), "{}", user.diary());
    is_refused(&user.run(&["down"]), "there is no machine 'podlab'", "podlab vm up");
}

#[test]
fn lima_is_given_the_image_that_is_here() {
    let user = User::new();
    user.has_lima();
    fs::create_dir(user.path("target/vm")).expect("a folder");
    fs::write(user.path("target/vm/disk.qcow2"), "").expect("a file");
    assert!(user.run(&["up"]).status.success());
    let home = user.home.path().display();
    let started = format!(
        "--set .images[0].location = \"{home}/target/vm/disk.qcow2\" {home}/vm/lima-image.yaml "
    );
    assert!(user.diary().contains(&started), "{}", user.diary());
}

#[test]
fn ssh_takes_its_place_with_the_tools_configuration_and_passes_on_whose_parameters() {
    let user = User::new();
    user.has_lima();
    assert!(user.run(&["up"]).status.success());
    user.has("bin/ssh", r#"echo "$@"; echo "$PODLAB_LEARNER $PODLAB_SEED"; exit 7"#);
    let ssh = user
        .command(&["ssh", "--", "ls", "-l", "a  b"])
        .envs([("PODLAB_LEARNER", "eve"), ("PODLAB_SEED", "s")])
        .output()
        .expect("podlab");
    let config = user.path(".lima/podlab/ssh.config").display().to_string();
    let expected = format!(
        "-F {config} -oSendEnv=PODLAB_LEARNER PODLAB_SEED -- lima-podlab ls -l a  b\neve s\n"
    );
    assert_eq!((printed(&ssh), ssh.status.code()), (expected, Some(7)), "{}", said(&ssh));
}

#[test]
fn a_machine_that_is_off_or_half_up_is_not_logged_in_to() {
    let user = User::new();
    user.has_lima();
    assert!(user.run(&["up"]).status.success());
    fs::write(user.path(".lima/podlab/state"), "Stopped\n").expect("write");
    let start = "podlab vm up --backend lima";
    is_refused(&user.run(&["ssh"]), "the machine podlab is off", start);
    fs::write(user.path(".lima/podlab/state"), "Broken\n").expect("write");
    is_refused(&user.run(&["ssh"]), "the machine podlab is not up: broken", "podlab vm down");
}

#[test]
fn a_tool_that_fails_is_quoted_with_its_exit_status() {
    let user = User::new();
    user.has("bin/limactl", "[ $1 = start ] && echo out of disk >&2; exit 9");
    let up = user.run(&["up"]);
    let text = said(&up);
    assert_eq!(up.status.code(), Some(2), "{text}");
    assert!(text.contains(" s  out of disk\n"), "{text}");
    assert!(text.ends_with("podlab: starting podlab: it ended with exit status: 9\n"), "{text}");
}

#[test]
fn lima_is_not_asked_to_run_as_root() {
    needs!(Need::Root);
    let user = User::new();
    user.has_lima();
    let mut command = Command::new(user.path("target/debug/podlab"));
    command.args(["vm", "up", "--backend", "lima"]).env_clear().env("PATH", user.path("bin"));
    let output = command.env("HOME", user.home.path()).output().expect("podlab");
    is_refused(&output, "lima: it refuses to run as root", "ordinary user");
}
