//! The exercise *three-deep*: right solutions by several means, wrong ones each with its mistake.
//! Each test has a number of its own, by which its process is told from those of the others.

use std::process::Command;

use crate::check::Podlab;
use crate::means::{self, Container, Started, sh};
use crate::needs;
use crate::support::need::Need;
use crate::support::user::as_ordinary;

/// A learner whose process is to have this PID.
fn learner_with(number: u64) -> Podlab {
    Podlab::new().renamed_until(is_given(number))
}

/// The same without privileges.
fn ordinary_with(number: u64) -> Podlab {
    Podlab::ordinary().renamed_until(is_given(number))
}

fn is_given(number: u64) -> impl Fn(&Podlab) -> bool {
    move |learner| learner.params("three-deep").number("pid", 5, 30) == number
}

/// A shell script that goes through the PIDs until a process of its own has this one.
fn count_to(number: u64) -> String {
    format!(
        "until sleep 1000 & [ $! = {number} ]; do kill $!; done; echo ready; while :; do wait; done"
    )
}

/// `sh -c SCRIPT` in this many nested PID namespaces; the innermost is made with OPTIONS, too.
fn nested(levels: usize, options: &[&str], script: &str) -> Command {
    let mut command = Command::new("env");
    for level in 1..=levels {
        command.args(["unshare", "--pid", "--fork"]);
        if level == levels {
            command.args(options);
        }
    }
    command.args(["sh", "-c", script]);
    command
}

/// The only process so many levels below that has this number in there.
fn inside(started: &Started, levels: usize, number: u64) -> i32 {
    let is_it = |pid: &i32| {
        let numbers = means::ns_pid(*pid);
        numbers.len() == levels + 1 && numbers.last() == Some(&(number as i32))
    };
    let found: Vec<i32> = started.family().into_iter().filter(is_it).collect();
    let [only] = found[..] else { panic!("{levels} levels below, {number}: {found:?}") };
    only
}

#[test]
fn a_shell_under_three_unshares_holds() {
    needs!(Need::Root);
    let learner = learner_with(5);
    let _started = Started::ready(&mut nested(3, &["--mount-proc"], &count_to(5)));
    learner.check("three-deep", &[]).holds();
}

#[test]
fn an_ordinary_users_three_unshares_hold() {
    needs!(Need::Userns);
    let learner = ordinary_with(25).judged_from_outside();
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user"]);
    let inner = nested(3, &["--mount-proc"], &count_to(25));
    command.arg(inner.get_program()).args(inner.get_args());
    let started = Started::ready(as_ordinary(&mut command));
    learner.check_pid("three-deep", inside(&started, 3, 25)).holds();
}

#[test]
fn the_lab_nested_in_itself_holds() {
    needs!(Need::Root);
    let learner = learner_with(6);
    let lab = learner.lab("fake-init");
    let mut nested = Command::new(&lab);
    nested.arg("--").arg(&lab).arg("--").arg(&lab).args(["--", "sh", "-c", &count_to(6)]);
    let _started = Started::ready(&mut nested);
    learner.check("three-deep", &[]).holds();
}

#[test]
fn a_python_program_that_forks_and_counts_holds() {
    needs!(Need::Root, Need::Program("python3"));
    let learner = learner_with(7);
    let mut program = means::python(
        r#"
import ctypes, os, signal

libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    if getattr(libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), name)

CLONE_NEWNS, CLONE_NEWPID, MS_REC, MS_PRIVATE = 0x20000, 0x20000000, 0x4000, 0x40000
for level in range(3):
    call("unshare", CLONE_NEWPID)
    if os.fork() != 0:
        os.wait()
        os._exit(0)
call("unshare", CLONE_NEWNS)
call("mount", None, b"/", None, MS_REC | MS_PRIVATE, None)
call("mount", b"proc", b"/proc", b"proc", 0, None)
while os.fork() != 0:
    os.wait()
if os.getpid() == 7:
    print("ready")
    signal.pause()
"#,
    );
    let _started = Started::ready(&mut program);
    learner.check("three-deep", &[]).holds();
}

#[test]
fn a_c_program_that_asks_for_its_pid_holds() {
    needs!(Need::Root, Need::Program("gcc"));
    let learner = learner_with(8);
    let source = r#"
#define _GNU_SOURCE
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    for (int level = 0; level < 3; level++) {
        if (unshare(CLONE_NEWPID))
            return 1;
        if (fork() != 0)
            return wait(NULL) < 0;
    }
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)
        || mount("proc", "/proc", "proc", 0, NULL))
        return 1;
    pid_t wanted = 8;
    struct clone_args arguments = {
        .exit_signal = SIGCHLD, .set_tid = (uintptr_t) &wanted, .set_tid_size = 1,
    };
    if (syscall(SYS_clone3, &arguments, sizeof(arguments)) != 0)
        return wait(NULL) < 0;
    puts("ready");
    fflush(stdout);
    return pause();
}
"#;
    let program = means::compile_c(source, learner.folder(), "nest");
    let _started = Started::ready(&mut Command::new(program));
    learner.check("three-deep", &[]).holds();
}

#[test]
fn bwrap_in_bwrap_in_bwrap_holds() {
    needs!(Need::Root, Need::Program("bwrap"));
    let learner = learner_with(9);
    let mut command = Command::new("env");
    for _ in 0..3 {
        command.args(["bwrap", "--dev-bind", "/", "/", "--unshare-pid", "--proc", "/proc"]);
        command.args(["--cap-add", "ALL"]);
    }
    let _started = Started::ready(command.args(["sh", "-c", &count_to(9)]));
    learner.check("three-deep", &[]).holds();
}

#[test]
fn two_more_levels_in_a_container_hold() {
    needs!(Need::Root, Need::Docker);
    let learner = learner_with(10);
    // Docker has its own policy of what may be mounted, where the kernel has AppArmor.
    let free = ["seccomp", "apparmor"].map(|policy| format!("--security-opt={policy}=unconfined"));
    let rights = ["--cap-add=SYS_ADMIN", &free[0], &free[1]];
    let unshare = ["unshare", "-p", "-f", "unshare", "-p", "-f", "-m", "sh", "-c"];
    let script = format!("mount -t proc proc /proc; {}", count_to(10));
    let container = Container::run(&[&rights[..], &["busybox"], &unshare, &[&script]].concat());
    container.printed("ready");
    learner.check("three-deep", &[]).holds();
}

#[test]
fn the_process_with_the_number_is_found_among_others() {
    needs!(Need::Root);
    let learner = learner_with(11);
    let _too_shallow = Started::ready(&mut nested(2, &["--mount-proc"], &count_to(11)));
    let ours = Started::ready(&mut nested(3, &["--mount-proc"], &count_to(11)));
    let _anothers = Started::ready(&mut nested(3, &["--mount-proc"], &count_to(12)));
    let checked = learner.check("three-deep", &[]);
    checked.holds();
    let subject = checked.judgement.subject.expect("a subject");
    assert!(subject.starts_with(&format!("sleep {},", inside(&ours, 3, 11))), "{subject}");
}

#[test]
fn what_was_there_before_podlab_start_does_not_count() {
    needs!(Need::Root);
    let learner = learner_with(13);
    let before = Started::ready(&mut nested(3, &["--mount-proc"], &count_to(13)));
    learner.start("three-deep");
    let checked = learner.check("three-deep", &[]);
    assert_eq!(checked.code, 1, "{:#?}", checked.judgement);
    let ours = format!(" {},", inside(&before, 3, 13));
    assert!(checked.judgement.subject.is_none_or(|subject| !subject.contains(&ours)));
    let _after = Started::ready(&mut nested(3, &["--mount-proc"], &count_to(13)));
    learner.check("three-deep", &[]).holds();
}

#[test]
fn a_process_outside_is_not_nested() {
    let learner = Podlab::new();
    let outside = Started::ready(&mut sh("echo ready; read end"));
    learner.check_pid("three-deep", outside.pid()).fails_only("nested");
}

#[test]
fn one_level_is_not_nested() {
    needs!(Need::Root);
    let learner = learner_with(14);
    let started = Started::ready(&mut orphaned(&nested(1, &["--mount-proc"], &count_to(14))));
    learner.check_pid("three-deep", inside(&started, 1, 14)).fails_only("nested");
}

/// A command whose parent ends: to the processes of the tests beside this one it is no relative.
fn orphaned(command: &Command) -> Command {
    let mut shell = sh(r#"exec 3<&0; "$@" <&3 3<&- &"#);
    shell.arg("sh").arg(command.get_program()).args(command.get_args());
    shell
}

#[test]
fn two_levels_are_one_too_few() {
    needs!(Need::Root);
    let learner = learner_with(15);
    let started = Started::ready(&mut nested(2, &["--mount-proc"], &count_to(15)));
    learner.check_pid("three-deep", inside(&started, 2, 15)).fails_by("nested", "two-deep");
}

#[test]
fn four_levels_are_one_too_many() {
    needs!(Need::Root);
    let learner = learner_with(16);
    let started = Started::ready(&mut nested(4, &["--mount-proc"], &count_to(16)));
    learner.check_pid("three-deep", inside(&started, 4, 16)).fails_by("nested", "too-deep");
}

#[test]
fn three_namespaces_beside_each_other_are_not_nested() {
    needs!(Need::Root);
    let learner = learner_with(17);
    let script = format!(
        "for each in 1 2 3; do unshare --pid --fork --mount-proc sh -c '{}' & done; wait",
        count_to(17)
    );
    let started = Started::ready(&mut sh(&script));
    for _ in 0..2 {
        assert_eq!(started.line(), "ready");
    }
    let first =
        started.family().into_iter().find(|pid| means::ns_pid(*pid).get(1..) == Some(&[17]));
    learner
        .check_pid("three-deep", first.expect("three of them"))
        .fails_by("nested", "side-by-side");
}

#[test]
fn who_unshared_the_third_level_is_not_in_it() {
    needs!(Need::Root);
    let learner = learner_with(18);
    let script = "exec unshare --pid sh -c 'echo ready; read end'";
    let started = Started::ready(&mut nested(2, &["--mount-proc"], script));
    learner.check_pid("three-deep", inside(&started, 2, 1)).fails_by("nested", "not-forked-last");
}

#[test]
fn nested_user_namespaces_nest_no_pids() {
    needs!(Need::Root);
    let learner = learner_with(19);
    let mut command = Command::new("env");
    for _ in 0..3 {
        command.args(["unshare", "--user", "--map-root-user"]);
    }
    let started = Started::ready(command.args(["sh", "-c", "echo ready; read end"]));
    learner
        .check_pid("three-deep", started.pid())
        .fails_by("nested", "only-user-namespaces-nested");
}

#[test]
fn another_number_does_not_count() {
    needs!(Need::Root);
    let learner = learner_with(20);
    let started = Started::ready(&mut nested(3, &["--mount-proc"], &count_to(21)));
    learner.check_pid("three-deep", inside(&started, 3, 21)).fails_by("inner-pid", "a-few-off");
    let started = Started::ready(&mut nested(3, &["--mount-proc"], &count_to(24)));
    learner.check_pid("three-deep", inside(&started, 3, 24)).fails_only("inner-pid");
}

#[test]
fn the_number_at_another_level_does_not_count() {
    needs!(Need::Root);
    let learner = learner_with(22);
    // Three forks later, in the innermost namespace, a process has the number in the outermost.
    let innermost =
        "unshare --pid --fork unshare --pid --fork --mount-proc sh -c 'echo ready; read end'";
    let script = format!("until sleep 0 & [ $! = {} ]; do :; done; {innermost}; :", 22 - 3);
    let started = Started::ready(&mut nested(1, &[], &script));
    assert_eq!(means::ns_pid(inside(&started, 3, 1))[1..], [22, 2, 1]);
    learner
        .check_pid("three-deep", inside(&started, 3, 1))
        .fails_by("inner-pid", "number-of-another-level");
}

#[test]
fn the_proc_of_a_level_above_does_not_count() {
    needs!(Need::Root);
    let learner = learner_with(23);
    let outermost = Started::ready(&mut nested(3, &[], &count_to(23)));
    learner
        .check_pid("three-deep", inside(&outermost, 3, 23))
        .fails_by("own-proc", "outer-proc-inside");
    let script = format!("exec unshare --pid --fork sh -c '{}'", count_to(23));
    let middle = Started::ready(&mut nested(2, &["--mount-proc"], &script));
    learner
        .check_pid("three-deep", inside(&middle, 3, 23))
        .fails_by("own-proc", "outer-proc-inside");
}

#[test]
fn no_procfs_at_all_does_not_count() {
    needs!(Need::Root);
    let learner = learner_with(24);
    let script = format!("mount -t tmpfs none /proc; {}", count_to(24));
    let started = Started::ready(&mut nested(3, &["--mount"], &script));
    learner.check_pid("three-deep", inside(&started, 3, 24)).fails_by("own-proc", "no-proc-inside");
}

#[test]
fn what_may_not_be_looked_into_is_not_judged() {
    needs!(Need::Root);
    let learner = ordinary_with(26);
    let started = Started::ready(&mut nested(3, &["--mount-proc"], &count_to(26)));
    learner.check_pid("three-deep", inside(&started, 3, 26)).cannot_tell(&["own-proc"]);
}
