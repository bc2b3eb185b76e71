//! Namespaces.

use std::collections::BTreeMap;
use std::fs;
use std::os::linux::fs::MetadataExt;
use std::process::Command;

use podlab::facts::{IdMap, Kind, NamespaceId, Reading};

use super::{everything, process};
use crate::means::{Started, python, sh};
use crate::needs;
use crate::support::need::Need;
use crate::support::user::as_ordinary;

const ALL_BUT_TIME: &str = "--cgroup --ipc --mount --net --fork --pid --user --map-root-user --uts";

/// What stat(2) says of a namespace, where observe reads the link.
fn stat(pid: i32, kind: Kind) -> NamespaceId {
    let file = fs::metadata(format!("/proc/{pid}/ns/{kind}")).expect("a namespace");
    NamespaceId { dev: file.st_dev(), ino: file.st_ino() }
}

/// Inode → inodes of parent and owner, as lsns(8) tells them for one process; 0 for none.
fn lsns(pid: i32) -> BTreeMap<u64, (u64, u64)> {
    let mut lsns = Command::new("lsns");
    lsns.args(["--noheadings", "--raw", "--output", "NS,PNS,ONS", "--task", &pid.to_string()]);
    let output = String::from_utf8(lsns.output().expect("lsns").stdout).expect("text");
    let numbers = |line: &str| -> Vec<u64> {
        line.split(' ').map(|number| number.parse().expect("an inode")).collect()
    };
    output.lines().map(numbers).map(|row| (row[0], (row[1], row[2]))).collect()
}

fn inode(reading: Reading<NamespaceId>) -> u64 {
    reading.known().map_or(0, |id| id.ino)
}

#[test]
fn each_namespace_of_a_process_is_the_one_that_stat_finds() {
    let own = process(std::process::id() as i32);
    for kind in Kind::ALL {
        assert_eq!(*own.namespaces.get(kind), Reading::Known(stat(own.id.pid, kind)), "{kind}");
    }
    assert_eq!(own.namespaces.pid_for_children, own.namespaces.pid);
    assert_eq!(own.namespaces.time_for_children, own.namespaces.time);
}

#[test]
fn a_process_in_namespaces_of_its_own_differs_in_them_and_in_no_other() {
    needs!(Need::Userns, Need::Program("unshare"));
    let mut command = sh(&format!("unshare {ALL_BUT_TIME} sh -c 'echo ready; read x'"));
    let started = Started::ready(&mut command);
    let pid = started.below(&[1]);
    let snapshot = everything();
    let inside = snapshot.process(pid).expect("it waits");
    for kind in Kind::ALL {
        let differs = snapshot.differs(inside, kind);
        assert_eq!(differs, Some(kind != Kind::Time), "{kind}");
        assert_eq!(*inside.namespaces.get(kind), Reading::Known(stat(pid, kind)), "{kind}");
    }
    assert_eq!((inside.ns_pid.as_slice(), inside.inner_pid()), (&[pid, 1][..], 1));
    let outside = nix::unistd::geteuid().as_raw();
    let map = IdMap { inside: 0, outside, count: 1 };
    assert_eq!(inside.uid_map, Reading::Known(vec![map]));
}

#[test]
fn parents_and_owners_are_those_that_lsns_tells() {
    needs!(Need::Root, Need::Userns, Need::Program("lsns"), Need::Program("unshare"));
    let mut command = sh(&format!("unshare {ALL_BUT_TIME} sh -c 'echo ready; read x'"));
    let started = Started::ready(as_ordinary(&mut command));
    let pid = started.below(&[1]);
    let snapshot = everything();
    let inside = snapshot.process(pid).expect("it waits");
    let told = lsns(pid);
    for kind in Kind::ALL {
        let id = *inside.namespaces.get(kind).known().expect("root may read it");
        let namespace = snapshot.namespace(id).expect("its record");
        assert_eq!(namespace.kind, kind);
        let related = (inode(namespace.parent), inode(namespace.owner));
        assert_eq!(Some(&related), told.get(&id.ino), "{kind}");
    }
    let user = snapshot.namespace(*inside.namespaces.user.known().unwrap()).unwrap();
    assert_eq!(user.parent, snapshot.observer().unwrap().namespaces.user);
    assert_eq!(user.owner_uid, Reading::Known(inside.uid_map.known().unwrap()[0].outside));
    assert_ne!(user.owner_uid, Reading::Known(0));
}

#[test]
fn ancestors_that_no_process_is_in_are_followed_too() {
    needs!(Need::Userns, Need::Program("unshare"));
    // exec leaves nobody in the user namespace between.
    let script = "exec unshare --user --map-root-user unshare --user --map-root-user \
                  sh -c 'echo ready; read x'";
    let started = Started::ready(&mut sh(script));
    let snapshot = everything();
    let inside = snapshot.process(started.pid()).expect("it waits");
    let of = |reading: Reading<NamespaceId>| {
        snapshot.namespace(*reading.known().expect("known")).expect("its record")
    };
    let inner = of(inside.namespaces.user);
    let between = of(inner.parent);
    let is_in = |id| snapshot.processes.iter().any(|p| p.namespaces.user == Reading::Known(id));
    assert!(is_in(inner.id) && !is_in(between.id));
    assert_eq!(between.parent, snapshot.observer().unwrap().namespaces.user);
}

#[test]
fn what_lies_outside_the_observers_own_is_denied() {
    let snapshot = everything();
    let own = snapshot.observer().unwrap();
    let pid = snapshot.namespace(*own.namespaces.pid.known().unwrap()).unwrap();
    assert!(pid.parent.is_denied());
    let uts = snapshot.namespace(*own.namespaces.uts.known().unwrap()).unwrap();
    assert_eq!((uts.parent, uts.owner), (Reading::Absent, own.namespaces.user));
}

#[test]
fn between_unshare_and_the_first_child_there_is_no_namespace_for_children() {
    needs!(Need::Root, Need::Program("python3"));
    let script = "import ctypes, sys; assert ctypes.CDLL(None).unshare(0x20000000) == 0; \
                  print('ready'); sys.stdin.read()";
    let started = Started::ready(&mut python(script));
    let (waiting, own) = (process(started.pid()), process(std::process::id() as i32));
    assert_eq!(waiting.namespaces.pid_for_children, Reading::Absent);
    assert_eq!(waiting.namespaces.pid, own.namespaces.pid);
}
