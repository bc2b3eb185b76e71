//! `fake-init` says what is so, and is the init that it shows.

use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use rstest::rstest;

use crate::needs;
use crate::support::footprint::mounts_with;
use crate::support::need::Need;
use crate::support::running::{Running, children, start, status_field, until};
use crate::support::user::{as_ordinary, copy_of, folder};

const LAB: &str = env!("CARGO_BIN_EXE_fake-init");

/// The lab with a command after `--`.
fn lab(command: &[&str]) -> Command {
    let mut lab = Command::new(LAB);
    if !command.is_empty() {
        lab.arg("--").args(command);
    }
    lab
}

fn link(path: &str) -> String {
    std::fs::read_link(path).expect(path).display().to_string()
}

/// PID 1 inside, once it has started its command.
fn inner_init(running: &Running) -> (i32, i32) {
    let init = running.await_child();
    (init, until("a command", || children(init).first().copied()))
}

/// What the lab prints to a user of either kind.
fn shown(ordinary: bool) -> (i32, String) {
    let folder = folder();
    let mut lab = Command::new(copy_of(LAB.as_ref(), folder.path()));
    if ordinary {
        as_ordinary(&mut lab);
    }
    let lab = start("fake-init-shown", &mut lab);
    let pid = lab.pid();
    let ended = lab.end();
    assert_eq!(ended.code, 0, "{}", ended.text);
    (pid, ended.text)
}

fn assert_shows_an_init(pid: i32, text: &str) {
    let ours = link("/proc/self/ns/pid");
    assert!(text.starts_with(&format!("here     pid {pid}, in {ours}\n")), "{text}");
    assert!(text.contains(&format!("parent {ours}\n")), "{text}");
    let init = text.split("it is ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a pid");
    assert!(text.contains(&format!("/proc/{init}/status  NSpid: {init} 1\n")), "{text}");
    assert!(text.contains("inside   getpid() = 1, getppid() = 0\n"), "{text}");
    assert!(text.contains(&format!(" processes, /proc/self is {init}\n")), "{text}");
    assert!(text.contains("mounted anew: 1 process, fake-init(1), /proc/self is 1\n"), "{text}");
    assert!(text.contains("1 is here to say so\n"), "{text}");
    assert!(text.contains("4: its parent 3 exited, getppid() = 1\n"), "{text}");
    assert!(text.contains("1 waits for it: 4 exited with 0\n"), "{text}");
    assert!(text.contains(&format!("SIGTERM from outside: {init} is still there\n")), "{text}");
    assert!(text.contains(&format!("SIGKILL from outside: {init} was killed by SIGKILL, ")));
    assert!(text.trim_end().ends_with(" has ended with it"), "{text}");
}

#[test]
fn root_sees_an_init_from_both_sides() {
    needs!(Need::Root);
    let (pid, text) = shown(false);
    assert_shows_an_init(pid, &text);
    assert!(text.contains("clone    CLONE_NEWNS | CLONE_NEWPID | SIGCHLD\n"), "{text}");
}

#[test]
fn an_ordinary_user_sees_it_by_way_of_a_user_namespace() {
    needs!(Need::Userns);
    let (pid, text) = shown(true);
    assert_shows_an_init(pid, &text);
    assert!(text.contains("CLONE_NEWUSER"), "{text}");
}

#[test]
fn a_command_is_the_child_of_pid_1_and_sees_only_what_is_inside() {
    needs!(Need::Root);
    let look = "echo $$ $PPID; echo /proc/[0-9]*; cat";
    let mut lab = start("fake-init-command", &mut lab(&["sh", "-c", look]));
    let (init, command) = inner_init(&lab);
    lab.read_until("/proc/2\n");
    assert!(lab.text.contains("\n2 1\n/proc/1 /proc/2\n"), "{}", lab.text);
    assert_eq!(status_field(init, "NSpid"), Some(format!("{init} 1")));
    assert_eq!(status_field(command, "NSpid"), Some(format!("{command} 2")));
    assert_ne!(link(&format!("/proc/{command}/ns/pid")), link("/proc/self/ns/pid"));
    assert_ne!(link(&format!("/proc/{command}/ns/mnt")), link("/proc/self/ns/mnt"));
    assert_eq!(lab.end().code, 0);
}

#[test]
fn standard_output_is_the_commands_alone() {
    needs!(Need::Root);
    let output = lab(&["echo", "hello"]).output().expect("run");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello\n");
}

#[rstest]
#[case::success(&["true"], 0)]
#[case::a_code_of_its_own(&["sh", "-c", "exit 7"], 7)]
#[case::a_signal(&["sh", "-c", "kill -KILL $$"], 137)]
#[case::not_found(&["/nowhere/no-such-program"], 127)]
#[case::not_to_be_run(&["/"], 126)]
fn the_exit_code_is_the_commands(#[case] command: &[&str], #[case] code: i32) {
    needs!(Need::Root);
    assert_eq!(start("fake-init-code", &mut lab(command)).end().code, code);
}

#[test]
fn an_orphan_is_adopted_by_pid_1_and_does_not_stay_a_zombie() {
    needs!(Need::Root);
    let leave_an_orphan = "sh -c 'sleep 1000 & echo left'; cat";
    let mut lab = start("fake-init-orphan", &mut lab(&["sh", "-c", leave_an_orphan]));
    let (init, command) = inner_init(&lab);
    lab.read_until("left\n");
    let adopted = || children(init).into_iter().find(|pid| *pid != command);
    let orphan = until("adopted orphan", adopted);
    assert_eq!(status_field(orphan, "PPid"), Some(init.to_string()));
    lab.send(orphan, Signal::SIGKILL);
    until("end of the zombie", || (children(init) == [command]).then_some(()));
    assert_eq!(lab.end().code, 0);
}

#[rstest]
#[case::sent_to_the_lab(false)]
#[case::sent_to_pid_1(true)]
fn sigterm_from_outside_ends_it(#[case] to_init: bool) {
    needs!(Need::Root);
    let lab = start("fake-init-term", &mut lab(&["sleep", "1000"]));
    let (init, _) = inner_init(&lab);
    lab.send(if to_init { init } else { lab.pid() }, Signal::SIGTERM);
    assert_eq!(lab.end().code, 143);
}

#[test]
fn sigterm_ends_it_even_if_its_command_ignores_that() {
    needs!(Need::Root);
    let deaf = "trap '' TERM; echo deaf; sleep 1000";
    let mut lab = start("fake-init-deaf", &mut lab(&["sh", "-c", deaf]));
    lab.read_until("deaf\n");
    lab.send(lab.await_child(), Signal::SIGTERM);
    assert_eq!(lab.end().code, 143);
}

#[test]
fn a_command_that_handles_sigterm_has_its_own_end() {
    needs!(Need::Root);
    let handles = "trap 'echo bye; exit 3' TERM; echo ready; sleep 1000 & wait";
    let mut lab = start("fake-init-handles", &mut lab(&["sh", "-c", handles]));
    lab.read_until("ready\n");
    lab.send(lab.pid(), Signal::SIGTERM);
    let ended = lab.end();
    assert_eq!(ended.code, 3);
    assert!(ended.text.ends_with("bye\n"), "{}", ended.text);
}

#[rstest]
#[case::as_root(false)]
#[case::as_an_ordinary_user(true)]
fn it_nests(#[case] ordinary: bool) {
    needs!(if ordinary { Need::Userns } else { Need::Root });
    let folder = folder();
    let copy = copy_of(LAB.as_ref(), folder.path());
    let mut outer = Command::new(&copy);
    let again = copy.to_str().expect("a plain path");
    outer.args(["--", again, "--", again, "--", "sh", "-c", "echo /proc/[0-9]*; cat"]);
    if ordinary {
        as_ordinary(&mut outer);
    }
    let mut lab = start("fake-init-nests", &mut outer);
    lab.read_until("/proc/1 /proc/2\n");
    let depths = lab.mark.processes().into_iter().filter_map(|pid| status_field(pid, "NSpid"));
    let deepest: Vec<_> = depths.filter(|numbers| numbers.split(' ').count() == 4).collect();
    assert!(deepest.iter().any(|numbers| numbers.ends_with(" 1")), "{deepest:?}\n{}", lab.text);
    assert_eq!(lab.end().code, 0);
}

#[test]
fn no_mount_leaks_even_where_mounts_are_shared() {
    needs!(Need::Root);
    let before = mounts_with(" - proc ").len();
    let compare = r#"grep -c " - proc " /proc/self/mountinfo; "$0" -- grep -c " - proc " /proc/self/mountinfo
                     grep -c " - proc " /proc/self/mountinfo"#;
    let mut shared = Command::new("unshare");
    shared.args(["--mount", "--propagation", "shared", "sh", "-c", compare, LAB]);
    let counts = shared.stderr(Stdio::null()).output().expect("unshare").stdout;
    let inside = before + 1;
    assert_eq!(String::from_utf8_lossy(&counts), format!("{before}\n{inside}\n{before}\n"));
    assert_eq!(mounts_with(" - proc ").len(), before);
}

#[test]
fn a_shell_on_a_terminal_has_job_control_and_gives_the_terminal_back() {
    needs!(Need::Root, Need::Program("script"), Need::Program("bash"));
    let inside = format!("{LAB} -- bash --norc -i; read line; echo outside: $line");
    let mut script = Command::new("script");
    script.args(["--quiet", "--flush", "--return", "--command"]);
    script.arg(format!("bash --norc -c '{inside}'")).arg("/dev/null");
    let mut terminal = start("fake-init-terminal", &mut script);
    terminal.type_line("echo pid $$; set -o | grep monitor");
    terminal.read_until("pid 2\r\n");
    terminal.read_until("on\r\n");
    terminal.type_line("exit 5");
    terminal.type_line("hello");
    terminal.read_until("outside: hello");
    let ended = terminal.end();
    assert!(ended.text.contains("outside: hello"), "{}", ended.text);
    assert!(!ended.text.contains("no job control"), "{}", ended.text);
}

#[test]
fn a_proc_of_another_pid_namespace_is_refused_before_anything_is_done() {
    needs!(Need::Root);
    let mut unshare = Command::new("unshare");
    let ended = start("fake-init-proc", unshare.args(["--pid", "--fork", LAB])).end();
    assert_eq!(ended.code, 1);
    assert!(ended.text.starts_with("fake-init: /proc: "), "{}", ended.text);
    assert!(ended.text.contains("\nhint: "), "{}", ended.text);
}

#[test]
fn output_that_cannot_be_written_is_an_error_of_one_line() {
    needs!(Need::Root);
    let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let output = Command::new(LAB).stdout(full).output().expect("run");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "fake-init: standard output: no space left on device\n");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    needs!(Need::Root);
    let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("a pipe");
    drop(reader);
    let output = Command::new(LAB).stdout(writer).output().expect("run");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn an_argument_before_the_dashes_is_a_usage_error() {
    assert_eq!(
        Command::new(LAB).arg("sleep").stderr(Stdio::null()).status().unwrap().code(),
        Some(2)
    );
}

/// Kills the lab or PID 1 when so many lines are printed; 0 is as early as can be.
fn killed(command: &[&str], lines: usize, signal: Signal, kill_init: bool) {
    let mut lab = start("fake-init-killed", &mut lab(command));
    lab.read_lines(lines);
    let victim = if kill_init { lab.children().first().copied() } else { Some(lab.pid()) };
    if let Some(victim) = victim {
        lab.send(victim, signal);
    }
    // Its end is the end of all that it started: that is asserted there.
    lab.end();
}

#[rstest]
fn nothing_is_left_whenever_and_however_it_is_killed(
    #[values(Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL)] signal: Signal,
    #[values(false, true)] kill_init: bool,
) {
    needs!(Need::Root);
    for lines in 0..=13 {
        killed(&[], lines, signal, kill_init);
    }
    for lines in 0..=5 {
        killed(&["sh", "-c", "sleep 1000 & echo; exec cat"], lines, signal, kill_init);
    }
}

#[test]
fn nothing_is_left_of_a_lab_that_is_killed_as_it_clones() {
    needs!(Need::Root);
    for _ in 0..20 {
        let lab = start("fake-init-early", &mut lab(&["sleep", "1000"]));
        lab.await_child();
        lab.send(lab.pid(), Signal::SIGKILL);
        assert_eq!(lab.end().code, 137);
    }
}
