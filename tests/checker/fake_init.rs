//! The exercise *fake-init*: right solutions by several means, wrong ones each with its mistake.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use podlab::judge::CheckOutcome;

use crate::check::Podlab;
use crate::means::{self, Container, Started, sh};
use crate::needs;
use crate::support::footprint::Mark;
use crate::support::need::Need;
use crate::support::user::{as_ordinary, ordinary};

/// A shell that does all that is asked of PID 1.
const INIT: &str = "trap 'exit 0' TERM; echo ready; while :; do sleep 1 & wait; done";

const UNSHARE: [&str; 3] = ["--pid", "--fork", "--mount-proc"];

const BWRAP: [&str; 6] = ["--dev-bind", "/", "/", "--unshare-pid", "--proc", "/proc"];

/// The environment variable by which this learner's process is known.
fn mark(learner: &Podlab) -> String {
    learner.params("fake-init").name("mark")
}

/// `unshare OPTIONS sh -c SCRIPT`, marked.
fn unshare(learner: &Podlab, options: &[&str], script: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(options).args(["sh", "-c", script]).env("PODLAB", mark(learner));
    command
}

/// `bwrap OPTIONS sh -c SCRIPT`, marked.
fn bwrap(learner: &Podlab, options: &[&str], script: &str) -> Command {
    let mut command = Command::new("bwrap");
    command.args(BWRAP).args(options).args(["sh", "-c", script]).env("PODLAB", mark(learner));
    command
}

#[test]
fn a_shell_with_a_trap_under_unshare_holds() {
    needs!(Need::Root);
    let learner = Podlab::new();
    let _init = Started::ready(&mut unshare(&learner, &UNSHARE, INIT));
    learner.check("fake-init", &[]).holds();
}

#[test]
fn a_shell_in_a_user_namespace_of_an_ordinary_user_holds() {
    needs!(Need::Userns);
    let learner = Podlab::ordinary().judged_from_outside();
    let options = [&["--user", "--map-root-user"], &UNSHARE[..]].concat();
    let _init = Started::ready(as_ordinary(&mut unshare(&learner, &options, INIT)));
    learner.check("fake-init", &[]).holds();
}

#[test]
fn what_the_lab_starts_holds() {
    needs!(Need::Root);
    let learner = Podlab::new();
    let mut lab = Command::new(learner.lab("fake-init"));
    lab.args(["--", "sh", "-c", "echo ready; exec sleep 1000"]).env("PODLAB", mark(&learner));
    let _init = Started::ready(&mut lab);
    learner.check("fake-init", &[]).holds();
}

#[test]
fn a_python_program_holds() {
    needs!(Need::Root, Need::Program("python3"));
    let learner = Podlab::new();
    let mut program = means::python(
        r#"
import ctypes, os, signal

libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    if getattr(libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), name)

CLONE_NEWNS, CLONE_NEWPID, MS_REC, MS_PRIVATE = 0x20000, 0x20000000, 0x4000, 0x40000
call("unshare", CLONE_NEWNS | CLONE_NEWPID)
if os.fork() != 0:
    os.wait()
    os._exit(0)
call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None)
call("mount", b"proc", b"/proc", b"proc", 0, None)
awaited = {signal.SIGTERM, signal.SIGCHLD}
signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
print("ready")
while signal.sigwait(awaited) != signal.SIGTERM:
    try:
        while os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG):
            pass
    except ChildProcessError:
        pass  # The last child has been waited for.
"#,
    );
    let _init = Started::ready(program.env("PODLAB", mark(&learner)));
    learner.check("fake-init", &[]).holds();
}

#[test]
fn a_c_program_holds() {
    needs!(Need::Root, Need::Program("gcc"));
    let learner = Podlab::new();
    let source = r#"
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

static void on_term(int signal) { _exit(0); }
static void on_child(int signal) {}

static int init(void *unused)
{
    sigset_t child, before;
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("proc", "/proc", "proc", 0, NULL))
        return 1;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, &before);
    signal(SIGCHLD, on_child);
    signal(SIGTERM, on_term);
    puts("ready");
    fflush(stdout);
    for (;;) {
        while (waitpid(-1, NULL, WNOHANG) > 0) {}
        sigsuspend(&before);
    }
}

int main(void)
{
    static char stack[256 * 1024];
    int flags = CLONE_NEWPID | CLONE_NEWNS | SIGCHLD;
    pid_t pid = clone(init, stack + sizeof(stack), flags, NULL);
    return waitpid(pid, NULL, 0) != pid;
}
"#;
    let mut program = Command::new(means::compile_c(source, learner.folder(), "init"));
    let _init = Started::ready(program.env("PODLAB", mark(&learner)));
    learner.check("fake-init", &[]).holds();
}

#[test]
fn a_container_with_dockers_init_holds() {
    needs!(Need::Root, Need::Docker);
    let learner = Podlab::new();
    let env = format!("PODLAB={}", mark(&learner));
    let _init = Container::run(&["--init", "--env", &env, "busybox", "sleep", "1000"]);
    learner.check("fake-init", &[]).holds();
}

#[test]
fn a_container_with_a_shell_as_its_init_holds() {
    needs!(Need::Root, Need::Docker);
    let learner = Podlab::new();
    let env = format!("PODLAB={}", mark(&learner));
    let init = Container::run(&["--env", &env, "busybox", "sh", "-c", INIT]);
    init.printed("ready");
    learner.check("fake-init", &[]).holds();
}

#[test]
fn a_shell_that_bwrap_made_pid_1_holds() {
    needs!(Need::Root, Need::Program("bwrap"));
    let learner = Podlab::new();
    let _init = Started::ready(&mut bwrap(&learner, &["--as-pid-1"], INIT));
    learner.check("fake-init", &[]).holds();
}

#[test]
fn an_ordinary_users_bwrap_holds() {
    needs!(Need::Userns, Need::Program("bwrap"));
    let learner = Podlab::ordinary().judged_from_outside();
    let _init = Started::ready(as_ordinary(&mut bwrap(&learner, &["--as-pid-1"], INIT)));
    learner.check("fake-init", &[]).holds();
}

#[test]
fn nothing_started_is_not_pid_1() {
    let learner = Podlab::new();
    let checked = learner.check("fake-init", &[]);
    checked.fails_only("is-pid-one");
    assert_eq!(checked.judgement.subject, None);
}

#[test]
fn a_marked_process_outside_is_not_pid_1() {
    let learner = Podlab::new();
    let outside = Started::ready(sh("echo ready; read end").env("PODLAB", mark(&learner)));
    learner.check("fake-init", &[]).fails_only("is-pid-one");
    learner.check_pid("fake-init", outside.pid()).fails_only("is-pid-one");
}

#[test]
fn without_a_fork_the_program_stays_outside() {
    needs!(Need::Root);
    let learner = Podlab::new();
    let script = "echo ready; read end";
    let _outside = Started::ready(&mut unshare(&learner, &["--pid"], script));
    learner.check("fake-init", &[]).fails_by("is-pid-one", "unshared-but-not-forked");
}

#[test]
fn the_parent_of_pid_1_is_not_pid_1() {
    needs!(Need::Root);
    let learner = Podlab::new();
    let init = Started::ready(&mut unshare(&learner, &UNSHARE, INIT));
    learner.check_pid("fake-init", init.pid()).fails_by("is-pid-one", "named-the-maker");
}

#[test]
fn what_bwrap_runs_is_not_pid_1_by_itself() {
    needs!(Need::Root, Need::Program("bwrap"));
    let learner = Podlab::new();
    let started = Started::ready(&mut bwrap(&learner, &[], "echo ready; read end"));
    let second = started.below(&[2]);
    learner.check_pid("fake-init", second).fails_by("is-pid-one", "second-in-line");
}

#[test]
fn other_namespaces_do_not_count() {
    needs!(Need::Root);
    let learner = Podlab::new();
    let script = "echo ready; read end";
    let _started = Started::ready(&mut unshare(&learner, &["--mount", "--uts"], script));
    learner.check("fake-init", &[]).fails_by("is-pid-one", "other-namespaces-only");
}

#[test]
fn a_pid_1_without_the_mark_is_not_known_for_the_learners() {
    needs!(Need::Root);
    let learner = Podlab::new();
    let init = Started::ready(unshare(&learner, &UNSHARE, INIT).env_remove("PODLAB"));
    learner.check_pid("fake-init", init.below(&[1])).fails_only("is-marked");
}

#[test]
fn the_mark_of_another_learner_does_not_count() {
    needs!(Need::Root);
    let (learner, neighbour) = (Podlab::new(), Podlab::new());
    let init = Started::ready(&mut unshare(&neighbour, &UNSHARE, INIT));
    learner.check_pid("fake-init", init.below(&[1])).fails_only("is-marked");
}

#[test]
fn a_mark_that_stayed_outside_does_not_count() {
    needs!(Need::Root);
    let learner = Podlab::new();
    let script = format!("exec env -u PODLAB sh -c \"{INIT}\"");
    let _init = Started::ready(&mut unshare(&learner, &UNSHARE, &script));
    learner.check("fake-init", &[]).fails_by("is-marked", "mark-stayed-outside");
}

#[test]
fn a_mark_that_a_shell_exports_after_its_start_does_not_count() {
    needs!(Need::Root);
    let learner = Podlab::new();
    let script = format!(
        "export PODLAB={}; sleep 1000 & trap 'exit 0' TERM; echo ready; while :; do wait; done",
        mark(&learner)
    );
    let _init = Started::ready(unshare(&learner, &UNSHARE, &script).env_remove("PODLAB"));
    learner.check("fake-init", &[]).fails_by("is-marked", "mark-set-later");
}

#[test]
fn the_hosts_proc_does_not_count() {
    needs!(Need::Root);
    let learner = Podlab::new();
    for options in [&["--pid", "--fork"][..], &["--pid", "--fork", "--mount"]] {
        let _init = Started::ready(&mut unshare(&learner, options, INIT));
        learner.check("fake-init", &[]).fails_by("own-proc", "host-proc-inside");
    }
}

#[test]
fn a_proc_mounted_before_the_fork_is_the_hosts() {
    needs!(Need::Root);
    let learner = Podlab::new();
    let script = format!("mount -t proc proc /proc && exec unshare --pid --fork sh -c \"{INIT}\"");
    let _init = Started::ready(&mut unshare(&learner, &["--mount"], &script));
    learner.check("fake-init", &[]).fails_by("own-proc", "host-proc-inside");
}

#[test]
fn no_procfs_at_all_does_not_count() {
    needs!(Need::Root);
    let learner = Podlab::new();
    let script = format!("mount -t tmpfs none /proc; {INIT}");
    let _init = Started::ready(&mut unshare(&learner, &["--pid", "--fork", "--mount"], &script));
    learner.check("fake-init", &[]).fails_by("own-proc", "no-proc-inside");
}

#[test]
fn a_link_in_the_place_of_proc_is_not_followed_out() {
    needs!(Need::Root, Need::Program("bwrap"));
    let learner = Podlab::new();
    let mut bwrap = Command::new("bwrap");
    bwrap.args([
        "--unshare-pid",
        "--as-pid-1",
        "--ro-bind",
        "/usr",
        "/usr",
        "--symlink",
        "usr/bin",
    ]);
    bwrap.args(["/bin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"]);
    bwrap.args(["--symlink", "../../../proc", "/proc", "sh", "-c", INIT]);
    let _init = Started::ready(bwrap.env("PODLAB", mark(&learner)));
    learner.check("fake-init", &[]).fails_by("own-proc", "no-proc-inside");
}

#[test]
fn a_pid_1_that_never_waits_keeps_its_orphans() {
    needs!(Need::Root);
    let learner = Podlab::new();
    let mut started = unshare(&learner, &UNSHARE, "echo ready; exec sleep 1000");
    let init = Started::ready(&mut started);
    learner.check("fake-init", &[]).fails_by("reaps-orphans", "orphans-stay");
    let children = means::children(init.below(&[1]));
    assert_eq!(children.into_iter().map(means::state).collect::<Vec<_>>(), [Some('Z')]);
}

#[test]
fn a_pid_1_without_a_handler_stays() {
    needs!(Need::Root);
    let learner = Podlab::new();
    let script = "echo ready; while :; do sleep 1 & wait; done";
    let init = Started::ready(&mut unshare(&learner, &UNSHARE, script));
    learner.check("fake-init", &[]).fails_by("ends-on-term", "deaf-to-term");
    assert_ne!(means::state(init.below(&[1])), None);
}

#[test]
fn a_trap_behind_a_command_in_the_foreground_comes_too_late() {
    needs!(Need::Root);
    let learner = Podlab::new();
    let script = "trap 'exit 0' TERM; echo ready; sleep 1000; :";
    let _init = Started::ready(&mut unshare(&learner, &UNSHARE, script));
    learner.check("fake-init", &[]).fails_by("ends-on-term", "trap-waits-for-child");
}

#[test]
fn a_handler_that_returns_does_not_end_it() {
    needs!(Need::Root);
    let learner = Podlab::new();
    let script = "trap : TERM; echo ready; while :; do sleep 1 & wait; done";
    let _init = Started::ready(&mut unshare(&learner, &UNSHARE, script));
    learner.check("fake-init", &[]).fails_by("ends-on-term", "handled-but-stays");
}

#[test]
fn a_stopped_init_is_told_that_it_is_stopped() {
    needs!(Need::Root);
    let learner = Podlab::new();
    let init = Started::ready(&mut unshare(&learner, &UNSHARE, INIT));
    let pid = nix::unistd::Pid::from_raw(init.below(&[1]));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP).expect("kill");
    learner.check("fake-init", &[]).fails_by("reaps-orphans", "init-is-stopped");
}

#[test]
fn what_may_not_be_looked_into_is_not_judged() {
    needs!(Need::Root);
    let (learner, root) = (Podlab::ordinary(), Podlab::new());
    let init = Started::ready(&mut unshare(&root, &UNSHARE, INIT));
    let checked = learner.check_pid("fake-init", init.below(&[1]));
    checked.cannot_tell(&["is-marked"]);
    assert_ne!(means::state(init.below(&[1])), None);
}

#[test]
fn a_namespace_that_may_not_be_joined_is_not_judged() {
    needs!(Need::Root, Need::Program("setpriv"));
    let learner = Podlab::ordinary();
    let id = ordinary();
    let (user, group) = (format!("--reuid={id}"), format!("--regid={id}"));
    let options = [&UNSHARE[..], &["setpriv", &user, &group, "--clear-groups"]].concat();
    let _init = Started::ready(&mut unshare(&learner, &options, INIT));
    let checked = learner.check("fake-init", &[]);
    checked.cannot_tell(&["reaps-orphans"]);
    let CheckOutcome::CannotTell { why } = &checked.result("reaps-orphans").result else { return };
    assert!(why.ends_with("operation not permitted; ask as root or as its user"), "{why}");
}

#[test]
fn experiments_end_with_podlab() {
    needs!(Need::Root);
    let learner = Podlab::new();
    let script = "sleep 1000 & echo ready; while :; do wait; done";
    let init = Started::ready(&mut unshare(&learner, &UNSHARE, script));
    let mark = Mark::new("probe");
    let mut check = learner.command(&["check", "fake-init"]);
    mark.put_on(&mut check).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut podlab = check.spawn().expect("podlab");
    let mut said = BufReader::new(podlab.stderr.take().expect("a pipe"));
    said.read_line(&mut String::new()).expect("a remark before the last experiment");
    let probe = loop {
        let others = mark.processes().into_iter().filter(|pid| *pid != podlab.id() as i32);
        if let Some(probe) = others.filter_map(means::pidfd).next() {
            break probe;
        }
    };
    podlab.kill().expect("SIGKILL");
    podlab.wait().expect("its end");
    means::await_end(&probe);
    assert!(mark.processes().is_empty());
    assert_eq!(means::children(init.below(&[1])).len(), 1);
}

#[test]
fn the_experiments_leave_nothing_behind() {
    needs!(Need::Root);
    let learner = Podlab::new();
    let script = "sleep 1000 & echo ready; while :; do wait; done";
    let init = Started::ready(&mut unshare(&learner, &UNSHARE, script));
    let before = init.family();
    learner.check("fake-init", &[]).fails_by("ends-on-term", "deaf-to-term");
    assert_eq!(init.family(), before);
    assert_eq!(means::children(init.below(&[1])).len(), 1);
}
