//! `memory-limit` limits what it says, lets the kernel kill, and leaves no group.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use rstest::rstest;

use crate::needs;
use crate::support::footprint::cgroups_named;
use crate::support::memory::{self, is_v1};
use crate::support::need::Need;
use crate::support::running::{Ended, Running, children, start, until};
use crate::support::user::{as_ordinary, copy_of, folder, ordinary};

const LAB: &str = env!("CARGO_BIN_EXE_memory-limit");

/// What the version of cgroups that has the memory controller here calls its files.
struct Version {
    limit: &'static str,
    swap: &'static str,
    /// With a limit of 20 MiB.
    swap_at_20: u64,
    full: &'static str,
    peak: &'static str,
}

const V1: Version = Version {
    limit: "memory.limit_in_bytes",
    swap: "memory.memsw.limit_in_bytes",
    swap_at_20: (20 << 20) + 4096,
    full: "memory.failcnt",
    peak: "memory.max_usage_in_bytes",
};

const V2: Version = Version {
    limit: "memory.max",
    swap: "memory.swap.max",
    swap_at_20: 0,
    full: "memory.events max",
    peak: "memory.peak",
};

fn version() -> &'static Version {
    if is_v1() { &V1 } else { &V2 }
}

fn lab(arguments: &[&str]) -> Command {
    let mut lab = Command::new(LAB);
    lab.args(arguments);
    lab
}

/// Waits for the end of the lab, and of its group.
fn end(lab: Running) -> Ended {
    let name = format!("memory-limit-{}", lab.pid());
    let ended = lab.end();
    let left: Vec<PathBuf> = groups(&name);
    assert!(left.is_empty(), "{left:?} are left; it printed:\n{}", ended.text);
    ended
}

fn groups(name: &str) -> Vec<PathBuf> {
    cgroups_named(name).into_iter().filter(|group| group.ends_with(name)).collect()
}

/// The line of `text` that starts with `step`.
fn line<'t>(text: &'t str, step: &str) -> &'t str {
    text.lines().find(|line| line.starts_with(step)).unwrap_or_else(|| panic!("no {step}:\n{text}"))
}

/// What the lab counted before and after.
fn counted<'t>(text: &'t str, counter: &str) -> &'t str {
    let line = text.lines().find(|line| line.starts_with("count") && line.contains(counter));
    line.unwrap_or_else(|| panic!("no {counter}:\n{text}"))
        .split_once(counter)
        .expect("it is in")
        .1
        .trim()
}

fn number(path: &Path) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.trim().parse().expect("a number")
}

#[test]
fn one_is_killed_at_the_limit_and_another_in_the_group_lives() {
    needs!(Need::MemoryGroup);
    let ended = end(start("memory-limit-shown", &mut lab(&["--limit", "8"])));
    let text = &ended.text;
    assert_eq!(ended.code, 0, "{text}");
    assert_eq!(line(text, "limit"), format!("limit    {} 8388608", version().limit));
    let die = line(text, "die");
    assert!(die.ends_with("was killed by SIGKILL, 9: a shell says 137"), "{die}");
    let eater = die.split(' ').nth(7).expect("a pid");
    let live = line(text, "live");
    assert!(live.contains(" is S (sleeping) ") || live.contains(" is R (running) "), "{live}");
    assert!(!live.contains(eater), "{live}");
    assert_eq!(counted(text, "oom_kill"), "0 -> 1");
    assert_eq!(counted(text, version().peak), "0 -> 8388608");
    assert_ne!(counted(text, version().full), "0 -> 0");
    let log = line(text, "log");
    let is_told = log.contains(&format!("Killed process {eater} (memory-limit)"));
    assert!(is_told || log == "log      /dev/kmsg: operation not permitted", "{log}");
    assert!(line(text, "end").ends_with(": gone"), "{text}");
}

#[test]
fn a_command_is_in_a_group_with_that_limit_and_no_swap() {
    needs!(Need::MemoryGroup);
    let look = ["--limit", "20", "--", "sh", "-c", "echo ready; cat"];
    let mut lab = start("memory-limit-command", &mut lab(&look));
    let name = format!("memory-limit-{}", lab.pid());
    lab.read_until("ready\n");
    let [group] = &groups(&name)[..] else { panic!("one group:\n{}", lab.text) };
    assert_eq!(number(&group.join(version().limit)), 20 << 20);
    assert_eq!(number(&group.join(version().swap)), version().swap_at_20);
    assert!(lab.text.contains(&format!("group    {}\n", group.display())), "{}", lab.text);
    let members = fs::read_to_string(group.join("cgroup.procs")).expect("cgroup.procs");
    let command = lab.children().into_iter().find(|pid| members.contains(&pid.to_string()));
    assert!(command.is_some(), "{members}");
    assert!(!members.lines().any(|member| member == lab.pid().to_string()), "{members}");
    assert_eq!(end(lab).code, 0);
}

#[rstest]
#[case::success(&["true"], 0)]
#[case::a_code_of_its_own(&["sh", "-c", "exit 7"], 7)]
#[case::a_signal(&["sh", "-c", "kill -TERM $$"], 143)]
#[case::not_found(&["/nowhere/no-such-program"], 127)]
#[case::not_to_be_run(&["/"], 126)]
#[case::more_memory_than_there_is(&["tail", "/dev/zero"], 137)]
fn the_exit_code_is_the_commands(#[case] command: &[&str], #[case] code: i32) {
    needs!(Need::MemoryGroup);
    let mut lab = lab(&["--limit", "16", "--"]);
    let ended = end(start("memory-limit-code", lab.args(command)));
    assert_eq!(ended.code, code, "{}", ended.text);
    let killed = if code == 137 { "0 -> 1" } else { "0 -> 0" };
    assert_eq!(counted(&ended.text, "oom_kill"), killed);
}

#[test]
fn standard_output_is_the_commands_alone() {
    needs!(Need::MemoryGroup);
    let output = lab(&["--", "echo", "hello"]).output().expect("run");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello\n");
}

#[test]
fn ctrl_c_ends_the_command_and_the_counters_are_printed() {
    needs!(Need::MemoryGroup);
    let mut lab = start("memory-limit-int", &mut lab(&["--", "sh", "-c", "echo ready; exec cat"]));
    lab.read_until("ready\n");
    let all = lab.children().into_iter().chain([lab.pid()]);
    all.for_each(|pid| lab.send(pid, Signal::SIGINT));
    let ended = end(lab);
    assert_eq!(ended.code, 130);
    assert!(ended.text.contains("count "), "{}", ended.text);
}

#[test]
fn what_a_command_leaves_in_the_group_ends_with_it() {
    needs!(Need::MemoryGroup);
    let leave = ["--", "sh", "-c", "setsid sleep 1000 & exit 3"];
    assert_eq!(end(start("memory-limit-daemon", &mut lab(&leave))).code, 3);
}

#[test]
fn it_nests() {
    needs!(Need::MemoryGroup);
    let inner = ["--limit", "64", "--", LAB, "--limit", "8"];
    let ended = end(start("memory-limit-nests", &mut lab(&inner)));
    assert_eq!(ended.code, 0, "{}", ended.text);
    // The inner group's kill is the inner group's.
    assert!(ended.text.contains("0 -> 1\n"), "{}", ended.text);
    assert!(ended.text.contains("0 -> 0\n"), "{}", ended.text);
}

#[rstest]
#[case::nothing("0")]
#[case::no_number("many")]
#[case::negative("-1")]
#[case::more_than_a_number_holds("99999999999999999999")]
#[case::more_than_the_machine_has("4000000000")]
fn a_limit_that_makes_no_sense_is_a_usage_error(#[case] limit: &str) {
    let ended = start("memory-limit-usage", &mut lab(&[&format!("--limit={limit}")])).end();
    assert_eq!(ended.code, 2, "{}", ended.text);
    assert!(ended.text.contains(limit), "{}", ended.text);
    assert!(!ended.text.contains("group"), "{}", ended.text);
}

#[test]
fn an_ordinary_user_is_told_at_once_what_it_needs() {
    needs!(Need::Root, Need::Memory);
    let folder = folder();
    let mut lab = Command::new(copy_of(LAB.as_ref(), folder.path()));
    let ended = end(start("memory-limit-user", as_ordinary(&mut lab)));
    assert_eq!(ended.code, 2);
    let said: Vec<_> = ended.text.lines().collect();
    let [error, hint] = said[..] else { panic!("two lines: {said:?}") };
    assert!(error.starts_with("memory-limit: /sys/fs/cgroup/"), "{error}");
    assert!(error.ends_with(": permission denied"), "{error}");
    assert!(hint.starts_with("hint: run it as root"), "{hint}");
}

#[test]
fn an_ordinary_user_may_where_a_group_is_theirs() {
    needs!(Need::Root, Need::Memory, Need::Program("setpriv"));
    let folder = folder();
    let copy = copy_of(LAB.as_ref(), folder.path());
    let theirs = memory::nearest()
        .expect("memory")
        .join(format!("test-memory-limit-{}", std::process::id()));
    // On v2 what hands out controllers has no members: the shell is one level further down.
    let joined = if is_v1() { theirs.clone() } else { theirs.join("shell") };
    fs::create_dir_all(&joined).expect("a group");
    if !is_v1() {
        fs::write(theirs.join("cgroup.subtree_control"), "+memory").expect("hand memory out");
    }
    for path in [theirs.clone(), theirs.join("cgroup.procs")] {
        std::os::unix::fs::chown(path, Some(ordinary()), Some(ordinary())).expect("chown");
    }
    let mut shell = Command::new("sh");
    shell.arg("-c").arg("echo 0 > \"$0/cgroup.procs\" && exec \"$@\"").arg(&joined);
    let id = ordinary().to_string();
    shell.args(["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"]).arg(copy);
    let ended = end(start("memory-limit-theirs", shell.arg("--limit=4")));
    for group in [&joined, &theirs] {
        let _ = fs::remove_dir(group);
    }
    assert!(!theirs.exists(), "{} is left", theirs.display());
    assert_eq!(ended.code, 0, "{}", ended.text);
    assert_eq!(counted(&ended.text, "oom_kill"), "0 -> 1");
}

#[test]
fn output_that_cannot_be_written_is_an_error_of_one_line() {
    needs!(Need::MemoryGroup);
    let full = fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let output = lab(&[]).stdout(full).output().expect("run");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, "memory-limit: standard output: no space left on device\n");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    needs!(Need::MemoryGroup);
    let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("a pipe");
    drop(reader);
    let output = lab(&[]).stdout(writer).output().expect("run");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[derive(Clone, Copy, Debug)]
enum Victim {
    Lab,
    Watcher,
    Members,
}

/// Kills when so many lines are printed; 0 is as early as can be.
fn killed(command: &[&str], lines: usize, signal: Signal, victim: Victim) {
    let mut lab = start("memory-limit-killed", &mut lab(command));
    lab.read_lines(lines);
    let children = lab.children();
    match victim {
        Victim::Lab => lab.send(lab.pid(), signal),
        Victim::Watcher => children.iter().take(1).for_each(|pid| lab.send(*pid, signal)),
        Victim::Members => children.iter().skip(1).for_each(|pid| lab.send(*pid, signal)),
    }
    end(lab);
}

#[rstest]
fn nothing_is_left_whenever_and_whatever_is_killed(
    #[values(Signal::SIGINT, Signal::SIGTERM, Signal::SIGKILL)] signal: Signal,
    #[values(Victim::Lab, Victim::Watcher, Victim::Members)] victim: Victim,
) {
    needs!(Need::MemoryGroup);
    for lines in 0..=14 {
        killed(&["--limit=4"], lines, signal, victim);
    }
    for lines in 0..=5 {
        killed(&["--", "sh", "-c", "sleep 1000 & echo; exec cat"], lines, signal, victim);
    }
}

#[test]
fn nothing_is_left_of_a_lab_that_is_killed_as_it_makes_the_group() {
    needs!(Need::MemoryGroup);
    for members in 1..=3 {
        for _ in 0..10 {
            let lab = start("memory-limit-early", &mut lab(&["--limit=4"]));
            let enough = || (children(lab.pid()).len() >= members).then_some(());
            // It may be past that by now; then it is killed later, or has ended.
            if members == 1 {
                until("the watcher", enough);
            }
            lab.send(lab.pid(), Signal::SIGKILL);
            end(lab);
        }
    }
}

#[test]
fn help_names_the_parts_and_exits_with_0() {
    let help = lab(&["--help"]).stderr(Stdio::null()).output().expect("run");
    assert!(help.status.success());
    assert!(String::from_utf8_lossy(&help.stdout).contains("--limit <MIB>"));
}
