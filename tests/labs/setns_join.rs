//! setns-join: into the namespaces of another process, and only so far as setns(2) goes.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};

use rstest::rstest;
use tempfile::TempDir;

use crate::ending::{ENDINGS, ended_after_lines, ended_at_birth, is_ready_in_time, pidfd_open};
use crate::needs;
use crate::support::footprint::{Mark, mounts_with};
use crate::support::need::Need;
use crate::support::user;
use crate::who::Who;

const KINDS: [&str; 8] = ["user", "cgroup", "ipc", "uts", "net", "pid", "time", "mnt"];

fn lab(who: Who) -> (Command, TempDir) {
    who.lab("setns-join")
}

/// A process in namespaces that unshare(1) made; it ends with the test.
struct Target {
    unshare: Child,
    pid: i32,
}

impl Target {
    /// `script` is run inside, has to say `up`, and then to wait for its input.
    fn start(who: Who, flags: &[&str], shell: &[&str], script: &str) -> Target {
        let mut command = Command::new("unshare");
        command.args(["--fork", "--kill-child"]).args(flags).arg("--").args(shell).arg(script);
        if who == Who::Ordinary {
            user::as_ordinary(&mut command);
        }
        let mut unshare =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start unshare");
        let mut line = String::new();
        let output = unshare.stdout.as_mut().expect("piped");
        BufReader::new(output).read_line(&mut line).expect("a line");
        assert_eq!(line, "up\n", "the target comes up");
        let children = format!("/proc/{0}/task/{0}/children", unshare.id());
        let pid = fs::read_to_string(children).expect("children").trim().parse().expect("one");
        Target { unshare, pid }
    }

    /// All kinds but time, and a host name.
    fn apart(who: Who) -> Target {
        let root = ["-mpuinC", "--mount-proc"];
        let ordinary = ["-mpuinC", "--mount-proc", "-Ur"];
        let flags: &[&str] = if who == Who::Root { &root } else { &ordinary };
        Target::start(who, flags, &["sh", "-c"], "hostname far-away; echo up; read end")
    }

    fn link(&self, kind: &str) -> String {
        link(&self.pid.to_string(), kind)
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
    }
}

fn link(pid: &str, kind: &str) -> String {
    let link = fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a namespace link");
    link.to_str().expect("text").to_owned()
}

fn run(who: Who, args: &[&str]) -> (Output, String, String) {
    let (mut command, _folder) = lab(who);
    let output = command.args(args).output().expect("run");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    (output, out, err)
}

#[rstest]
#[case::root(Who::Root)]
#[case::ordinary(Who::Ordinary)]
fn the_command_is_in_every_namespace_of_the_target(#[case] who: Who) {
    if !who.can_run() {
        return;
    }
    let target = Target::apart(who);
    let script = "for kind in user cgroup ipc uts net pid time mnt
        do readlink /proc/self/ns/$kind; done; hostname; echo $PPID";
    let pid = target.pid.to_string();
    let (output, out, err) = run(who, &[&pid, "--", "sh", "-c", script]);
    assert!(output.status.success(), "{err}");
    let mut wanted: Vec<_> = KINDS.iter().map(|kind| target.link(kind)).collect();
    wanted.extend(["far-away".to_owned(), "0".to_owned()]);
    assert_eq!(out.lines().collect::<Vec<_>>(), wanted);
}

#[rstest]
#[case::root(Who::Root)]
#[case::ordinary(Who::Ordinary)]
fn what_it_prints_is_what_the_kernel_says(#[case] who: Who) {
    if !who.can_run() {
        return;
    }
    let target = Target::apart(who);
    let (output, out, err) = run(who, &[&target.pid.to_string()]);
    assert!(output.status.success(), "{err}");
    assert!(out.contains(&format!("target   {} sh, NSpid: {0} 1\n", target.pid)), "{out}");
    for kind in KINDS.iter().filter(|kind| target.link(kind) != link("self", kind)) {
        let (own, theirs) = (link("self", kind), target.link(kind));
        let line = match *kind {
            "pid" => format!("{own} stays; {theirs} is for its children"),
            _ => format!("{own} -> {theirs}"),
        };
        assert!(out.contains(&format!("setns    {kind:<7} {line}")), "{line} in {out}");
    }
    assert!(out.contains("getppid() = 0\n"), "{out}");
    assert!(out.contains("hostname far-away\n"), "{out}");
    assert!(out.ends_with("network interfaces: lo\n"), "{out}");
    assert_eq!(who == Who::Ordinary, out.contains("setns    user"), "{out}");
}

#[rstest]
#[case::root(Who::Root)]
#[case::ordinary(Who::Ordinary)]
fn only_what_was_asked_for_is_joined(#[case] who: Who) {
    if !who.can_run() {
        return;
    }
    let target = Target::apart(who);
    let pid = target.pid.to_string();
    let script = "readlink /proc/self/ns/uts /proc/self/ns/net /proc/self/ns/pid";
    let (output, out, err) = run(who, &["--only", "uts", &pid, "--", "sh", "-c", script]);
    assert!(output.status.success(), "{err}");
    let wanted = [target.link("uts"), link("self", "net"), link("self", "pid")];
    assert_eq!(out.lines().collect::<Vec<_>>(), wanted);
    // Without the right to join uts, one has to be root in its user namespace first.
    assert_eq!(who == Who::Ordinary, err.contains("setns    user"), "{err}");
}

#[rstest]
#[case::root(Who::Root)]
#[case::ordinary(Who::Ordinary)]
fn alone_it_makes_a_target_and_takes_it_away_again(#[case] who: Who) {
    if !who.can_run() {
        return;
    }
    let (output, out, err) = run(who, &[]);
    assert!(output.status.success(), "{err}");
    assert!(out.contains("getpid() = 2, getppid() = 0"), "{out}");
    assert!(out.contains("uid 0, gid 0, hostname room"), "{out}");
    let target = out.split_whitespace().nth(1).expect("a PID");
    let comm = fs::read_to_string(format!("/proc/{target}/comm")).unwrap_or_default();
    assert_ne!(comm, "setns-join\n", "the target {target} has ended");
}

#[test]
fn root_joins_what_an_ordinary_user_made() {
    needs!(Need::Root, Need::Userns);
    let target = Target::apart(Who::Ordinary);
    let pid = target.pid.to_string();
    let (output, out, err) = run(Who::Root, &[&pid, "--", "sh", "-c", "id -u; hostname"]);
    assert!(output.status.success(), "{err}");
    assert_eq!(out, "0\nfar-away\n");
    assert!(err.contains(&format!(
        "setns    user    {} -> {}",
        link("self", "user"),
        target.link("user")
    )));
}

#[test]
fn an_empty_root_is_no_hindrance_to_look_from_inside() {
    needs!(Need::Root, Need::Program("python3"));
    let script = "
import ctypes, os, sys
c = ctypes.CDLL(None, use_errno=True)
assert c.mount(b'none', b'/mnt', b'tmpfs', 0, None) == 0
os.chdir('/mnt')
assert c.syscall(155, b'.', b'.') == 0 and c.umount2(b'.', 2) == 0
os.chdir('/')
print('up', flush=True)
sys.stdin.read()";
    let target = Target::start(Who::Root, &["-mpu"], &["python3", "-c"], script);
    let pid = target.pid.to_string();
    let (output, out, err) = run(Who::Root, &[&pid]);
    assert!(output.status.success(), "{err}");
    let root = fs::metadata(format!("/proc/{pid}/root/")).expect("its root");
    let inode = std::os::unix::fs::MetadataExt::ino(&root);
    assert!(out.contains(&format!(" inode {inode}, network interfaces: ")), "{out}");
    let (output, _, err) = run(Who::Root, &[&pid, "--", "sh"]);
    assert_eq!(output.status.code(), Some(127));
    assert!(err.ends_with("setns-join: sh: no such file or directory\n"), "{err}");
}

#[test]
fn a_target_that_shares_everything_leaves_nothing_to_join() {
    needs!(Need::Root);
    let own = std::process::id().to_string();
    let (output, out, err) = run(Who::Root, &[&own, "--", "readlink", "/proc/self/ns/pid"]);
    assert!(output.status.success(), "{err}");
    assert!(err.contains("differs  nothing\n"), "{err}");
    assert_eq!(out.trim(), link("self", "pid"));
}

#[test]
fn a_process_that_is_gone_or_a_zombie_is_named() {
    needs!(Need::Root);
    let mut child = Command::new("true").spawn().expect("start");
    let pid = child.id().to_string();
    let pidfd = pidfd_open(child.id() as i32).expect("not waited for");
    assert!(is_ready_in_time(&pidfd), "it ends");
    let (output, out, err) = run(Who::Root, &[&pid]);
    assert_eq!((output.status.code(), out.as_str()), (Some(1), ""));
    let hint = "hint: a zombie has no namespaces left to join";
    assert_eq!(err, format!("setns-join: process {pid} has ended\n{hint}\n"));
    child.wait().expect("wait");
    let (output, _, err) = run(Who::Root, &["4194305"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(err, "setns-join: pidfd_open 4194305: no such process\n");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    needs!(Need::Root);
    let (reader, writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("a pipe");
    drop(reader);
    let (mut lab, _folder) = lab(Who::Root);
    let output = lab.stdout(writer).output().expect("run");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn another_users_process_is_refused_with_a_hint() {
    needs!(Need::Root, Need::Userns);
    let target = Target::apart(Who::Root);
    let (output, out, err) = run(Who::Ordinary, &[&target.pid.to_string()]);
    assert_eq!((output.status.code(), out.as_str()), (Some(1), ""));
    let pid = target.pid;
    let wanted = format!("setns-join: /proc/{pid}/ns/user: permission denied\nhint: it takes root");
    assert!(err.starts_with(&wanted), "{err}");
}

#[rstest]
#[case(&["--only", "net,nett"], "'nett'")]
#[case(&["0"], "'0'")]
#[case(&["--", ""], "")]
#[case(&["one"], "'one'")]
fn bad_input_is_refused_before_anything_is_done(#[case] args: &[&str], #[case] named: &str) {
    needs!(Need::Root);
    let (output, out, err) = run(Who::Root, args);
    let code = if args[0] == "--" { 127 } else { 2 };
    assert_eq!((output.status.code(), out.as_str()), (Some(code), ""));
    assert!(err.contains(named), "{err}");
}

#[rstest]
#[case("exit 7", 7)]
#[case("kill -TERM $$", 143)]
#[case("kill -KILL 1", 0)]
fn the_exit_code_is_that_of_the_command(#[case] script: &str, #[case] code: i32) {
    needs!(Need::Root);
    let (output, out, err) = run(Who::Root, &["--", "sh", "-c", script]);
    assert_eq!((output.status.code(), out.as_str()), (Some(code), ""), "{err}");
}

#[test]
fn a_command_that_may_not_be_run_gives_126() {
    needs!(Need::Root);
    let (output, _, err) = run(Who::Root, &["--", "/"]);
    assert_eq!(output.status.code(), Some(126));
    assert!(err.ends_with("setns-join: /: permission denied\n"), "{err}");
}

#[rstest]
#[case::root(Who::Root)]
#[case::ordinary(Who::Ordinary)]
fn a_shell_inside_has_the_terminal_and_gives_it_back(#[case] who: Who) {
    if !(who.can_run() && crate::support::need::met(&[Need::Program("script")])) {
        return;
    }
    let (command, _folder) = lab(who);
    let program = command.get_program().to_str().expect("text");
    let mut script = Command::new("script");
    // The outer shell reads from the terminal once more afterwards.
    let line = format!("{program} -- sh; echo code-$?; read word; echo got-$word");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    if who == Who::Ordinary {
        user::as_ordinary(&mut script);
    }
    let ended = EndedAnyway(Mark::new("terminal"));
    let typed = ended.0.put_on(&mut script).env("SHELL", "/bin/sh");
    let mut child = typed.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start");
    let mut keys = child.stdin.take().expect("piped");
    let mut screen = Screen(child.stdout.take().expect("piped"), String::new());
    keys.write_all(b"sh -c 'echo in-$((40+2)); exec cat'\n").expect("type");
    screen.wait_for("in-42");
    keys.write_all(b"\x03").expect("type");
    // What is typed before the prompt is back may be dropped with the Ctrl-C.
    screen.wait_for("# ");
    keys.write_all(b"echo still-$((40+3)) $PPID\n").expect("type");
    screen.wait_for("still-43 0");
    keys.write_all(b"exit 5\n").expect("type");
    screen.wait_for("code-5");
    keys.write_all(b"outside\n").expect("type");
    screen.wait_for("got-outside");
    assert!(child.wait().expect("wait").success());
}

/// Ends what carries the mark, also when the test fails.
struct EndedAnyway(Mark);

impl Drop for EndedAnyway {
    fn drop(&mut self) {
        self.0.end_all();
    }
}

/// What a terminal shows, since the last thing that was waited for.
struct Screen(std::process::ChildStdout, String);

impl Screen {
    fn wait_for(&mut self, text: &str) {
        let mut bytes = [0; 4096];
        while !self.1.contains(text) {
            assert!(is_ready_in_time(&self.0), "no {text} on {}", self.1);
            let length = self.0.read(&mut bytes).expect("read");
            assert!(length > 0, "no {text} on {}", self.1);
            self.1 += &String::from_utf8_lossy(&bytes[..length]);
        }
        self.1.clear();
    }
}

#[rstest]
#[case::root(Who::Root, 12)]
#[case::ordinary(Who::Ordinary, 13)]
fn nothing_outlives_it_whatever_line_it_is_at(#[case] who: Who, #[case] all: usize) {
    if !who.can_run() {
        return;
    }
    let (mut command, _folder) = lab(who);
    for signal in ENDINGS {
        for lines in 0..=all {
            ended_after_lines(&mut command, lines, signal);
        }
    }
    assert!(mounts_with("setns-join").is_empty());
}

#[rstest]
#[case::the_lab(|lab, _| lab)]
#[case::its_child(|_, child| child)]
fn nothing_outlives_it_when_one_dies_early(#[case] whom: fn(i32, i32) -> i32) {
    needs!(Need::Root);
    let (mut command, _folder) = lab(Who::Root);
    command.args(["--", "true"]).stderr(Stdio::null());
    for signal in ENDINGS {
        for children in [1, 1, 1, 1, 2, 2, 2, 2] {
            ended_at_birth(&mut command, children, whom, signal);
        }
    }
    assert!(mounts_with("setns-join").is_empty());
}

#[rstest]
#[case::root(Who::Root)]
#[case::ordinary(Who::Ordinary)]
fn its_command_ends_with_it(#[case] who: Who) {
    if !who.can_run() {
        return;
    }
    let (mut command, _folder) = lab(who);
    command.args(["--", "sh", "-c", "sleep 1000 & echo up; sleep 1000"]).stderr(Stdio::null());
    for signal in ENDINGS {
        ended_after_lines(&mut command, 1, signal);
    }
}
