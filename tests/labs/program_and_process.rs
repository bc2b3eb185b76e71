//! program-and-process: one file, two lives.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use assert_cmd::cargo::cargo_bin;
use rstest::rstest;
use tempfile::TempDir;

use crate::ending::{ENDINGS, ended_after_lines, ended_at_birth};
use crate::needs;
use crate::support::footprint::mounts_with;
use crate::support::need::Need;
use crate::support::user;
use crate::who::Who;

fn lab(who: Who) -> (Command, TempDir) {
    who.lab("program-and-process")
}

/// A lab that waits in its command, with the PIDs of the two.
struct Waiting {
    lab: Child,
    pids: [String; 2],
    _folder: TempDir,
}

impl Waiting {
    fn start(who: Who) -> Waiting {
        let (mut command, folder) = lab(who);
        command.args(["--", "sh", "-c", "echo $FIRST $SECOND; read go"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut lab = command.spawn().expect("start the lab");
        let mut line = String::new();
        BufReader::new(lab.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line");
        let (first, second) = line.trim().split_once(' ').expect("two PIDs");
        Waiting { lab, pids: [first.to_owned(), second.to_owned()], _folder: folder }
    }

    fn proc(&self, file: &str) -> [String; 2] {
        self.pids.clone().map(|pid| format!("/proc/{pid}/{file}"))
    }

    /// Lets the command end, and returns what the lab had to say.
    fn finish(mut self) -> String {
        self.lab.stdin.take().expect("piped").write_all(b"go\n").expect("the command reads");
        let mut said = String::new();
        self.lab.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
        assert!(self.lab.wait().expect("wait").success(), "{said}");
        said
    }
}

/// The two values of a row, the last one of that name.
fn row<'s>(said: &'s str, step: &str) -> [&'s str; 2] {
    let line = said.lines().rfind(|line| line.split(' ').next() == Some(step));
    let (_, values) = line.unwrap_or_else(|| panic!("no {step} in {said}")).split_at(9);
    let (first, second) = values.split_at(32);
    [first.trim(), second.trim()]
}

/// The sum of a counter of smaps over the mappings of the program with these rights.
fn smaps(path: &str, rights: &str, counter: &str) -> u64 {
    let text = fs::read_to_string(path).expect("smaps");
    let mut counting = false;
    let mut sum = 0;
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        if words[0].contains('-') {
            counting = words[1] == rights && line.contains("/mnt/program");
        } else if counting && words[0] == counter {
            sum += words[1].parse::<u64>().expect("a number of kB");
        }
    }
    sum
}

#[rstest]
#[case::root(Who::Root)]
#[case::ordinary(Who::Ordinary)]
fn one_file_is_behind_two_processes(#[case] who: Who) {
    if !who.can_run() {
        return;
    }
    let waiting = Waiting::start(who);
    let [first, second] = waiting.proc("exe").map(|exe| fs::metadata(exe).expect("exe"));
    assert_eq!((first.dev(), first.ino()), (second.dev(), second.ino()));
    let [pid, other] = waiting.pids.clone();
    assert_ne!(pid, other);
    let said = waiting.finish();
    assert_eq!(row(&said, "pid"), [pid, other]);
    let inode = format!("inode {}", first.ino());
    assert!(said.contains(&format!("{inode} ")) && said.contains(&format!("{inode}\n")), "{said}");
}

#[rstest]
#[case::root(Who::Root)]
#[case::ordinary(Who::Ordinary)]
fn each_process_has_its_own_directory_environment_and_state(#[case] who: Who) {
    if !who.can_run() {
        return;
    }
    let waiting = Waiting::start(who);
    let directories = waiting.proc("cwd").map(|cwd| fs::read_link(cwd).expect("cwd"));
    let lives = waiting.proc("environ").map(|path| fs::read_to_string(path).expect("environ"));
    let states = waiting.proc("status").map(|path| fs::read_to_string(path).expect("status"));
    let said = waiting.finish();
    assert_eq!(row(&said, "cwd").map(Path::new), [&directories[0], &directories[1]]);
    assert_ne!(directories[0], directories[1]);
    for (entry, environment) in row(&said, "environ").iter().zip(lives) {
        assert!(environment.split('\0').any(|found| found == *entry), "{entry}");
    }
    assert_eq!(row(&said, "environ"), ["LIFE=first", "LIFE=second"]);
    for (state, status) in row(&said, "status").iter().zip(states) {
        assert!(status.replace('\t', " ").contains(state), "{state}");
    }
    assert_eq!(row(&said, "status"), ["State: S (sleeping)", "State: T (stopped)"]);
}

#[rstest]
#[case::root(Who::Root)]
#[case::ordinary(Who::Ordinary)]
fn code_is_shared_and_data_is_private_after_a_write(#[case] who: Who) {
    if !who.can_run() {
        return;
    }
    let waiting = Waiting::start(who);
    // Every page of a tmpfs file counts as dirty.
    let shared = waiting.proc("smaps").map(|path| smaps(&path, "r-xp", "Shared_Dirty:"));
    let [written, not] = waiting.proc("smaps").map(|path| smaps(&path, "rw-p", "Anonymous:"));
    let said = waiting.finish();
    assert!(shared.iter().all(|kb| *kb > 0), "{shared:?}");
    assert!(written > not, "{written} > {not}");
    let (code, [own, files]) = (row(&said, "code"), row(&said, "variable"));
    assert_eq!(code[0], code[1]);
    assert!(own.starts_with("2 in its own page"), "{own}");
    assert!(files.starts_with("1 in the file's page"), "{files}");
    assert_eq!(own.contains("0x"), who == Who::Root, "only root is told the frame: {own}");
}

#[rstest]
#[case::root(Who::Root)]
#[case::ordinary(Who::Ordinary)]
fn the_deleted_program_is_still_there_to_read_and_to_run(#[case] who: Who) {
    if !who.can_run() {
        return;
    }
    let waiting = Waiting::start(who);
    let [exe, _] = waiting.proc("exe");
    assert_eq!(fs::read_link(&exe).expect("exe"), Path::new("/mnt/program (deleted)"));
    assert_eq!(fs::metadata(&exe).expect("exe").nlink(), 0);
    let program = fs::read(cargo_bin("program-and-process")).expect("the lab");
    assert!(fs::read(&exe).expect("exe") == program, "the same bytes");
    let run = Command::new(&exe).arg("--version-of-nothing").output().expect("it runs");
    assert_eq!(run.status.code(), Some(2), "it is the lab itself, and knows no such option");
    let said = waiting.finish();
    assert!(said.contains("the file has 0 names left"), "{said}");
    assert!(said.contains("every byte as it was"), "{said}");
    assert!(said.contains("now 4"), "the inode is free in the end: {said}");
}

#[rstest]
#[case("exit 7", 7)]
#[case("kill -TERM $$", 143)]
#[case("kill $FIRST; kill -KILL $SECOND", 0)]
fn the_exit_code_is_that_of_the_command(#[case] script: &str, #[case] code: i32) {
    needs!(Need::Root);
    let (mut lab, _folder) = lab(Who::Root);
    let output = lab.args(["--", "sh", "-c", script]).output().expect("run");
    assert_eq!(output.status.code(), Some(code));
    assert!(output.stdout.is_empty(), "standard output is the command's alone");
}

#[rstest]
#[case("./no-such-program", 127, "no such file or directory")]
#[case("/", 126, "permission denied")]
fn a_command_that_cannot_start_is_named(#[case] name: &str, #[case] code: i32, #[case] why: &str) {
    needs!(Need::Root);
    let (mut lab, _folder) = lab(Who::Root);
    let output = lab.args(["--", name]).output().expect("run");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(code));
    assert!(said.contains(&format!("program-and-process: {name}: {why}\n")), "{said}");
}

#[test]
fn an_unknown_option_is_a_usage_error() {
    let (mut lab, _folder) = lab(Who::Root);
    let output = lab.arg("--nonsense").output().expect("run");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn who_may_not_mount_is_told_at_once_what_to_do() {
    needs!(Need::Userns, Need::Program("unshare"), Need::Program("setpriv"));
    let (lab, _folder) = lab(Who::Ordinary);
    let mut without = Command::new("unshare");
    without.args(["--user", "--map-root-user", "setpriv", "--bounding-set=-all"]);
    let output = user::as_ordinary(&mut without).arg(lab.get_program()).output().expect("run");
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("program-and-process: unshare: operation not permitted\nhint: run"));
    assert!(output.stdout.is_empty(), "nothing was done before");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    needs!(Need::Root);
    let (mut lab, _folder) = lab(Who::Root);
    let mut child = lab.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("wait");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[rstest]
#[case::root(Who::Root)]
#[case::ordinary(Who::Ordinary)]
fn nothing_outlives_it_whatever_line_it_is_at(#[case] who: Who) {
    if !who.can_run() {
        return;
    }
    let (mut command, _folder) = lab(who);
    for signal in ENDINGS {
        for lines in 0..=16 {
            ended_after_lines(&mut command, lines, signal);
        }
    }
    assert!(mounts_with("program-and-process").is_empty());
    assert!(!Path::new("/mnt/program").exists());
}

#[rstest]
#[case::the_lab(|lab, _| lab)]
#[case::its_child(|_, child| child)]
fn nothing_outlives_it_when_one_dies_early(#[case] whom: fn(i32, i32) -> i32) {
    needs!(Need::Root);
    let (mut command, _folder) = lab(Who::Root);
    command.args(["--", "true"]).stderr(Stdio::null());
    for signal in ENDINGS {
        for children in [1, 1, 1, 2, 2, 2, 3, 3] {
            ended_at_birth(&mut command, children, whom, signal);
        }
    }
    assert!(mounts_with("program-and-process").is_empty());
}

#[test]
fn its_command_ends_with_it() {
    needs!(Need::Root);
    let (mut command, _folder) = lab(Who::Root);
    command.args(["--", "sh", "-c", "echo up; exec sleep 1000"]).stderr(Stdio::null());
    for signal in ENDINGS {
        ended_after_lines(&mut command, 1, signal);
    }
}
