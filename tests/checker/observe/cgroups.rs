//! Cgroups.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use podlab::facts::{Cgroup, CgroupMode, CgroupRef, CgroupTree, Limit, Process, Reading};
use podlab::observe::cgroups;

use super::{example, options, process, snapshot_by};
use crate::means::{Started, python, sh};
use crate::needs;
use crate::support::need::Need;

/// A cgroup of the test's own, removed when dropped: drop first what runs in it.
struct Group(PathBuf);

impl Group {
    fn new(hierarchy: &str, name: &str) -> Group {
        let name = format!("podlab-observe-{name}-{}", std::process::id());
        let path = Path::new("/sys/fs/cgroup").join(hierarchy).join(name);
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Group(path)
    }

    fn set(&self, file: &str, value: &str) {
        let path = self.0.join(file);
        fs::write(&path, value).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).expect("a file of the group").trim().to_owned()
    }

    fn number(&self, file: &str) -> u64 {
        self.text(file).parse().expect("a number")
    }

    /// The value of a key in a file of keys.
    fn keyed(&self, file: &str, key: &str) -> u64 {
        let text = self.text(file);
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        value.expect("the key").parse().expect("a number")
    }

    /// Starts a command in the group, and waits until it has said `ready`.
    fn start(&self, command: &Command) -> Started {
        Started::ready(&mut self.enter(command))
    }

    /// A shell that enters the group and then becomes `command`.
    fn enter(&self, command: &Command) -> Command {
        let mut sh = sh("echo 0 > \"$0/cgroup.procs\"; exec \"$@\"");
        sh.arg(&self.0).arg(command.get_program()).args(command.get_args());
        sh
    }

    /// The group as observe reads it, found by the path that the kernel gives a process in it.
    fn read(&self, of: &Process, controller: &str) -> Cgroup {
        let tree = cgroups(&options()).expect("cgroups");
        let at = place(&tree, of, controller);
        let group = tree.group(&at).unwrap_or_else(|| panic!("no group at {at:?}")).clone();
        assert_eq!(group.ino, fs::metadata(&self.0).unwrap().ino());
        assert!(group.procs.known().is_some_and(|pids| pids.contains(&of.id.pid)), "{group:?}");
        group
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// A frozen group, thawed when dropped: what is frozen cannot be ended.
struct Frozen<'g>(&'g Group);

impl Frozen<'_> {
    fn new(group: &Group) -> Frozen<'_> {
        group.set("freezer.state", "FROZEN");
        while group.text("freezer.state") == "FREEZING" {
            std::thread::yield_now();
        }
        Frozen(group)
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        self.0.set("freezer.state", "THAWED");
    }
}

/// Where a process is in the hierarchy of this controller; "" is version 2.
fn place(tree: &CgroupTree, of: &Process, controller: &str) -> CgroupRef {
    let has = |names: &[String]| names.iter().any(|name| name == controller);
    let line = of
        .cgroups
        .known()
        .expect("everybody may read it")
        .iter()
        .find(|line| has(&line.controllers) || (controller.is_empty() && line.hierarchy == 0));
    let hierarchy = tree.hierarchies.iter().position(|hierarchy| match controller {
        "" => hierarchy.version == 2,
        _ => hierarchy.version == 1 && has(&hierarchy.controllers),
    });
    let path = line.expect("a line of /proc/PID/cgroup").path.clone();
    CgroupRef { hierarchy: hierarchy.expect("the hierarchy is mounted"), path }
}

#[test]
fn memory_limits_and_kills_are_those_in_the_files_of_version_1() {
    needs!(Need::Root, Need::Cgroup1, Need::Program("python3"));
    let group = Group::new("memory", "memory");
    group.set("memory.limit_in_bytes", "16M");
    let started = group.start(&sh("echo ready; read x"));
    let before = group.read(&process(started.pid()), "memory").memory.expect("the controller");
    assert_eq!(before.limit, Reading::Known(Limit::At(16 << 20)));
    assert_eq!(before.oom_kills, Reading::Known(0));
    assert_eq!(before.oom_kill_disabled, Reading::Known(false));
    assert_eq!((before.high, before.oom_group), (Reading::Absent, Reading::Absent));

    let killed = group.enter(&python("b'x' * (256 << 20)")).status().unwrap();
    assert!(!killed.success());
    let after = group.read(&process(started.pid()), "memory").memory.expect("the controller");
    assert_eq!(after.oom_kills, Reading::Known(group.keyed("memory.oom_control", "oom_kill")));
    assert_eq!(after.oom_kills, Reading::Known(1));
    assert_eq!(after.oom_kills_local, after.oom_kills);
    assert_eq!(after.limit_hits, Reading::Known(group.number("memory.failcnt")));
    assert_eq!(after.peak, Reading::Known(group.number("memory.max_usage_in_bytes")));
    assert!(after.limit_hits.known() > before.limit_hits.known(), "{after:?}");
}

#[test]
fn a_group_without_a_limit_says_so_and_the_group_itself_has_no_other_controllers() {
    needs!(Need::Root, Need::Cgroup1);
    let group = Group::new("memory", "unlimited");
    let started = group.start(&sh("echo ready; read x"));
    let read = group.read(&process(started.pid()), "memory");
    assert_eq!(read.memory.expect("the controller").limit, Reading::Known(Limit::MAX));
    assert_eq!((read.pids, read.cpu, read.frozen), (None, None, Reading::Absent));
}

#[test]
fn a_refused_fork_is_counted() {
    needs!(Need::Root, Need::Cgroup1, Need::Program("python3"));
    let group = Group::new("pids", "pids");
    group.set("pids.max", "3");
    let forks = "
import os, sys
for _ in range(5):
    try:
        if os.fork() == 0: sys.stdin.read(); os._exit(0)
    except BlockingIOError: pass
print('ready')
sys.stdin.read()";
    let started = group.start(&python(forks));
    let pids = group.read(&process(started.pid()), "pids").pids.expect("the controller");
    assert_eq!(pids.limit, Reading::Known(Limit::At(3)));
    assert_eq!(pids.current, Reading::Known(3));
    assert_eq!(pids.refused, Reading::Known(group.keyed("pids.events", "max")));
    assert!(pids.refused.known().is_some_and(|refused| *refused >= 1));
}

#[test]
fn a_quota_and_the_time_it_took_are_in_microseconds() {
    needs!(Need::Root, Need::Cgroup1, Need::Program("python3"));
    let group = Group::new("cpu", "cpu");
    group.set("cpu.cfs_period_us", "50000");
    group.set("cpu.cfs_quota_us", "1000");
    group.set("cpu.shares", "512");
    // It enters when it has started, and uses several times its quota there.
    let burn = "
import sys, time
open(sys.argv[1] + '/cgroup.procs', 'w').write('0')
end = time.process_time() + 0.005
while time.process_time() < end: pass
print('ready')
sys.stdin.read()";
    let started = Started::ready(python(burn).arg(&group.0));
    let least = group.keyed("cpu.stat", "throttled_time") / 1000;
    let cpu = group.read(&process(started.pid()), "cpu").cpu.expect("the controller");
    let most = group.keyed("cpu.stat", "throttled_time") / 1000;
    assert_eq!(cpu.quota, Reading::Known(Limit::At(1_000)));
    assert_eq!((cpu.period, cpu.weight), (Reading::Known(50_000), Reading::Known(512)));
    assert!(cpu.throttled_us.known().is_some_and(|time| (least.max(1)..=most).contains(time)));
    assert!(
        cpu.throttled.known() > Some(&0) && cpu.periods.known() >= cpu.throttled.known(),
        "{cpu:?}"
    );
}

#[test]
fn a_frozen_group_is_told_from_one_that_runs() {
    needs!(Need::Root, Need::Cgroup1);
    let group = Group::new("freezer", "freezer");
    let started = group.start(&sh("echo ready; read x"));
    let running = process(started.pid());
    assert_eq!(group.read(&running, "freezer").frozen, Reading::Known(false));
    let _frozen = Frozen::new(&group);
    assert_eq!(group.read(&running, "freezer").frozen, Reading::Known(true));
}

#[test]
fn a_node_of_version_2_has_the_controllers_that_are_switched_on_for_it() {
    needs!(Need::Root, Need::Unified);
    let group = Group::new("unified", "node");
    let started = group.start(&sh("echo ready; read x"));
    let read = group.read(&process(started.pid()), "");
    assert_eq!(read.frozen, Reading::Known(false));
    let on = group.text("cgroup.controllers");
    let has = |name| on.split(' ').any(|controller| controller == name);
    assert_eq!(read.memory.is_some(), has("memory"));
    assert_eq!(read.pids.is_some(), has("pids"));
    assert_eq!(read.cpu.is_some(), has("cpu"));
}

#[test]
fn the_mode_is_that_of_the_mounts_and_each_group_comes_after_its_parent() {
    let tree = cgroups(&options()).unwrap();
    let mounted = fs::read_to_string("/proc/mounts").unwrap();
    let has = |fs_type: &str| mounted.lines().any(|line| line.split(' ').nth(2) == Some(fs_type));
    let expected = match (has("cgroup"), has("cgroup2")) {
        (true, true) => CgroupMode::Hybrid,
        (true, false) => CgroupMode::V1,
        (false, true) => CgroupMode::V2,
        (false, false) => CgroupMode::None,
    };
    assert_eq!(tree.mode, expected);
    let mut seen = Vec::new();
    for group in &tree.groups {
        let (index, path) = (group.at.hierarchy, group.at.path.as_str());
        let parent =
            path.rsplit_once('/').map(|(parent, _)| if parent.is_empty() { "/" } else { parent });
        let is_top = path == tree.hierarchies[index].root;
        assert!(is_top || parent.is_some_and(|parent| seen.contains(&(index, parent))), "{path}");
        seen.push((index, path));
    }
}

#[test]
fn in_a_cgroup_namespace_paths_are_those_that_the_kernel_says_there() {
    needs!(Need::Root, Need::Cgroup1, Need::Program("unshare"));
    let group = Group::new("memory", "namespace");
    let mut unshare = Command::new("unshare");
    unshare.arg("--cgroup").arg(example());
    let inside = snapshot_by(&mut group.enter(&unshare));
    let observer = inside.observer().expect("the observer");
    let at = place(&inside.cgroups, observer, "memory");
    assert_eq!(at.path, "/");
    let own = inside.cgroups.group(&at).expect("its own group");
    assert_eq!(own.ino, fs::metadata(&group.0).unwrap().ino());
    // The mount is the machine's, and shows what is above.
    let above = CgroupRef { path: "/..".to_owned(), ..at };
    let above = inside.cgroups.group(&above).expect("the root of the hierarchy");
    assert_eq!(above.ino, fs::metadata("/sys/fs/cgroup/memory").unwrap().ino());
}

#[test]
fn groups_that_come_and_go_meanwhile_are_no_error() {
    needs!(Need::Root, Need::Cgroup1, Need::Program("python3"));
    let group = Group::new("memory", "churn");
    let churn = "
import os, select, sys
print('ready')
count = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    os.mkdir(sys.argv[1] + '/x'); os.mkdir(sys.argv[1] + '/x/y')
    os.rmdir(sys.argv[1] + '/x/y'); os.rmdir(sys.argv[1] + '/x')
    count += 1
print(count)
";
    let mut started = Started::ready(python(churn).arg(&group.0));
    for _ in 0..20 {
        cgroups(&options()).expect("cgroups");
    }
    drop(started.stdin());
    assert!(started.line().parse::<u32>().unwrap() > 20);
}
