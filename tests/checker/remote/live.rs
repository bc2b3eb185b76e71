//! The live screen and the doctor, of another machine.

use super::faults::deaf;
use super::server::Server;
use super::{SSHD, init};
use crate::check::Podlab;
use crate::needs;
use crate::screen::Screen;

fn watch(server: &Server, host: &Podlab, exercise: &str) -> Screen {
    Screen::new(server.command(host, &["watch", exercise]), 45, 120)
}

#[test]
fn verdicts_appear_as_the_other_machine_changes_and_go_again() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let (server, host) = (Server::of(&learner), learner.elsewhere());
    let mut screen = watch(&server, &host, "fake-init");
    screen.until_shows("root on qemu:here");
    let marked = format!("saw PODLAB={}", learner.params("fake-init").name("mark"));
    assert!(!screen.text().contains(&marked));
    let init = init(&learner, &["--mount-proc"]);
    screen.until_shows(&marked);
    screen.until_shows("✔ an orphan in there does not stay a zombie");
    screen.until_shows("? it ends on SIGTERM from outside");
    drop(init);
    screen.until(|text| !text.contains(&marked));
    screen.press("q");
    assert!(screen.ended().success());
    server.until_empty();
}

#[test]
fn a_change_that_no_event_tells_is_seen_from_outside_too() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let (server, host) = (Server::of(&learner), learner.elsewhere());
    let home = learner.folder().join(learner.params("two-lives").name("a"));
    std::fs::create_dir(&home).expect("mkdir");
    let mut screen = watch(&server, &host, "two-lives");
    screen.until_shows("of 5 points");
    let mut shell = crate::means::sh("echo ready; read folder; cd \"$folder\"; read end");
    let mut shell = crate::means::Started::ready(&mut shell);
    screen.until_shows("no process in either");
    let mut input = shell.stdin().expect("a pipe");
    std::io::Write::write_all(&mut input, format!("{}\n", home.display()).as_bytes())
        .expect("write");
    // What was seen is longer than a line: where it breaks depends on the folder's name.
    screen.until_shows("mistake: a process stands in one");
}

#[test]
fn keys_work_and_the_whole_check_is_made_there() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let (server, host) = (Server::of(&learner), learner.elsewhere());
    let mut screen = watch(&server, &host, "fake-init");
    screen.until_shows("of 8 points");
    screen.press("h");
    screen.until_shows("1 of ");
    let _init = init(&learner, &["--mount-proc"]);
    screen.until_shows("✔ an orphan in there does not stay a zombie");
    screen.press("c");
    screen.until_shows("checked: everything holds");
    screen.press("n");
    screen.until_shows("three-deep: ");
    screen.press("q");
    assert!(screen.ended().success());
    let list = host.run(&["list"]).stdout;
    assert!(String::from_utf8_lossy(&list).contains("1 of "), "it was not recorded");
}

#[test]
fn a_machine_that_hangs_up_ends_the_screen_with_one_line_and_gives_the_terminal_back() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let (server, host) = (Server::of(&learner), learner.elsewhere());
    let mut screen = watch(&server, &host, "two-lives");
    screen.until_shows("of 5 points");
    server.cut();
    assert_eq!(screen.ended().code(), Some(2));
    assert!(!screen.is_alternate());
    let text = screen.text();
    assert!(text.contains("podlab: qemu:here: it hung up before it had answered"), "{text}");
    server.until_empty();
}

#[test]
fn a_machine_that_hangs_up_during_the_whole_check_ends_the_screen() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let (server, host) = (Server::of(&learner), learner.elsewhere());
    let mut screen = watch(&server, &host, "fake-init");
    screen.until_shows("of 8 points");
    let _deaf = deaf(&learner);
    screen.until_shows("✔ an orphan in there does not stay a zombie");
    screen.press("c");
    screen.until_shows("checking");
    server.cut();
    assert_eq!(screen.ended().code(), Some(2));
    assert!(!screen.is_alternate());
}

#[test]
fn nothing_stays_in_the_machine_when_the_screen_is_killed() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let (server, host) = (Server::of(&learner), learner.elsewhere());
    let mut screen = watch(&server, &host, "two-lives");
    screen.until_shows("of 5 points");
    assert!(!server.sessions().is_empty());
    let pid = nix::unistd::Pid::from_raw(screen.pid().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("kill");
    screen.ended();
    server.until_empty();
}

#[test]
fn the_doctor_finds_there_what_it_finds_here() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let (server, host) = (Server::of(&learner), learner.elsewhere());
    let outside = server.run(&host, &["doctor"]);
    let inside = learner.run(&["doctor"]);
    assert_eq!(outside.status.code(), inside.status.code());
    let subjects = |output: &[u8]| {
        let text = String::from_utf8_lossy(output).into_owned();
        let heads = text.lines().filter(|line| line.starts_with("ok ") || line.starts_with("-- "));
        heads.map(|line| line[3..21].to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(subjects(&outside.stdout), subjects(&inside.stdout));
    assert!(String::from_utf8_lossy(&outside.stdout).contains("cgroups"));
}
