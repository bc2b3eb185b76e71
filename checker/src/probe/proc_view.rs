//! Looks at the `/proc` that a process sees, without going in: a procfs belongs to the PID namespace
//! it was mounted in, whoever reads it (pid_namespaces(7)).

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, Stat};
use rustix::io::Errno;

use super::failed;
use super::held::Held;
use crate::facts::{NamespaceId, Observation, ProcView, ProcessId, Reading};

pub(super) fn look(process: ProcessId) -> Result<Observation, String> {
    let held = Held::open(process)?;
    let said = |error| failed(format!("/proc/{}/root/proc", process.pid), error);
    let seen = open_inside(&held).map_err(said)?;
    let ours = open_directory(CWD, "/proc").map_err(|error| failed("/proc", error))?;
    let is_procfs = match &seen {
        Some(there) => rustix::fs::fstatfs(there).map_err(said)?.f_type == PROC_SUPER_MAGIC,
        None => false,
    };
    let procfs = seen.as_ref().filter(|_| is_procfs);
    Ok(Observation::ProcView(ProcView {
        is_procfs,
        device: reading(seen.as_ref().map_or(Err(Errno::NOENT), rustix::fs::fstat))
            .map(|stat| stat.st_dev),
        observers_device: rustix::fs::fstat(&ours).map_err(said)?.st_dev,
        namespace: procfs.map_or(Reading::Absent, namespace),
        pids: procfs.map_or(Ok(Vec::new()), pids).map_err(said)?,
        observers_count: pids(&ours).map_err(said)?.len(),
    }))
}

/// The directory `/proc` below the root of a process, if it has one.
fn open_inside(held: &Held) -> Result<Option<OwnedFd>, Errno> {
    let root = held.open_file("root", OFlags::PATH | OFlags::DIRECTORY)?;
    // Links that the learner made are followed as they are in there, and never out.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let within = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(&root, "proc", flags, Mode::empty(), within) {
        Ok(directory) => Ok(Some(directory)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error),
    }
}

fn open_directory(at: impl AsFd, path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(at, path, flags, Mode::empty())
}

/// The PID namespace that a procfs belongs to: that of its process 1. Process 1 of our own may be
/// closed even to root, but our own we know.
fn namespace(procfs: &OwnedFd) -> Reading<NamespaceId> {
    if is_ours(procfs) {
        return reading(rustix::fs::stat("/proc/self/ns/pid")).map(identity);
    }
    let namespaces = open_below(procfs, "1/ns", OFlags::PATH | OFlags::DIRECTORY);
    let link = namespaces.and_then(|at| rustix::fs::statat(at, "pid", AtFlags::empty()));
    reading(link).map(identity)
}

/// Whether a procfs belongs to our own PID namespace: then `NSpid`, which begins with the number in
/// the procfs's namespace and ends with the one in our own, is a single number.
fn is_ours(procfs: &OwnedFd) -> bool {
    let mut status = String::new();
    let Ok(file) = open_below(procfs, "self/status", OFlags::RDONLY) else { return false };
    let read = File::from(file).read_to_string(&mut status);
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    read.is_ok() && numbers.is_some_and(|numbers| numbers.split_whitespace().count() == 1)
}

/// Opens a file of this procfs itself, not one of another file system mounted over it.
fn open_below(procfs: &OwnedFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_MAGICLINKS;
    rustix::fs::openat2(procfs, Path::new(path), flags | OFlags::CLOEXEC, Mode::empty(), within)
}

fn identity(stat: Stat) -> NamespaceId {
    NamespaceId { dev: stat.st_dev, ino: stat.st_ino }
}

/// The processes that a procfs shows.
fn pids(procfs: &OwnedFd) -> Result<Vec<i32>, Errno> {
    let mut found = Vec::new();
    for entry in Dir::read_from(procfs)? {
        let name = entry?.file_name().to_str().map(str::parse);
        if let Ok(Ok(pid)) = name {
            found.push(pid);
        }
    }
    found.truncate(ProcView::MOST);
    Ok(found)
}

fn reading<T>(result: Result<T, Errno>) -> Reading<T> {
    match result {
        Ok(value) => Reading::Known(value),
        Err(Errno::ACCESS | Errno::PERM) => Reading::DENIED,
        Err(_) => Reading::Absent,
    }
}
