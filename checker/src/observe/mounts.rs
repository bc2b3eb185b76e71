//! The mounts of each mount namespace.

use std::collections::BTreeMap;

use rustix::path::DecInt;

use super::Error;
use super::mountinfo::parse_mountinfo;
use super::namespace::parse_link;
use super::proc::Proc;
use super::read::Buffer;
use crate::facts::{Mount, MountTable, NamespaceId, Process, Reading};

pub(super) fn read(proc: &Proc, processes: &[Process]) -> Result<Vec<MountTable>, Error> {
    let mut buffer = Buffer::new();
    let mut tables = Vec::new();
    for (namespace, members) in members(proc.observer(), processes) {
        tables.extend(table(proc, namespace, &members, &mut buffer)?);
    }
    Ok(tables)
}

/// Each mount namespace with those in it, the observer first: it may always read its own.
fn members(observer: i32, processes: &[Process]) -> BTreeMap<NamespaceId, Vec<i32>> {
    let mut members: BTreeMap<NamespaceId, Vec<i32>> = BTreeMap::new();
    for process in processes {
        let Reading::Known(namespace) = process.namespaces.mnt else { continue };
        members.entry(namespace).or_default().push(process.id.pid);
    }
    for pids in members.values_mut() {
        pids.sort_by_key(|pid| *pid != observer);
    }
    members
}

/// Reads the table through the first member that is still there and lets it be read. Nothing where
/// all are gone.
fn table(
    proc: &Proc,
    namespace: NamespaceId,
    members: &[i32],
    buffer: &mut Buffer,
) -> Result<Option<MountTable>, Error> {
    let mut denied = None;
    for &through in members {
        match mounts(proc, namespace, through, buffer)? {
            Reading::Absent => {}
            mounts @ Reading::Known(_) => {
                return Ok(Some(MountTable { namespace, through, mounts }));
            }
            mounts @ Reading::Denied(_) => {
                denied.get_or_insert(MountTable { namespace, through, mounts });
            }
        }
    }
    Ok(denied)
}

/// The mounts that a process sees, if it is still in that namespace when they have been read.
fn mounts(
    proc: &Proc,
    namespace: NamespaceId,
    pid: i32,
    buffer: &mut Buffer,
) -> Result<Reading<Vec<Mount>>, Error> {
    let folder = match proc.folder().enter(DecInt::new(pid).as_c_str())? {
        Reading::Known(folder) => folder,
        refused => return Ok(refused.map(|_| Vec::new())),
    };
    let mounts = match folder.whole(c"mountinfo", buffer, parse_mountinfo) {
        // It is ending, and has left its namespaces.
        Err(Error::Io { source, .. }) if source.raw_os_error() == Some(libc::EINVAL) => {
            return Ok(Reading::Absent);
        }
        mounts => mounts?,
    };
    let now = folder.link(c"ns/mnt", buffer, parse_link)?;
    Ok(if now == Reading::Known(namespace.ino) { mounts } else { Reading::Absent })
}
