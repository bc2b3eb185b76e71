//! Paths as `/proc/PID/cgroup` says them: seen from the observer's cgroup namespace.
//!
//! A directory below a mount is named by the mount's root (field 4 of mountinfo) and its path under
//! the mount point. Only where the mount shows what lies above the observer's namespace, root `/..`,
//! is that not the kernel's name for it: from the namespace's own root on, the kernel says `/` again.
//! Which directory that is, the kernel does not say; the observer's own place gives it away.

use super::walk::Found;
use crate::facts::{Cgroup, Reading};

/// Gives every group its path. `own` is the observer's in this hierarchy.
pub(super) fn name(groups: &mut [Found], root: &str, own: &str, observer: i32) {
    let home = levels_above(root).map(|levels| {
        let place = groups.iter().find(|found| holds(&found.group, observer));
        Home { levels, names: place.map_or(Vec::new(), |found| home_names(&found.names, own)) }
    });
    for found in groups {
        found.group.at.path = match &home {
            Some(home) => home.path(&found.names),
            None => joined(root.split('/').filter(|name| !name.is_empty()), &found.names),
        };
    }
}

/// The root of the observer's cgroup namespace, below a mount that shows what is above.
struct Home {
    /// How many levels below the mount's root it is.
    levels: usize,
    /// The names on the way there, as far as they are known.
    names: Vec<String>,
}

impl Home {
    fn path(&self, names: &[String]) -> String {
        let same = names.iter().zip(&self.names).take_while(|(a, b)| a == b).count();
        joined(std::iter::repeat_n("..", self.levels - same), &names[same..])
    }
}

fn joined<'n>(above: impl Iterator<Item = &'n str>, names: &'n [String]) -> String {
    let mut path = String::new();
    for name in above.chain(names.iter().map(String::as_str)) {
        path.push('/');
        path.push_str(name);
    }
    if path.is_empty() { "/".to_owned() } else { path }
}

/// How many levels a root of nothing but `..` lies above the namespace's.
fn levels_above(root: &str) -> Option<usize> {
    let names: Vec<&str> = root.split('/').filter(|name| !name.is_empty()).collect();
    (!names.is_empty() && names.iter().all(|name| *name == "..")).then_some(names.len())
}

fn holds(group: &Cgroup, pid: i32) -> bool {
    matches!(&group.procs, Reading::Known(pids) if pids.contains(&pid))
}

/// The way to the namespace's root: the observer's place without its path inside the namespace.
/// From a place outside, only the way up to where the paths part is known.
fn home_names(place: &[String], own: &str) -> Vec<String> {
    let inside = own.split('/').filter(|name| !name.is_empty() && *name != "..").count();
    place[..place.len().saturating_sub(inside)].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::CgroupRef;

    const OBSERVER: i32 = 7;

    fn group(path: &str, procs: &[i32]) -> Found {
        let names = path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let group = Cgroup {
            at: CgroupRef { hierarchy: 0, path: String::new() },
            ino: 1,
            procs: Reading::Known(procs.to_vec()),
            memory: None,
            pids: None,
            cpu: None,
            frozen: Reading::Absent,
        };
        Found { names, group }
    }

    fn names(root: &str, own: &str, places: &[(&str, &[i32])]) -> Vec<String> {
        let mut groups: Vec<Found> = places.iter().map(|(at, pids)| group(at, pids)).collect();
        name(&mut groups, root, own, OBSERVER);
        groups.into_iter().map(|found| found.group.at.path).collect()
    }

    #[test]
    fn below_the_root_of_the_hierarchy_paths_are_those_of_directories() {
        assert_eq!(names("/", "/a", &[("", &[]), ("a", &[7]), ("a/b", &[])]), ["/", "/a", "/a/b"]);
    }

    #[test]
    fn a_mount_of_a_part_puts_its_root_in_front() {
        let paths = names("/docker/x", "/docker/x", &[("", &[7]), ("a", &[])]);
        assert_eq!(paths, ["/docker/x", "/docker/x/a"]);
        assert_eq!(names("/../y", "/", &[("", &[]), ("a", &[])]), ["/../y", "/../y/a"]);
    }

    #[test]
    fn above_the_namespace_the_kernel_says_dots_and_from_its_root_on_nothing() {
        let places: &[(&str, &[i32])] = &[
            ("", &[]),
            ("a", &[]),
            ("a/me", &[]),
            ("a/me/sub", &[7]),
            ("a/other", &[]),
            ("b", &[]),
        ];
        let paths = names("/../..", "/sub", places);
        assert_eq!(paths, ["/../..", "/..", "/", "/sub", "/../other", "/../../b"]);
    }

    #[test]
    fn an_observer_outside_its_namespaces_root_knows_the_way_to_the_fork() {
        let places: &[(&str, &[i32])] = &[("", &[]), ("a", &[]), ("a/b", &[7]), ("c", &[])];
        assert_eq!(names("/../..", "/../b", places), ["/../..", "/..", "/../b", "/../../c"]);
    }

    #[test]
    fn an_observer_that_is_not_found_leaves_all_paths_outside() {
        assert_eq!(names("/..", "/", &[("", &[]), ("a", &[9])]), ["/..", "/../a"]);
    }
}
