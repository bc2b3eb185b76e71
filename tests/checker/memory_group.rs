//! Memory cgroups of a test's own, in whichever version of cgroups has the memory controller.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{FlockOperation, flock};

use crate::means;
use crate::support::memory;
use crate::support::running::until;

/// A cgroup; what is in it and below ends, and the group goes, when this is dropped.
pub(crate) struct Group {
    path: PathBuf,
    pub(crate) version: u8,
}

/// Where the hierarchy with the memory controller is mounted, and its version.
fn hierarchy() -> Option<(PathBuf, u8)> {
    if memory::is_v1() {
        return Some((PathBuf::from("/sys/fs/cgroup/memory"), 1));
    }
    let mut second = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(PathBuf::from).into_iter();
    second.find(|root| memory::gives_memory(root)).map(|root| (root, 2))
}

/// Below what groups are made: the root of the hierarchy, or what was delegated to this user.
fn root() -> PathBuf {
    let is_root = nix::unistd::geteuid().is_root();
    let root = if is_root { hierarchy().map(|(root, _)| root) } else { memory::nearest() };
    root.expect("Need::MemoryGroup")
}

/// The version that has the memory controller.
fn version() -> u8 {
    hierarchy().expect("Need::MemoryGroup").1
}

/// One test at a time, in all test processes of this machine: learners of one name have one limit, and
/// the checker would find the other's group.
pub(crate) fn alone() -> File {
    let lock = File::open(root()).expect("its folder");
    flock(&lock, FlockOperation::LockExclusive).expect("flock");
    lock
}

impl Group {
    /// A new group.
    pub(crate) fn new() -> Group {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = root().join(format!("podlab-test-oom-{}-{n}", std::process::id()));
        fs::create_dir(&path).expect("make a cgroup");
        Group { path, version: version() }
    }

    /// A new group below this one, which is given the memory controller.
    pub(crate) fn below(&self, name: &str) -> Group {
        if self.version == 2 {
            self.write("cgroup.subtree_control", "+memory");
        }
        let path = self.path.join(name);
        fs::create_dir(&path).expect("make a cgroup");
        Group { path, version: self.version }
    }

    /// Sets the memory limit, as the kernel's files take it.
    pub(crate) fn limit(&self, limit: &str) {
        self.write(self.limit_file(), limit);
    }

    /// The name of the limit's file.
    pub(crate) fn limit_file(&self) -> &'static str {
        ["memory.limit_in_bytes", "memory.max"][usize::from(self.version - 1)]
    }

    /// The name of the file that counts the kills.
    pub(crate) fn kills_file(&self) -> &'static str {
        ["memory.oom_control", "memory.events"][usize::from(self.version - 1)]
    }

    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.path.join(file);
        fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path.join(file)).unwrap_or_default()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// `sh -c SCRIPT`, in the group. What it kills is not announced.
    pub(crate) fn sh(&self, script: &str) -> Command {
        means::sh(&format!("exec 2>&-; echo 0 >{}/cgroup.procs; {script}", self.path.display()))
    }

    /// Whether the kernel log has a kill for this group's limit. It leaves some out when there are many.
    pub(crate) fn is_in_log(&self) -> bool {
        let (hierarchy, _) = hierarchy().expect("it has this group");
        let name = self.path.strip_prefix(hierarchy).expect("below the root").display();
        let dmesg = Command::new("dmesg").output().expect("dmesg").stdout;
        String::from_utf8_lossy(&dmesg).contains(&format!("oom_memcg=/{name},"))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Ends what is in a group and below, and removes both. A process that has ended may still be on its
/// way out of the group.
fn remove(group: &Path) {
    until("the group can be removed", || {
        for entry in fs::read_dir(group).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove(&entry.path());
            }
        }
        let members = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        members.lines().filter_map(|pid| pid.parse().ok()).for_each(means::kill);
        (fs::remove_dir(group).is_ok() || !group.exists()).then_some(())
    });
}
