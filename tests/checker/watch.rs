//! The live screen, driven in a real terminal.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use crate::check::Podlab;
use crate::needs;
use crate::screen::Screen;
use crate::support::need::Need;

const ROWS: u16 = 45;
const COLUMNS: u16 = 120;

fn watch(podlab: &Podlab, exercise: &str) -> Screen {
    Screen::new(podlab.command(&["watch", exercise]), ROWS, COLUMNS)
}

/// `unshare --pid --fork …` with the learner's mark; it and its namespace end with this.
struct Init(Child);

impl Init {
    fn start(podlab: &Podlab, flags: &[&str], script: &str) -> Init {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--kill-child"]).args(flags).args(["sh", "-c", script]);
        command.env("PODLAB", podlab.params("fake-init").name("mark"));
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare");
        let mut init = Init(child);
        init.line();
        init
    }

    fn line(&mut self) -> String {
        let output = self.0.stdout.as_mut().expect("a pipe");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("a line");
        line
    }

    fn write(&mut self, text: &str) {
        self.0.stdin.as_mut().expect("a pipe").write_all(text.as_bytes()).expect("write");
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const INIT: &str = r#"trap "exit 0" TERM; echo ready; while :; do sleep 600 & wait; done"#;

#[test]
fn verdicts_appear_as_the_kernel_changes_and_go_again() {
    needs!(Need::Root);
    let podlab = Podlab::new();
    let marked = format!("saw PODLAB={}", podlab.params("fake-init").name("mark"));
    let mut screen = watch(&podlab, "fake-init");
    screen.until_shows("of 8 points");
    assert!(!screen.text().contains(&marked));
    let init = Init::start(&podlab, &["--mount-proc"], INIT);
    screen.until_shows(&marked);
    screen.until_shows("✔ it is PID 1 of a PID namespace below yours");
    screen.until_shows("✔ what it sees in /proc is only what is inside");
    screen.until_shows("✔ an orphan in there does not stay a zombie");
    // What would end the learner's process is not tried.
    screen.until_shows("? it ends on SIGTERM from outside");
    assert!(screen.text().contains("not tried: it would end or change"), "{}", screen.text());
    drop(init);
    screen.until(|text| !text.contains(&marked));
}

#[test]
fn a_mistake_is_recognised_explained_and_given_its_hint() {
    needs!(Need::Root);
    let podlab = Podlab::new();
    let mut screen = watch(&podlab, "fake-init");
    screen.until_shows("of 8 points");
    let _init = Init::start(&podlab, &[], INIT);
    screen.until_shows("✘ what it sees in /proc is only what is inside");
    screen.until_shows("mistake: the outer /proc is still mounted inside");
    screen.until_shows("hint: give it a mount namespace too");
}

#[test]
fn a_change_that_no_event_tells_is_seen_too() {
    let podlab = Podlab::new();
    let mut screen = watch(&podlab, "two-lives");
    screen.until_shows("0 of ");
    let homes = ["a", "b"].map(|label| {
        let home = podlab.folder().join(podlab.params("two-lives").name(label));
        std::fs::create_dir(&home).expect("mkdir");
        home
    });
    // A shell that changes its directory by itself forks nothing and runs nothing.
    let mut shells = [0, 1].map(|_| {
        let mut command = Command::new("sh");
        command.args(["-c", "read folder; cd \"$folder\"; read end"]);
        Init(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sh"))
    });
    screen.until_shows("sh ");
    for (shell, home) in shells.iter_mut().zip(&homes) {
        shell.write(&format!("{}\n", home.display()));
    }
    screen.until(|text| !text.contains('✘'));
}

#[test]
fn c_checks_with_what_disturbs_and_a_key_goes_on() {
    needs!(Need::Root);
    let podlab = Podlab::new();
    let mut screen = watch(&podlab, "fake-init");
    screen.until_shows("of 8 points");
    let mut init = Init::start(&podlab, &["--mount-proc"], INIT);
    screen.until_shows("✔ an orphan in there does not stay a zombie");
    screen.press("c");
    screen.until_shows("checked: everything holds");
    assert!(screen.text().contains("✔ it ends on SIGTERM from outside"), "{}", screen.text());
    assert!(init.0.wait().expect("wait").success(), "it was asked to end");
    screen.press(" ");
    screen.until(|text| !text.contains("✔ it ends on SIGTERM from outside"));
    screen.until_shows("1 of ");
}

#[test]
fn h_hints_and_n_goes_to_the_next_exercise() {
    let podlab = Podlab::new();
    let mut screen = watch(&podlab, "two-lives");
    screen.until_shows("two-lives: ");
    screen.press("h");
    screen.until(|text| text.contains("1 of ") || text.contains("hint:"));
    screen.press("n");
    screen.until_shows("recover-the-program: ");
    // Typed in one go, each key still counts; an arrow is none.
    screen.press("nn");
    screen.until_shows("three-deep: ");
    screen.press("\u{1b}[A");
    screen.press("q");
    assert!(screen.ended().success());
}

#[test]
fn a_screen_too_small_for_all_says_so_and_keeps_the_checks() {
    let podlab = Podlab::new();
    let mut screen = Screen::new(podlab.command(&["watch", "two-lives"]), 24, 80);
    screen.until_shows("of 5 points");
    screen.resize(12, 80);
    screen.until_shows("there is more");
}

#[test]
fn q_pressed_while_it_checks_ends_it() {
    let podlab = Podlab::new();
    let mut screen = watch(&podlab, "two-lives");
    screen.until_shows("of 5 points");
    screen.press("cq");
    assert!(screen.ended().success());
}

#[test]
fn in_a_terminal_podlab_alone_shows_the_next_exercise() {
    let podlab = Podlab::new();
    let mut screen = Screen::new(podlab.command(&[]), ROWS, COLUMNS);
    screen.until_shows(podlab::exercises::ALL[0].title);
    screen.press("q");
    assert!(screen.ended().success());
}

#[test]
fn the_terminal_is_given_back_on_q_on_control_c_and_on_a_signal() {
    let podlab = Podlab::new();
    for keys in ["q", "\u{3}"] {
        let mut screen = watch(&podlab, "fake-init");
        screen.until_shows("0 of ");
        assert!(screen.is_alternate());
        screen.press(keys);
        assert!(screen.ended().success());
        assert!(!screen.is_alternate());
    }
    let mut screen = watch(&podlab, "fake-init");
    screen.until_shows("0 of ");
    let pid = nix::unistd::Pid::from_raw(screen.pid().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("kill");
    screen.ended();
    assert!(!screen.is_alternate());
}

#[test]
fn the_screen_fits_a_window_of_another_size() {
    let podlab = Podlab::new();
    let mut screen = watch(&podlab, "fake-init");
    screen.until_shows("what was started since");
    screen.resize(30, 70);
    screen.until(|text| {
        text.contains("q quit") && text.lines().all(|line| line.chars().count() <= 70)
    });
    screen.resize(5, 20);
    screen.look_on(std::time::Duration::from_millis(300));
    screen.resize(ROWS, COLUMNS);
    screen.until_shows("what was started since");
}

#[test]
fn an_ordinary_user_without_root_sees_verdicts_too() {
    needs!(Need::Root, Need::Userns);
    let podlab = Podlab::ordinary();
    let mut screen = watch(&podlab, "fake-init");
    screen.until_shows("of 8 points");
    let mut command = Command::new("unshare");
    let flags = ["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"];
    command.args(flags).args(["sh", "-c", INIT]);
    command.env("PODLAB", podlab.params("fake-init").name("mark"));
    crate::support::user::as_ordinary(&mut command);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("unshare");
    let mut init = Init(child);
    init.line();
    screen.until_shows("✔ what it sees in /proc is only what is inside");
}
