//! The cgroup tree, version 1 and 2 (cgroups(7)).

mod files;
mod hierarchy;
mod membership;
mod naming;
mod v1;
mod v2;
mod walk;

pub use membership::parse_membership;

use super::mountinfo::parse_mountinfo;
use super::proc::Proc;
use super::read::Buffer;
use super::{Error, Options};
use crate::facts::{CgroupMode, CgroupTree, Hierarchy, Reading};

/// Reads every hierarchy that is mounted and known to the observer.
pub(super) fn read(proc: &Proc, options: &Options) -> Result<CgroupTree, Error> {
    let mut buffer = Buffer::new();
    let own = proc.folder().whole(c"self/cgroup", &mut buffer, parse_membership)?;
    let mounts = proc.folder().whole(c"self/mountinfo", &mut buffer, parse_mountinfo)?;
    let (Reading::Known(own), Reading::Known(mounts)) = (own, mounts) else {
        return Ok(CgroupTree { mode: CgroupMode::None, hierarchies: vec![], groups: vec![] });
    };
    let mut hierarchies = Vec::new();
    let mut groups = Vec::new();
    for membership in &own {
        let Some(mut hierarchy) = hierarchy::mounted(membership, &mounts) else { continue };
        let place = options.roots.mounts.join(hierarchy.mount_point.trim_start_matches('/'));
        let mut found = walk::walk(&place, hierarchies.len(), &mut hierarchy, &mut buffer)?;
        naming::name(&mut found, &hierarchy.root, &membership.path, proc.observer());
        groups.extend(found.into_iter().map(|found| found.group));
        hierarchies.push(hierarchy);
    }
    Ok(CgroupTree { mode: mode(&hierarchies), hierarchies, groups })
}

fn mode(hierarchies: &[Hierarchy]) -> CgroupMode {
    let has = |version| hierarchies.iter().any(|hierarchy| hierarchy.version == version);
    match (has(1), has(2)) {
        (true, true) => CgroupMode::Hybrid,
        (true, false) => CgroupMode::V1,
        (false, true) => CgroupMode::V2,
        (false, false) => CgroupMode::None,
    }
}
