//! Where a hierarchy is mounted.

use std::path::Path;

use crate::facts::{CgroupPath, Hierarchy, Mount};

/// Finds the mount that shows most of the hierarchy of a line of `/proc/self/cgroup`; nothing where
/// it is not mounted. Its controllers are those of the line: the mount options of version 1 name
/// them too, but among others.
pub(super) fn mounted(line: &CgroupPath, mounts: &[Mount]) -> Option<Hierarchy> {
    let version = if line.hierarchy == 0 { 2 } else { 1 };
    let mount = mounts
        .iter()
        .filter(|mount| shows(mount, version, &line.controllers) && !is_hidden(mount, mounts))
        .min_by_key(|mount| depth(&mount.root))?;
    Some(Hierarchy {
        version,
        controllers: line.controllers.clone(),
        mount_point: mount.mount_point.clone(),
        root: mount.root.clone(),
    })
}

fn shows(mount: &Mount, version: u8, controllers: &[String]) -> bool {
    let has = |name: &String| mount.super_options.split(',').any(|option| option == name);
    match version {
        2 => mount.fs_type == "cgroup2",
        _ => mount.fs_type == "cgroup" && controllers.iter().all(has),
    }
}

/// How far below the root of the cgroup namespace a mount's root lies; above it, less than 0.
fn depth(root: &str) -> i32 {
    let names = root.split('/').filter(|name| !name.is_empty());
    names.map(|name| if name == ".." { -1 } else { 1 }).sum()
}

/// Whether another mount lies over this one: one that stands on it, or on a mount below it, at its
/// mount point or above.
fn is_hidden(mount: &Mount, mounts: &[Mount]) -> bool {
    let at = Path::new(&mount.mount_point);
    let mut below = Some(mount);
    let mut seen = Vec::new();
    while let Some(floor) = below.filter(|floor| !seen.contains(&floor.id)) {
        let covers = |other: &Mount| {
            other.parent == floor.id
                && other.id != floor.id
                && other.id != mount.id
                && !seen.contains(&other.id)
                && at.starts_with(&other.mount_point)
        };
        if mounts.iter().any(covers) {
            return true;
        }
        seen.push(floor.id);
        below = mounts.iter().find(|other| other.id == floor.parent);
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{parse_membership, parse_mountinfo};

    const MOUNTS: &str = "27 1 8:1 / / rw - ext4 /dev/root rw\n\
        23 27 0:20 / /sys rw - sysfs sysfs rw\n\
        31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
        33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset,cpuset_v2_mode\n\
        40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";

    fn find(line: &str, mounts: &str) -> Option<Hierarchy> {
        let line = parse_membership(line.as_bytes()).unwrap().remove(0);
        mounted(&line, &parse_mountinfo(mounts.as_bytes()).unwrap())
    }

    #[test]
    fn a_hierarchy_is_found_by_its_controllers() {
        let found = find("3:cpu,cpuacct:/", MOUNTS).unwrap();
        assert_eq!((found.version, found.mount_point.as_str()), (1, "/sys/fs/cgroup/cpu,cpuacct"));
        assert_eq!(found.controllers, ["cpu", "cpuacct"]);
        assert_eq!(find("3:cpuset:/", MOUNTS).unwrap().mount_point, "/sys/fs/cgroup/cpuset");
        assert_eq!(find("9:name=systemd:/", MOUNTS).unwrap().mount_point, "/sys/fs/cgroup/systemd");
        let unified = find("0::/", MOUNTS).unwrap();
        assert_eq!((unified.version, unified.mount_point.as_str()), (2, "/sys/fs/cgroup/unified"));
    }

    #[test]
    fn a_hierarchy_that_is_not_mounted_is_not_found() {
        assert_eq!(find("4:memory:/", MOUNTS), None);
        assert_eq!(find("0::/", &MOUNTS.replace("cgroup2 cgroup2", "tmpfs x")), None);
    }

    #[test]
    fn of_two_mounts_the_one_that_shows_more_is_taken() {
        let more = |root: &str| format!("{MOUNTS}50 27 0:38 {root} /mnt rw - cgroup2 cgroup2 rw\n");
        assert_eq!(find("0::/", &more("/a")).unwrap().mount_point, "/sys/fs/cgroup/unified");
        assert_eq!(find("0::/", &more("/..")).unwrap().mount_point, "/mnt");
        assert_eq!(find("0::/", &more("/")).unwrap().mount_point, "/sys/fs/cgroup/unified");
    }

    #[test]
    fn a_mount_under_another_one_is_not_taken() {
        for over in ["/sys/fs/cgroup/unified", "/sys/fs/cgroup", "/sys"] {
            let parent = match over {
                "/sys/fs/cgroup/unified" => 41,
                "/sys/fs/cgroup" => 31,
                _ => 23,
            };
            let covered = format!("{MOUNTS}60 {parent} 0:99 / {over} rw - tmpfs t rw\n");
            assert_eq!(find("0::/", &covered), None, "{over}");
        }
        let beside = format!("{MOUNTS}60 31 0:99 / /sys/fs/cgroup/uni rw - tmpfs t rw\n");
        assert!(find("0::/", &beside).is_some());
    }

    #[test]
    fn mounts_that_stand_on_each_other_in_a_circle_end_the_search() {
        let circle = "1 2 0:1 / /a rw - cgroup2 c rw\n2 1 0:2 / /b rw - tmpfs t rw\n";
        assert!(find("0::/", circle).is_some());
    }
}
