//! Where memory cgroups can be made: by root anywhere, by an ordinary user below a group that was
//! delegated to them.

use std::fs;
use std::path::{Path, PathBuf};

/// The nearest cgroup, from this process's own upwards, below which groups have memory.
pub fn nearest() -> Option<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let below = |root: &str, path: &str| Path::new(root).join(path.trim_start_matches('/'));
    if is_v1() {
        let path = groups.lines().find_map(|line| line.split_once(":memory:"))?.1;
        return Some(below("/sys/fs/cgroup/memory", path));
    }
    let own = below("/sys/fs/cgroup", groups.lines().find_map(|line| line.strip_prefix("0::"))?);
    own.ancestors().find(|group| gives_memory(group)).map(Path::to_owned)
}

/// Whether the memory controller is that of cgroup v1.
pub fn is_v1() -> bool {
    Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists()
}

/// Whether this user may make memory groups: as root, or where [`nearest`] is theirs.
pub fn is_mine() -> bool {
    use nix::unistd::{AccessFlags, access};
    nearest().is_some_and(|group| access(&group.join("cgroup.procs"), AccessFlags::W_OK).is_ok())
}

/// Whether groups below this one of cgroup v2 have the memory controller.
pub fn gives_memory(group: &Path) -> bool {
    fs::read_to_string(group.join("cgroup.subtree_control"))
        .is_ok_and(|controllers| controllers.split_whitespace().any(|name| name == "memory"))
}
