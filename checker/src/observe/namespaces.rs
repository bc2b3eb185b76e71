//! Namespaces and where they hang (ioctl_ns(2)).

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc::{c_int, uid_t};
use rustix::path::DecInt;

use super::Error;
use super::proc::Proc;
use crate::facts::{Kind, Namespace, NamespaceId, Process, Reading};

type Found = BTreeMap<NamespaceId, Namespace>;

/// Reads the namespaces of these processes and their ancestors, in the order of their identities.
pub(super) fn read(proc: &Proc, processes: &[Process]) -> Result<Vec<Namespace>, Error> {
    let mut found = Found::new();
    let mut unopened = Found::new();
    for process in processes {
        for (kind, link, reading) in links(process) {
            let Reading::Known(id) = *reading else { continue };
            if found.contains_key(&id) {
                continue;
            }
            match open(proc, process.id.pid, link, id)? {
                Some(namespace) => follow(namespace, kind, &mut found)?,
                None => drop(unopened.insert(id, unconnected(id, kind))),
            }
        }
    }
    // Those that nobody was left to open through: their identity is all that is known.
    for (id, namespace) in unopened {
        found.entry(id).or_insert(namespace);
    }
    Ok(found.into_values().collect())
}

/// The kind, the link in `/proc/PID`, and what was read from it.
fn links(process: &Process) -> [(Kind, &'static CStr, &Reading<NamespaceId>); 10] {
    let of = &process.namespaces;
    [
        (Kind::Cgroup, c"ns/cgroup", &of.cgroup),
        (Kind::Ipc, c"ns/ipc", &of.ipc),
        (Kind::Mnt, c"ns/mnt", &of.mnt),
        (Kind::Net, c"ns/net", &of.net),
        (Kind::Pid, c"ns/pid", &of.pid),
        (Kind::Pid, c"ns/pid_for_children", &of.pid_for_children),
        (Kind::Time, c"ns/time", &of.time),
        (Kind::Time, c"ns/time_for_children", &of.time_for_children),
        (Kind::User, c"ns/user", &of.user),
        (Kind::Uts, c"ns/uts", &of.uts),
    ]
}

/// Opens a namespace through a process; nothing where it is not to be had there any more.
fn open(proc: &Proc, pid: i32, link: &CStr, id: NamespaceId) -> Result<Option<OwnedFd>, Error> {
    let Reading::Known(folder) = proc.folder().enter(DecInt::new(pid).as_c_str())? else {
        return Ok(None);
    };
    let Reading::Known(namespace) = folder.open_file(link)? else { return Ok(None) };
    let same = identity(&namespace).is_ok_and(|found| found == id);
    Ok(same.then_some(namespace))
}

fn identity(namespace: &OwnedFd) -> Result<NamespaceId, rustix::io::Errno> {
    let file = rustix::fs::fstat(namespace)?;
    Ok(NamespaceId { dev: file.st_dev, ino: file.st_ino })
}

fn unconnected(id: NamespaceId, kind: Kind) -> Namespace {
    Namespace {
        id,
        kind,
        parent: Reading::Absent,
        owner: Reading::Absent,
        owner_uid: Reading::Absent,
    }
}

/// Records a namespace and, one after the other, those it leads to.
fn follow(namespace: OwnedFd, kind: Kind, found: &mut Found) -> Result<(), Error> {
    let mut open = vec![(namespace, kind)];
    while let Some((namespace, kind)) = open.pop() {
        let mut record = unconnected(identity(&namespace).map_err(of_ioctl)?, kind);
        if found.contains_key(&record.id) {
            continue;
        }
        if matches!(kind, Kind::Pid | Kind::User) {
            record.parent = step(&namespace, kind, ioctl::get_parent, &mut open)?;
        }
        record.owner = step(&namespace, Kind::User, ioctl::get_userns, &mut open)?;
        if kind == Kind::User {
            record.owner_uid = owner_uid(&namespace)?;
        }
        found.insert(record.id, record);
    }
    Ok(())
}

/// Asks for a related namespace, keeps it for later, and says its identity.
fn step(
    namespace: &OwnedFd,
    kind: Kind,
    ask: unsafe fn(c_int) -> nix::Result<c_int>,
    open: &mut Vec<(OwnedFd, Kind)>,
) -> Result<Reading<NamespaceId>, Error> {
    // SAFETY: the descriptor is open, and the request takes no argument.
    let related = match unsafe { ask(namespace.as_raw_fd()) } {
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(fd) => unsafe { OwnedFd::from_raw_fd(fd) },
        Err(errno) => return refused(errno),
    };
    let id = identity(&related).map_err(of_ioctl)?;
    open.push((related, kind));
    Ok(Reading::Known(id))
}

fn owner_uid(namespace: &OwnedFd) -> Result<Reading<u32>, Error> {
    let mut uid: uid_t = 0;
    // SAFETY: the descriptor is open, and the request writes one uid_t through the pointer.
    match unsafe { ioctl::get_owner_uid(namespace.as_raw_fd(), &raw mut uid) } {
        Ok(_) => Ok(Reading::Known(uid)),
        Err(errno) => refused(errno),
    }
}

/// EPERM: it lies outside what the observer may see. ENOTTY: a kernel before 4.9 or 4.11.
fn refused<T>(errno: Errno) -> Result<Reading<T>, Error> {
    match errno {
        Errno::EPERM | Errno::EACCES => Ok(Reading::DENIED),
        Errno::ENOTTY | Errno::EINVAL => Ok(Reading::Absent),
        other => Err(of_ioctl(std::io::Error::from(other))),
    }
}

fn of_ioctl(source: impl Into<std::io::Error>) -> Error {
    Error::io(std::path::Path::new("a namespace"), source)
}

#[allow(missing_docs, reason = "the macros make functions of the requests of linux/nsfs.h")]
mod ioctl {
    use nix::libc::uid_t;

    const NSIO: u8 = 0xb7;
    nix::ioctl_none!(get_userns, NSIO, 1);
    nix::ioctl_none!(get_parent, NSIO, 2);
    nix::ioctl_read_bad!(get_owner_uid, nix::request_code_none!(NSIO, 4), uid_t);
}
