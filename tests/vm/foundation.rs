//! The tests of the labs and of the exercises, in a machine with pure cgroup v2 and systemd, every verdict
//! from outside.

use std::io::Write;

use podlab::exercises;

use crate::inside::{Ended, Inside};
use crate::judge::{Judge, Verdicts};
use crate::machine::{Machine, turn};
use crate::needs;
use crate::support::need::Need;
use crate::world::World;

/// Why a test may be left out: what it is about is not there.
pub(crate) const NO_V1: [&str; 2] =
    ["no writable cgroup v1 memory controller", "no writable /sys/fs/cgroup/unified"];

const NO_V2: [&str; 1] = ["no cgroup v2 memory controller"];

/// An ordinary user leaves out more.
const NOT_ROOT: [&str; 4] = [NO_V1[0], NO_V1[1], "not root", "the kernel log may not be read"];

/// All that was run held, and all that was not has one of these reasons.
#[track_caller]
pub(crate) fn held(ended: &Ended, reasons: &[&str]) {
    assert!(ended.passed, "tests failed in the machine: see above");
    assert!(ended.count > 0, "no test was run");
    let known = |remark: &&String| reasons.iter().any(|why| remark.ends_with(why));
    let odd: Vec<_> = ended.skipped.iter().filter(|remark| !known(remark)).collect();
    assert!(odd.is_empty(), "not run in the machine: {odd:#?}");
}

/// The exercise was found to hold, and to fail, by `podlab check --on`.
#[track_caller]
fn judged(exercise: &str, verdicts: &Verdicts) {
    let [holds, fails, untold] = verdicts.get(exercise).copied().unwrap_or_default();
    eprintln!(
        "{exercise}: from outside it held {holds} times, failed {fails}, was untold {untold}"
    );
    assert!(holds > 0 && fails > 0, "{exercise}: {holds} held and {fails} failed from outside");
}

/// The modules of `checker` with the exercises' right and wrong solutions.
fn solutions() -> Vec<String> {
    exercises::ALL.iter().map(|exercise| exercise.id.replace('-', "_") + "::").collect()
}

/// The labs and exercises in the machine that Vagrant has brought up in that world: this program once
/// more, from in there.
pub(crate) fn in_world(world: &mut World) {
    let this = std::env::current_exe().expect("this program");
    let tests = ["every_right_solution", "every_lab"].map(|test| format!("foundation::{test}"));
    let said = world.run(&format!(
        "PODLAB_VM_TARGET=vagrant exec '{}' {}",
        this.display(),
        tests.join(" ")
    ));
    let _ = writeln!(std::io::stderr(), "{said}");
    assert_eq!(said.code, 0, "the tests in Vagrant's machine");
}

#[test]
fn every_right_solution_holds_and_every_wrong_one_fails_judged_from_outside() {
    needs!(Need::Vm);
    let _turn = turn();
    let inside = Inside::shared();
    let verdicts = Judge::of(&inside.machine).during(|judge| {
        held(&inside.as_root(judge, "checker", &solutions()), &NO_V1);
    });
    exercises::ALL.iter().for_each(|exercise| judged(exercise.id, &verdicts));
}

#[test]
fn every_lab_does_there_what_it_does_here() {
    needs!(Need::Vm);
    let _turn = turn();
    let inside = Inside::shared();
    Judge::of(&inside.machine).during(|judge| {
        held(&inside.as_root(judge, "labs", &["--skip=nothing_".to_owned()]), &NO_V1);
    });
}

#[test]
fn no_lab_leaves_anything_there_whenever_and_however_it_ends() {
    needs!(Need::Vm);
    let _turn = turn();
    let inside = Inside::shared();
    Judge::of(&inside.machine).during(|judge| {
        held(&inside.as_root(judge, "labs", &["nothing_".to_owned()]), &NO_V1);
    });
}

#[test]
fn an_ordinary_user_with_delegated_cgroups_does_them_too() {
    needs!(Need::Vm);
    let _turn = turn();
    let inside = Inside::shared();
    // Those that need a cgroup, and those that are about an ordinary user.
    let mut chosen = ["oom_once::", "ordinary"].map(str::to_owned);
    let verdicts = Judge::of(&inside.machine).during(|judge| {
        held(&inside.as_user(judge, "checker", &chosen), &NOT_ROOT);
        chosen[0] = "memory_limit::".to_owned();
        held(&inside.as_user(judge, "labs", &chosen), &NOT_ROOT);
    });
    judged("oom-once", &verdicts);
}

#[test]
fn the_memory_lab_and_exercise_do_the_same_with_systemd_on_cgroup_v1() {
    needs!(Need::VmImageV1);
    let _turn = turn();
    let inside = Inside::of(|| Machine::qemu(&Need::VmImageV1.image().expect("an image")));
    let look = "cat /proc/1/comm; findmnt --noheadings --output FSTYPE /sys/fs/cgroup/memory";
    assert_eq!(inside.machine.script(look), "systemd\ncgroup");
    let verdicts = Judge::of(&inside.machine).during(|judge| {
        held(&inside.as_root(judge, "labs", &["memory_limit".to_owned()]), &[]);
        held(&inside.as_root(judge, "checker", &["oom_once::".to_owned()]), &NO_V2);
    });
    judged("oom-once", &verdicts);
}

#[test]
fn it_has_cgroup_v2_alone_systemd_and_all_controllers_for_its_users() {
    needs!(Need::Vm);
    let _turn = turn();
    let inside = Inside::shared();
    let script = "cat /proc/1/comm; findmnt --noheadings --output FSTYPE --types cgroup,cgroup2; \
                  cat /sys/fs/cgroup/user.slice/user-$UID.slice/user@$UID.service/cgroup.controllers";
    let text = inside.machine.script(script);
    let lines: Vec<&str> = text.lines().collect();
    let [first, hierarchies, controllers] = lines[..] else { panic!("three lines: {text}") };
    assert_eq!((first, hierarchies), ("systemd", "cgroup2"));
    for wanted in ["cpu", "cpuset", "io", "memory", "pids"] {
        assert!(controllers.split(' ').any(|name| name == wanted), "{wanted} in {controllers}");
    }
}
