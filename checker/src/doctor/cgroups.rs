//! Cgroups: which version, which controllers, and whether the caller may make groups.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};

use crate::caller::Caller;
use crate::error::Error;
use crate::facts::{CgroupTree, Hierarchy, Process};
use crate::observe::{self, Options};

use super::Finding;

/// The controllers that the course uses.
const CONTROLLERS: [&str; 6] = ["memory", "cpu", "pids", "cpuset", "freezer", "io"];

pub(super) fn examine(caller: &Caller) -> Result<Vec<Finding>, Error> {
    let options = Options::default();
    let tree = observe::cgroups(&options)?;
    let own = observe::process(&options, std::process::id().cast_signed())?;
    let memory = own.as_ref().and_then(|own| memory_group(&tree, own));
    Ok(vec![mode(&tree), delegation(memory.as_ref(), caller)])
}

fn mode(tree: &CgroupTree) -> Finding {
    let on = |version: u8| {
        let all = tree.hierarchies.iter().filter(move |hierarchy| hierarchy.version == version);
        let names = all.flat_map(|hierarchy| hierarchy.controllers.iter().map(String::as_str));
        // v1 calls io blkio; v2 has no freezer controller, it freezes by itself.
        let names = names.map(|name| if name == "blkio" { "io" } else { name });
        names.filter(|name| CONTROLLERS.contains(name)).collect::<Vec<_>>()
    };
    let (first, second) = (on(1), on(2));
    let parts =
        [("v1", &first), ("v2", &second)].into_iter().filter(|(_, names)| !names.is_empty());
    let parts: Vec<String> =
        parts.map(|(version, names)| format!("{} on {version}", names.join(" "))).collect();
    let saw = format!("{}: {}", tree.mode, parts.join(", "));
    if first.contains(&"memory") || second.contains(&"memory") {
        return Finding::fine("cgroups", saw);
    }
    Finding::poorer(
        "cgroups",
        saw,
        "no memory controller: memory-limit and oom-once cannot be done",
        "boot with cgroup_enable=memory on the kernel's command line, or work in a VM",
    )
    .serious()
}

fn delegation(group: Option<&PathBuf>, caller: &Caller) -> Finding {
    let Some(group) = group else {
        return Finding::poorer(
            "cgroup delegation",
            "this shell is in no memory group that can be seen",
            "groups cannot be made from here",
            "work in a shell on the machine itself",
        );
    };
    let writable = |path: &Path| {
        caller
            .with_rights(|| rustix::fs::accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS))
            .is_ok()
    };
    // A new group may be made, and a process moved into it from here.
    if writable(group) && writable(&group.join("cgroup.procs")) {
        return Finding::fine(
            "cgroup delegation",
            format!("{} is yours to divide", group.display()),
        );
    }
    Finding::poorer(
        "cgroup delegation",
        format!("{} is not yours to divide", group.display()),
        "memory-limit and oom-once need root",
        "sudo, or on a systemd machine: systemd-run --user --scope -p Delegate=yes bash",
    )
}

/// The directory of the memory cgroup that `process` is in.
fn memory_group(tree: &CgroupTree, process: &Process) -> Option<PathBuf> {
    let has_memory =
        |hierarchy: &&Hierarchy| hierarchy.controllers.iter().any(|name| name == "memory");
    let hierarchy = tree.hierarchies.iter().find(has_memory)?;
    let mut paths = process.cgroups.known()?.iter();
    let line = paths.find(|line| match hierarchy.version {
        1 => line.controllers.iter().any(|name| name == "memory"),
        _ => line.hierarchy == 0,
    })?;
    let below = line.path.strip_prefix(hierarchy.root.trim_end_matches('/'))?;
    Some(Path::new(&hierarchy.mount_point).join(below.trim_start_matches('/')))
}
