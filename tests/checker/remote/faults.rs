//! A machine that cannot be looked at: one clear line, exit status 2, no verdict, nothing recorded.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use podlab::facts::Evidence;

use super::server::{Manner, Server};
use super::{INIT, SSHD, init};
use crate::check::{Checked, Podlab};
use crate::means::Started;
use crate::needs;
use crate::support::need::Need;
use crate::support::running::until;
use crate::support::user::ordinary;

/// Refused with one line and, at most, one hint; nothing on standard output.
#[track_caller]
pub(super) fn is_refused(output: &Output, line: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    // Building the podlab that is sent, and the lock on the folder it is built in, are told before.
    let told = |line: &&str| line.starts_with("podlab: building") || line.starts_with("    ");
    let lines: Vec<&str> = said.lines().filter(|line| !told(line)).collect();
    assert!(lines[0].starts_with("podlab: ") && lines[0].contains(line), "{said}");
    assert!(lines[1..].iter().all(|line| line.starts_with("hint: ")), "{said}");
    assert!(lines.len() == 2, "{said}");
}

/// A check of *two-lives* is refused with `line`, and nothing is recorded.
#[track_caller]
fn check_is_refused(server: &Server, line: &str) {
    let host = Podlab::new();
    is_refused(&server.run(&host, &["check", "two-lives"]), &format!("qemu:here: {line}"));
    assert!(!host.folder().join("state/state.json").exists(), "something was recorded");
}

/// A copy of /etc, to be changed, in the place of /etc.
const OWN_ETC: &str = "cp -a /etc etc && mount --bind etc /etc";

/// A user `ada` with a home folder and a shell.
fn with_ada(more: &str) -> String {
    let id = ordinary();
    let entry = format!("ada:x:{id}:{id}::$PWD/ada:/bin/sh");
    format!(
        "{OWN_ETC} && mkdir ada && echo {entry} >>/etc/passwd && echo 'ada:*:1::::::' >>/etc/shadow && {more}"
    )
}

/// A server whose user is not root, after these changes to the machine.
fn of_ada(learner: &Podlab, more: &str) -> Server {
    Server::with(learner, &Manner { user: "ada", prepare: &with_ada(more), ..Manner::default() })
}

#[test]
fn a_machine_that_is_down_is_named_with_how_to_start_it() {
    needs!(SSHD[0], SSHD[1]);
    let server = Server::down();
    check_is_refused(&server, "nothing listens there");
    let said = server.run(&Podlab::new(), &["check", "two-lives"]).stderr;
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains("hint: start it: podlab vm up --backend qemu here"), "{said}");
}

#[test]
fn a_machine_that_was_never_started_is_named() {
    let host = Podlab::new();
    for target in ["qemu:none", "lima:none"] {
        let mut command = host.command(&["check", "two-lives", "--on", target]);
        command.env("XDG_STATE_HOME", host.folder()).env("LIMA_HOME", host.folder());
        is_refused(&command.output().expect("podlab"), &format!("{target}: it is not up: no "));
    }
}

#[test]
fn a_tool_that_is_not_installed_is_named() {
    let host = Podlab::new();
    let mut command = host.command(&["check", "two-lives", "--on", "vagrant"]);
    is_refused(&command.env("PATH", host.folder()).output().expect("podlab"), "vagrant: ");
    let mut command = host.command(&["check", "two-lives", "--on", "ssh://127.0.0.1:1"]);
    is_refused(&command.env("PATH", host.folder()).output().expect("podlab"), "ssh: ");
}

#[test]
fn what_is_no_target_is_refused_with_the_forms_that_there_are() {
    for target in ["docker", "qemu:a b", "ssh://-oProxyCommand=id", "qemu:../../etc"] {
        let output = Podlab::new().run(&["check", "two-lives", "--on", target]);
        is_refused(&output, "--on: ");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("it can be vagrant[:NAME], lima[:NAME]"), "{said}");
    }
}

#[test]
fn a_machine_that_takes_connections_and_says_nothing_is_half_booted() {
    needs!(SSHD[0], SSHD[1]);
    let server = Server::odd(|socket| {
        // Open for ever.
        std::mem::forget(socket);
        None
    });
    check_is_refused(&server, "it takes connections and says nothing: it is half booted");
}

#[test]
fn a_machine_that_hangs_up_at_once_is_half_booted() {
    needs!(SSHD[0], SSHD[1]);
    check_is_refused(&Server::odd(|_| None), "it hung up at once");
}

#[test]
fn a_machine_that_speaks_another_protocol_is_no_verdict() {
    needs!(SSHD[0], SSHD[1]);
    let server = Server::odd(|socket| {
        let _ = fs::File::from(socket).write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        None
    });
    check_is_refused(&server, "");
}

#[test]
fn a_machine_that_boots_and_lets_nobody_in_yet_says_so() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let nologin = "echo 'System is booting up. Unprivileged users are not permitted to log in yet.' >/etc/nologin";
    check_is_refused(&of_ada(&learner, nologin), "it is still booting");
}

#[test]
fn another_host_key_than_the_known_one_is_refused() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let server = Server::of(&learner);
    let other = fs::read_to_string(server.folder().join("user.pub")).expect("a key");
    fs::write(server.known_hosts(), format!("podlab-test {other}")).expect("known_hosts");
    check_is_refused(&server, "it shows another host key than the known one");
    fs::write(server.known_hosts(), "").expect("known_hosts");
    check_is_refused(&server, "its host key is not known");
}

#[test]
fn a_key_that_is_not_accepted_is_said() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let manner = Manner { config: "AuthorizedKeysFile none", ..Manner::default() };
    check_is_refused(&Server::with(&learner, &manner), "it accepts none of your keys");
}

#[test]
fn a_user_who_is_not_root_and_has_no_sudo_is_said() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let without = "if [ -e /usr/bin/sudo ]; then mount --bind /dev/null /usr/bin/sudo; fi";
    check_is_refused(&of_ada(&learner, without), "its user is not root, and there is no sudo");
}

#[test]
fn a_sudo_that_asks_for_a_password_is_said() {
    needs!(SSHD[0], SSHD[1], Need::Program("sudo"));
    let learner = Podlab::new();
    let asking = "echo 'ada ALL=(ALL) ALL' >/etc/sudoers";
    check_is_refused(&of_ada(&learner, asking), "sudo refuses: a password is required");
}

#[test]
fn a_user_with_sudo_is_the_learner() {
    needs!(SSHD[0], SSHD[1], Need::Program("sudo"));
    let learner = Podlab::new();
    let server = of_ada(&learner, "echo 'ada ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers");
    let host = Podlab::new();
    let args = ["check", "two-lives", "--format", "json"];
    let mut command = server.command(&host, &args);
    command.env_remove("PODLAB_LEARNER");
    assert_eq!(Checked::from(command.output().expect("podlab")).judgement.learner.name, "ada");
    let findings = server.run(&host, &["doctor"]).stdout;
    let findings = String::from_utf8_lossy(&findings);
    let user = format!("user {}, without CAP_SYS_ADMIN", ordinary());
    assert!(findings.contains(&user), "{findings}");
}

#[test]
fn a_shell_that_prints_at_login_is_quoted() {
    needs!(SSHD[0], SSHD[1], Need::Program("bash"));
    let learner = Podlab::new();
    let printing = format!(
        "{OWN_ETC} && sed -i \"s|^root:.*|root:x:0:0::$PWD:/bin/bash|\" /etc/passwd && echo 'echo welcome to the machine' >.bashrc"
    );
    let server = Server::with(&learner, &Manner { prepare: &printing, ..Manner::default() });
    check_is_refused(&server, "its shell prints 'welcome to the machine'");
}

#[test]
fn a_machine_of_an_unknown_type_is_said() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let manner = Manner {
        prepare: OWN_RUN,
        config: "ForceCommand setarch i686 sh -c \"$SSH_ORIGINAL_COMMAND\"",
        ..Manner::default()
    };
    let server = Server::with(&learner, &manner);
    let host = Podlab::new();
    let refused = server.run(&host, &["check", "two-lives"]);
    is_refused(&refused, "there is no podlab for machines of type i686");
}

/// A /run of the server's own.
const OWN_RUN: &str = "mount -t tmpfs -o mode=755 none /run && mkdir -m 755 /run/sshd";

#[test]
fn where_nothing_in_run_can_be_run_another_place_is_taken() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let prepare = "mount -t tmpfs -o mode=755,noexec none /run && mkdir -m 755 /run/sshd && \
                   mount -t tmpfs -o mode=755 none /dev && mknod -m 666 /dev/null c 1 3";
    let server = Server::with(&learner, &Manner { prepare, ..Manner::default() });
    let (host, program) = (Podlab::new(), program_in(&server));
    assert!(program.starts_with("/dev/podlab-"), "{program}");
    let again = Checked::from(server.run(&host, &["check", "two-lives", "--format", "json"]));
    assert_eq!(again.code, 1);
}

#[test]
fn where_nothing_can_be_run_at_all_it_is_said() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let prepare = "mount -t tmpfs -o mode=755,noexec none /run && mkdir -m 755 /run/sshd && \
                   mount -t tmpfs -o mode=755,noexec none /dev && mknod -m 666 /dev/null c 1 3";
    let server = Server::with(&learner, &Manner { prepare, ..Manner::default() });
    check_is_refused(&server, "nothing can be run from /run or /dev there");
}

#[test]
fn a_run_without_room_is_said() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let prepare = OWN_RUN.replace("mode=755", "mode=755,size=1m");
    let server = Server::with(&learner, &Manner { prepare: &prepare, ..Manner::default() });
    check_is_refused(&server, "/run there has no room for podlab, which is ");
}

#[test]
fn a_planted_program_is_neither_run_nor_followed() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let program = program_in(&Server::of(&learner));
    let folder = program.strip_suffix("/podlab").expect("it is called podlab");
    let script = "echo '#!/bin/sh' >mine/podlab && echo \"touch $PWD/was-run\" >>mine/podlab && chmod 755 mine/podlab";
    let id = ordinary();
    let plants = [
        format!("mkdir mine && {script} && chown -R {id} mine && ln -s $PWD/mine {folder}"),
        format!("mkdir mine && {script} && chown -R {id} mine && mv mine {folder}"),
        format!("mkdir mine && {script} && mv mine/podlab {folder}"),
    ];
    for plant in plants {
        let prepare = format!("{OWN_RUN} && {plant}");
        let server = Server::with(&learner, &Manner { prepare: &prepare, ..Manner::default() });
        check_is_refused(&server, &format!("{folder} there is not a folder of root's"));
        assert!(!server.folder().join("was-run").exists());
        assert!(!server.folder().join("mine/new").exists());
    }
}

/// Where the agent's program lies in a machine.
fn program_in(server: &Server) -> String {
    let host = Podlab::new();
    let evidence = host.folder().join("evidence.json");
    let path = evidence.to_str().expect("UTF-8");
    let output = server.run(&host, &["check", "two-lives", "--evidence", path]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let evidence: Evidence =
        serde_json::from_slice(&fs::read(&evidence).expect("evidence")).expect("evidence");
    let agent = evidence.snapshot.observer().expect("the agent");
    agent.exe.known().expect("its program").path.clone()
}

/// PID 1 of a namespace that does not end on SIGTERM: the experiment with it takes five seconds.
pub(super) fn deaf(learner: &Podlab) -> Started {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c"]);
    command.arg(INIT.replace("exit 0", ":"));
    Started::ready(command.env("PODLAB", learner.params("fake-init").name("mark")))
}

/// A check on the host that waits for the end of a process that does not end.
pub(super) struct Checking {
    child: Child,
    said: BufReader<ChildStderr>,
    /// The agent and its probe in the machine.
    pub(super) sessions: Vec<i32>,
}

impl Checking {
    pub(super) fn begin(server: &Server, host: &Podlab) -> Checking {
        let mut command = server.command(host, &["check", "fake-init"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("podlab");
        let mut said = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut line = String::new();
        while !line.starts_with("podlab: last, SIGTERM to process") {
            line.clear();
            assert!(said.read_line(&mut line).expect("a line") > 0, "it ended");
        }
        let sessions = until("an agent and its probe", || {
            let sessions = server.sessions();
            (sessions.len() >= 2).then_some(sessions)
        });
        Checking { child, said, sessions }
    }

    pub(super) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// Waits for its end.
    pub(super) fn end(mut self) -> Output {
        let mut stderr = Vec::new();
        self.said.read_to_end(&mut stderr).expect("its last words");
        let output = self.child.wait_with_output().expect("wait");
        Output { stderr, ..output }
    }
}

#[test]
fn a_connection_cut_midway_is_no_verdict() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let (server, host) = (Server::of(&learner), learner.elsewhere());
    let _deaf = deaf(&learner);
    let checking = Checking::begin(&server, &host);
    server.cut();
    is_refused(&checking.end(), "qemu:here: it hung up before it had answered");
    assert!(!host.folder().join("state/state.json").exists(), "something was recorded");
    server.until_empty();
}

#[test]
fn an_agent_that_is_killed_midway_is_no_verdict() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let (server, host) = (Server::of(&learner), learner.elsewhere());
    let _deaf = deaf(&learner);
    let checking = Checking::begin(&server, &host);
    let agent = checking.sessions.iter().copied().min().expect("an agent");
    kill(Pid::from_raw(agent), Signal::SIGKILL).expect("kill");
    is_refused(&checking.end(), "qemu:here: it hung up before it had answered");
    server.until_empty();
    // The connection is still good.
    let _init = init(&learner, &["--mount-proc"]);
    assert!(server.run(&host, &["check", "two-lives"]).status.code() == Some(1));
}

#[test]
fn a_connection_that_died_unseen_is_made_anew() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let (server, host) = (Server::of(&learner), learner.elsewhere());
    assert_eq!(server.run(&host, &["check", "two-lives"]).status.code(), Some(1));
    server.cut();
    assert_eq!(server.run(&host, &["check", "two-lives"]).status.code(), Some(1));
}
