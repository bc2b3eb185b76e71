//! Mounts.

use std::fs;
use std::process::Command;

use podlab::facts::{Mount, Snapshot};

use super::everything;
use crate::means::Started;
use crate::needs;
use crate::support::need::Need;
use crate::support::user;

/// The mounts of the namespace that a process is in.
fn mounts(snapshot: &Snapshot, pid: i32) -> &[Mount] {
    let process = snapshot.process(pid).expect("it waits");
    let table = snapshot.mount_table(*process.namespaces.mnt.known().expect("root may read it"));
    table.expect("its table").mounts.known().expect("root may read it")
}

#[test]
fn mounts_of_another_namespace_are_seen_with_their_propagation() {
    needs!(Need::Root, Need::Program("unshare"));
    let folder = user::folder();
    let script = r#"
        mount -t tmpfs podlab-observe "$0" && mount --make-shared "$0" &&
        mkdir "$0/a b" && mount --bind "$0/a b" "$0/a b" && mount --make-private "$0/a b" &&
        exec unshare --mount --propagation unchanged sh -c '
            mount --make-slave "$0" && echo ready && read x' "$0""#;
    let mut command = Command::new("unshare");
    // The outer shell becomes the inner one: a sibling keeps the outer namespace.
    let keep = format!("sleep infinity & echo $!; {script}");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &keep]).arg(folder.path());
    let started = Started::new(&mut command);
    let keeper: i32 = started.line().parse().unwrap();
    assert_eq!(started.line(), "ready");

    let snapshot = everything();
    let text = fs::read_to_string(format!("/proc/{keeper}/mountinfo")).unwrap();
    let ids = text.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap());
    let read = mounts(&snapshot, keeper).iter().map(|mount| mount.id);
    assert_eq!(read.collect::<Vec<u64>>(), ids.collect::<Vec<u64>>());

    let at = folder.path().to_str().unwrap();
    let find = |pid: i32, path: &str| -> Option<Mount> {
        mounts(&snapshot, pid).iter().find(|mount| mount.mount_point == path).cloned()
    };
    let outer = find(keeper, at).expect("the tmpfs outside");
    let inner = find(started.pid(), at).expect("the tmpfs inside");
    assert_eq!((outer.fs_type.as_str(), outer.source.as_str()), ("tmpfs", "podlab-observe"));
    assert!(outer.shared.is_some() && outer.master.is_none(), "{outer:?}");
    assert!(inner.shared.is_none() && inner.master == outer.shared, "{inner:?}");
    let odd = find(keeper, &format!("{at}/a b")).expect("a name with a blank");
    assert_eq!((odd.root.as_str(), odd.shared, odd.master), ("/a b", None, None));
    assert_eq!((odd.parent, &odd.device), (outer.id, &outer.device));
    assert_eq!(find(std::process::id() as i32, at), None);
}
