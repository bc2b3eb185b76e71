//! The exercise *oom-once*, done rightly and wrongly on the real kernel, in whichever version of
//! cgroups has the memory controller.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use podlab::judge::CheckOutcome;
use rustix::event::{Timespec, poll};

use crate::check::{Checked, Podlab};
use crate::means::{Container, Started, compile_c, python, sh};
use crate::memory_group::{Group, alone};
use crate::needs;
use crate::support::need::{Need, met};
use crate::support::running::until;
use crate::support::user::as_ordinary;

const EXERCISE: &str = "oom-once";
const MIB: u64 = 1 << 20;

/// In a group: one is killed, another sleeps on. Says so when it has happened.
const ONE_IS_KILLED: &str = "sleep 600 & tail /dev/zero; echo ready; cat";

/// A learner who has begun, and the limit they were given.
struct Learner {
    podlab: Podlab,
    mib: u64,
    _alone: File,
}

impl Learner {
    fn new() -> Learner {
        Learner::of(Podlab::new())
    }

    fn of(podlab: Podlab) -> Learner {
        let _alone = alone();
        let mib = podlab.params(EXERCISE).number("mib", 16, 48);
        podlab.start(EXERCISE);
        Learner { podlab, mib, _alone }
    }

    fn check(&self) -> Checked {
        self.podlab.check(EXERCISE, &[])
    }

    /// A group with the right limit.
    fn group(&self) -> Group {
        let group = Group::new();
        group.limit(&(self.mib * MIB).to_string());
        group
    }
}

#[test]
fn a_shell_lets_one_be_killed_and_one_live() {
    needs!(Need::MemoryGroup);
    let learner = Learner::new();
    let group = learner.group();
    let _members = Started::ready(&mut group.sh(ONE_IS_KILLED));
    learner.check().holds();
}

#[test]
fn the_lab_memory_limit_does_it_too() {
    needs!(Need::MemoryGroup);
    if !met(&Podlab::lab_needs("memory-limit")) {
        return;
    }
    let learner = Learner::new();
    let limit = learner.mib.to_string();
    let run = ["run", "memory-limit", "--limit", &limit, "--", "sh", "-c", ONE_IS_KILLED];
    let mut lab = Started::ready(&mut learner.podlab.command(&run));
    learner.check().holds();
    // The lab removes its group when its command has ended.
    drop(lab.stdin());
    let name = format!("memory-limit-{}", lab.pid());
    until("the lab has removed its group", || {
        crate::support::footprint::cgroups_named(&name).is_empty().then_some(())
    });
}

const PYTHON: &str = "
import os, sys
open(sys.argv[1] + '/cgroup.procs', 'w').write('0')
child = os.fork()
if child == 0:
    held = []
    while True:
        held.append(bytearray(os.urandom(1 << 16)))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
print('ready')
sys.stdin.read()
";

#[test]
fn a_python_program_survives_its_child() {
    needs!(Need::MemoryGroup, Need::Program("python3"));
    let learner = Learner::new();
    let group = learner.group();
    let _members = Started::ready(python(PYTHON).arg(group.path()));
    learner.check().holds();
}

const C: &str = r#"
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int procs = open(argv[1], O_WRONLY);
    if (procs < 0 || write(procs, "0", 1) != 1)
        err(1, "%s", argv[1]);
    pid_t child = fork();
    if (child == 0)
        for (;;)
            for (volatile char *page = malloc(1 << 20), *end = page + (1 << 20); page < end; page += 4096)
                *page = 1;
    int status;
    if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        errx(1, "not killed");
    puts("ready");
    fflush(stdout);
    getchar();
}
"#;

#[test]
fn a_c_program_survives_its_child() {
    needs!(Need::MemoryGroup, Need::Program("gcc"));
    let learner = Learner::new();
    let group = learner.group();
    let program = compile_c(C, learner.podlab.folder(), "eat");
    let _members = Started::ready(Command::new(program).arg(group.path().join("cgroup.procs")));
    learner.check().holds();
}

#[test]
fn a_container_survives_what_is_killed_in_it() {
    needs!(Need::MemoryGroup, Need::Docker);
    let learner = Learner::new();
    let limit = format!("{}m", learner.mib);
    let script = "(x=x; while :; do x=$x$x; done); echo killed; sleep 600";
    let run = ["--memory", &limit, "--memory-swap", &limit, "busybox", "sh", "-c", script];
    let container = Container::run(&run);
    container.printed("killed");
    learner.check().holds();
}

#[test]
fn both_may_be_in_groups_below() {
    needs!(Need::MemoryGroup);
    let learner = Learner::new();
    let group = learner.group();
    let (one, other) = (group.below("one"), group.below("other"));
    let _lives = Started::ready(&mut other.sh("echo ready; cat"));
    let killed = one.sh("exec tail /dev/zero").status().expect("sh");
    assert!(!killed.success());
    learner.check().holds();
}

#[test]
fn without_a_group_nothing_holds() {
    needs!(Need::MemoryGroup);
    let learner = Learner::new();
    let checked = learner.check();
    checked.fails_only("limit");
    assert_eq!(checked.judgement.points, 0);
}

#[test]
fn another_limit_is_not_the_limit() {
    needs!(Need::MemoryGroup);
    let learner = Learner::new();
    let group = Group::new();
    group.limit(&((learner.mib + 1) * MIB).to_string());
    let _members = Started::ready(&mut group.sh(ONE_IS_KILLED));
    learner.check().fails_only("limit");
}

#[test]
fn the_same_number_of_another_unit_is_recognised() {
    needs!(Need::MemoryGroup);
    let learner = Learner::new();
    let group = Group::new();
    for unit in ["000000", "", "K", "000", "G"] {
        group.limit(&format!("{}{unit}", learner.mib));
        learner.check().fails_by("limit", "wrong-unit");
    }
}

#[test]
fn a_limit_without_anyone_in_the_group_is_recognised() {
    needs!(Need::MemoryGroup);
    let learner = Learner::new();
    let _group = learner.group();
    // The process that was meant stays where it was.
    let _outside = Started::ready(&mut sh("echo ready; cat"));
    learner.check().fails_by("killed", "never-moved");
}

const ALLOCATES_THEN_MOVES: &str = "
import os, sys
held = os.urandom(int(sys.argv[2]))
open(sys.argv[1] + '/cgroup.procs', 'w').write('0')
print('ready')
sys.stdin.read()
";

#[test]
fn memory_that_was_charged_elsewhere_is_recognised() {
    needs!(Need::MemoryGroup, Need::Program("python3"));
    let learner = Learner::new();
    let group = learner.group();
    let bytes = (2 * learner.mib * MIB).to_string();
    let _moved = Started::ready(python(ALLOCATES_THEN_MOVES).arg(group.path()).arg(bytes));
    learner.check().fails_by("killed", "moved-after-allocating");
}

const ASKS_WITHOUT_USING: &str = "
import mmap, sys
open(sys.argv[1] + '/cgroup.procs', 'w').write('0')
held = mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
print('ready')
sys.stdin.read()
";

#[test]
fn memory_that_was_promised_but_not_used_is_recognised() {
    needs!(Need::MemoryGroup, Need::Program("python3"));
    let learner = Learner::new();
    let group = learner.group();
    let _members = Started::ready(python(ASKS_WITHOUT_USING).arg(group.path()));
    learner.check().fails_by("killed", "promised-not-used");
}

#[test]
fn cache_that_was_taken_back_is_recognised() {
    needs!(Need::MemoryGroup);
    let learner = Learner::new();
    let group = learner.group();
    // Not in /tmp, which may be in memory itself.
    let folder = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let script = format!(
        "dd if=/dev/zero of={}/cache bs=1M count={}; echo ready; cat",
        folder.path().display(),
        3 * learner.mib
    );
    let _members = Started::ready(&mut group.sh(&script));
    learner.check().fails_by("killed", "reclaimed-not-killed");
}

#[test]
fn a_kill_before_the_start_does_not_count() {
    needs!(Need::MemoryGroup);
    let learner = Learner::new();
    let group = learner.group();
    let _members = Started::ready(&mut group.sh(ONE_IS_KILLED));
    learner.podlab.start(EXERCISE);
    learner.check().fails_by("killed", "killed-before-start");
    assert!(!group.sh("exec tail /dev/zero").status().expect("sh").success());
    learner.check().holds();
}

#[test]
fn a_kill_that_left_nobody_is_recognised() {
    needs!(Need::MemoryGroup);
    let learner = Learner::new();
    let group = learner.group();
    assert!(!group.sh("exec tail /dev/zero").status().expect("sh").success());
    learner.check().fails_by("survivor", "nobody-survived");
}

/// A group with this limit in which the only process was killed, as the kernel log tells. The kernel
/// logs no more than ten kills in five seconds, and other tests kill, too.
fn killed_and_logged(make: impl Fn() -> Group) -> Group {
    loop {
        let group = make();
        assert!(!group.sh("exec tail /dev/zero").status().expect("sh").success());
        if group.is_in_log() {
            return group;
        }
    }
}

#[test]
fn who_came_after_the_kill_has_not_survived_it() {
    needs!(Need::MemoryGroup, Need::KernelLog);
    let learner = Learner::new();
    let group = killed_and_logged(|| learner.group());
    wait_out_the_logs_drift();
    let _late = Started::ready(&mut group.sh("echo ready; cat"));
    learner.check().fails_by("survivor", "came-later");
}

#[test]
fn who_was_elsewhere_at_the_kill_has_not_survived_it() {
    needs!(Need::MemoryGroup, Need::KernelLog);
    let learner = Learner::new();
    let elsewhere = Started::ready(&mut sh("echo ready; cat"));
    let group = killed_and_logged(|| learner.group());
    group.write("cgroup.procs", &elsewhere.pid().to_string());
    learner.check().fails_by("survivor", "moved-in-later");
}

/// The log's clock may be off by a ten-thousandth; only who comes later than that is surely late.
fn wait_out_the_logs_drift() {
    let uptime = fs::read_to_string("/proc/uptime").expect("uptime");
    let seconds: f64 = uptime.split(' ').next().and_then(|s| s.parse().ok()).expect("seconds");
    let wait = Duration::from_secs_f64(0.2 + seconds / 10_000.0);
    let wait = Timespec::try_from(wait).expect("a short time");
    poll(&mut [], Some(&wait)).expect("poll");
}

#[test]
fn a_kill_for_the_limit_of_a_group_below_is_recognised() {
    needs!(Need::MemoryGroup, Need::KernelLog);
    let learner = Learner::new();
    let group = learner.group();
    let number = std::cell::Cell::new(0);
    let below = killed_and_logged(|| {
        let below = group.below(&format!("below-{}", number.replace(number.get() + 1)));
        below.limit("8M");
        below
    });
    let _lives = Started::ready(&mut below.sh("echo ready; cat"));
    let checked = learner.check();
    assert_eq!(checked.failing().first(), Some(&"by-its-limit"), "{:#?}", checked.judgement);
    assert_eq!(checked.mistakes().first(), Some(&"killed-for-another-limit"));
}

#[test]
fn killing_that_is_switched_off_is_recognised() {
    needs!(Need::Root, Need::Cgroup1);
    let learner = Learner::new();
    let group = learner.group();
    group.write("memory.oom_control", "1");
    let _stuck = Started::ready(&mut group.sh("echo ready; exec tail /dev/zero"));
    until("it waits for memory", || {
        group.read("memory.oom_control").contains("under_oom 1").then_some(())
    });
    learner.check().fails_by("killed", "killing-disabled");
}

#[test]
fn a_threshold_is_not_a_limit() {
    needs!(Need::MemoryGroup, Need::Cgroup2);
    let learner = Learner::new();
    let group = Group::new();
    group.write("memory.high", &(learner.mib * MIB).to_string());
    learner.check().fails_by("limit", "high-not-max");
}

#[test]
fn a_group_that_goes_as_one_has_no_survivor() {
    needs!(Need::MemoryGroup, Need::Cgroup2);
    let learner = Learner::new();
    let group = learner.group();
    group.write("memory.oom.group", "1");
    let _ = group.sh(ONE_IS_KILLED).stdin(Stdio::null()).status().expect("sh");
    learner.check().fails_by("survivor", "all-go-together");
}

#[test]
fn of_several_groups_the_one_that_holds_is_judged() {
    needs!(Need::MemoryGroup);
    let learner = Learner::new();
    let (_empty, group, _another) = (learner.group(), learner.group(), learner.group());
    let _members = Started::ready(&mut group.sh(ONE_IS_KILLED));
    learner.check().holds();
}

#[test]
fn where_the_kernel_log_may_not_be_read_it_is_judged_without_and_says_so() {
    needs!(Need::MemoryGroup);
    let learner = Learner::of(Podlab::ordinary());
    let group = learner.group();
    let _members = Started::ready(&mut group.sh(ONE_IS_KILLED));
    let mut dmesg = Command::new("dmesg");
    dmesg.stdout(Stdio::null()).stderr(Stdio::null());
    let log_is_open = as_ordinary(&mut dmesg).status().is_ok_and(|status| status.success());
    let checked = learner.check();
    checked.holds();
    let CheckOutcome::Holds { saw } = &checked.result("survivor").result else { unreachable!() };
    assert!(log_is_open || saw.contains("may not be read"), "{saw}");
}

#[test]
fn files_that_may_not_be_read_cost_nothing() {
    needs!(Need::Root, Need::MemoryGroup);
    let learner = Learner::of(Podlab::ordinary());
    let group = learner.group();
    let _members = Started::ready(&mut group.sh(ONE_IS_KILLED));
    let set_mode = |file: &str, mode| {
        let path: &Path = &group.path().join(file);
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("chmod");
    };
    for (file, check) in [
        (group.limit_file(), "limit"),
        (group.kills_file(), "killed"),
        ("cgroup.procs", "survivor"),
    ] {
        set_mode(file, 0o600);
        let checked = learner.check();
        assert_eq!(checked.failing(), [""; 0], "{file}: {:#?}", checked.judgement);
        assert!(checked.untold().contains(&check), "{file}: {:#?}", checked.judgement);
        assert_eq!(checked.code, 2);
        set_mode(file, 0o644);
    }
    learner.check().holds();
}
