//! `--on TARGET`: this machine, looked at from outside through an SSH server of the test's own.

mod faults;
mod left;
mod live;
mod server;

use std::fs;
use std::process::Command;

use podlab::facts::Evidence;

use crate::check::{Checked, Podlab};
use crate::means::{Started, sh};
use crate::needs;
use crate::room::{ALL_KINDS, Begun};
use crate::support::need::Need;

use server::Server;

const SSHD: [Need; 2] = [Need::Root, Need::Program("sshd")];

/// A shell that does all that is asked of PID 1 in *fake-init*.
const INIT: &str = "trap 'exit 0' TERM; echo ready; while :; do sleep 1 & wait; done";

/// `unshare --pid --fork OPTIONS sh -c INIT`, with the learner's mark.
fn init(learner: &Podlab, options: &[&str]) -> Started {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child"]).args(options).args(["sh", "-c", INIT]);
    Started::ready(command.env("PODLAB", learner.params("fake-init").name("mark")))
}

/// What `podlab check EXERCISE --on …` says on the host; judged again from its evidence, it is the same.
fn check(server: &Server, host: &Podlab, exercise: &str, more: &[&str]) -> Checked {
    let evidence = host.folder().join("evidence.json");
    let path = evidence.to_str().expect("UTF-8");
    let args = [&["check", exercise, "--format", "json", "--evidence", path], more].concat();
    let checked = Checked::from(server.run(host, &args));
    let again = Checked::from(host.run(&["judge", path, "--format", "json"]));
    assert_eq!(checked.judgement, again.judgement, "judged again from its evidence");
    checked
}

#[test]
fn a_right_solution_holds_from_outside_and_progress_is_kept_on_the_host() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let (server, host) = (Server::of(&learner), learner.elsewhere());
    let _init = init(&learner, &["--mount-proc"]);
    check(&server, &host, "fake-init", &[]).holds();
    let done = |podlab: &Podlab| {
        let list = podlab.run(&["list"]).stdout;
        String::from_utf8_lossy(&list).lines().last().expect("a line").starts_with("1 of")
    };
    assert!(done(&host), "the host has no record of it");
    assert!(!done(&learner), "it was recorded in the machine");
}

#[test]
fn a_wrong_solution_fails_from_outside_and_names_its_mistake() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let (server, host) = (Server::of(&learner), learner.elsewhere());
    let _init = init(&learner, &[]);
    check(&server, &host, "fake-init", &[]).fails_by("own-proc", "host-proc-inside");
}

#[test]
fn the_same_facts_give_the_same_verdict_inside_and_outside() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let (server, host) = (Server::of(&learner), learner.elsewhere());
    let params = learner.params("two-lives");
    let [a, b] = ["a", "b"].map(|label| learner.folder().join(params.name(label)));
    for folder in [&a, &b] {
        fs::create_dir(folder).expect("mkdir");
    }
    let mut one = sh("echo ready; read end");
    let _one = Started::ready(one.current_dir(&a));
    assert_eq!(
        check(&server, &host, "two-lives", &[]).judgement,
        learner.check("two-lives", &[]).judgement
    );
    let mut other = sh("echo ready; read end");
    let _other = Started::ready(other.current_dir(&b));
    let outside = check(&server, &host, "two-lives", &[]);
    outside.holds();
    assert_eq!(outside.judgement, learner.check("two-lives", &[]).judgement);
}

#[test]
fn what_was_prepared_in_the_machine_is_judged_from_outside() {
    needs!(SSHD[0], SSHD[1], Need::Program("nsenter"));
    let begun = Begun::new();
    let (server, host) = (Server::of(&begun.podlab), begun.podlab.elsewhere());
    assert_eq!(check(&server, &host, "locked-room", &[]).failing().len(), 3);
    begun.answer(&begun.words(&ALL_KINDS).all());
    check(&server, &host, "locked-room", &[]).holds();
}

#[test]
fn a_process_is_named_by_the_number_it_has_in_the_machine() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let (server, host) = (Server::of(&learner), learner.elsewhere());
    let init = init(&learner, &["--mount-proc"]);
    let pid = init.below(&[1]).to_string();
    check(&server, &host, "fake-init", &["--pid", &pid]).holds();
    let refused = server.run(&host, &["check", "fake-init", "--pid", "4194305"]);
    faults::is_refused(&refused, "no process has PID 4194305 on qemu:here");
}

#[test]
fn parameters_are_those_of_the_user_there_unless_others_are_asked_for() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let (server, host) = (Server::of(&learner), learner.elsewhere());
    let judged_for = |args: &[&str]| {
        let args = [&["check", "two-lives", "--format", "json"], args].concat();
        let mut command = server.command(&host, &args);
        command.env_remove("PODLAB_LEARNER").env_remove("PODLAB_SEED");
        let learner = Checked::from(command.output().expect("podlab")).judgement.learner;
        (learner.seed, learner.name)
    };
    assert_eq!(judged_for(&[]), ("podlab".to_owned(), "root".to_owned()));
    let asked = judged_for(&["--learner", "ada", "--seed", "2026"]);
    assert_eq!(asked, ("2026".to_owned(), "ada".to_owned()));
}

#[test]
fn the_result_says_where_was_looked() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let (server, host) = (Server::of(&learner), learner.elsewhere());
    let _init = init(&learner, &["--mount-proc"]);
    let text = server.run(&host, &["check", "fake-init"]).stdout;
    let text = String::from_utf8_lossy(&text);
    let judged = text.lines().find(|line| line.starts_with("judged: ")).expect("a line");
    assert!(judged.ends_with(" on qemu:here"), "{judged}");
    let json = server.run(&host, &["check", "fake-init", "--format", "json"]).stdout;
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(json["on"], "qemu:here");
}

#[test]
fn the_learners_own_podlab_in_the_machine_is_not_taken_for_their_work() {
    needs!(SSHD[0], SSHD[1]);
    let begun = Begun::new();
    let (server, host) = (Server::of(&begun.podlab), begun.podlab.elsewhere());
    // The keeper of the room is PID 1 of a namespace below, and three-deep asks for such.
    let evidence = host.folder().join("evidence.json");
    let path = evidence.to_str().expect("UTF-8");
    server.run(&host, &["check", "three-deep", "--evidence", path]);
    let evidence: Evidence =
        serde_json::from_slice(&fs::read(&evidence).expect("evidence")).expect("evidence");
    let facts = podlab::exercise::Facts {
        snapshot: &evidence.snapshot,
        params: &begun.podlab.params("three-deep"),
        start: None,
        pid: None,
    };
    let keeper = evidence.snapshot.life(begun.room.keeper).expect("the keeper");
    assert!(!facts.may_be_theirs(keeper), "{keeper}");
    let agent = evidence.snapshot.observer().expect("the agent");
    assert_eq!(agent.exe.known().map(podlab::facts::Exe::file_name), Some("podlab"));
}

#[test]
fn an_address_is_reached_by_the_users_own_openssh() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let (server, host) = (Server::of(&learner), learner.elsewhere());
    let _init = init(&learner, &["--mount-proc"]);
    let target = format!("ssh://root@127.0.0.1:{}", server.port());
    let args = ["check", "fake-init", "--format", "json"];
    let mut command = server.command_on(&host, &args, &target);
    command.env("PATH", server.path_with_own_ssh());
    Checked::from(command.output().expect("podlab")).holds();
}

#[test]
fn several_at_once_share_one_connection_and_do_not_disturb_each_other() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let server = Server::of(&learner);
    let _init = init(&learner, &["--mount-proc"]);
    let hosts = [(); 4].map(|()| learner.elsewhere());
    std::thread::scope(|scope| {
        for host in &hosts {
            scope.spawn(|| {
                let args = ["check", "two-lives", "--format", "json"];
                let checked = Checked::from(server.run(host, &args));
                assert_eq!(checked.code, 1, "{:#?}", checked.judgement);
            });
        }
    });
    assert_eq!(server.connections(), 1);
}
