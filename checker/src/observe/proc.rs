//! The proc file system itself: whether it can be used, who looks, which processes there are.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::id_map::parse_id_map;
use super::mountinfo::parse_mountinfo;
use super::namespace::parse_link;
use super::process::OpenProcess;
use super::read::{Buffer, Folder};
use super::stat::parse_stat;
use super::text::{decimal, parse_value};
use super::{Error, Options, ProcFault};
use crate::facts::{IdMap, NamespaceId, Process, Reading};

/// How many processes a thread takes at a time.
const SHARE: usize = 32;

/// A proc file system that can be read.
pub struct Proc {
    folder: Folder,
    observer: i32,
    nsfs: u64,
    maps: Option<OwnMaps>,
    marks: bool,
}

/// The observer's user namespace and its maps. It outlives the observer's look, and a map is written
/// once only: whoever is in that namespace has the same, and need not be asked.
struct OwnMaps {
    user: u64,
    uids: Vec<IdMap>,
    gids: Vec<IdMap>,
}

impl OwnMaps {
    /// Nothing where a part is missing or not written yet.
    fn read(proc: &Folder, buffer: &mut Buffer) -> Result<Option<OwnMaps>, Error> {
        let user = proc.link(c"self/ns/user", buffer, parse_link)?;
        let uids = proc.whole(c"self/uid_map", buffer, parse_id_map)?;
        let gids = proc.whole(c"self/gid_map", buffer, parse_id_map)?;
        let (Reading::Known(user), Reading::Known(uids), Reading::Known(gids)) = (user, uids, gids)
        else {
            return Ok(None);
        };
        Ok((!uids.is_empty() && !gids.is_empty()).then_some(OwnMaps { user, uids, gids }))
    }
}

impl Proc {
    /// Opens the proc file system that the options name.
    ///
    /// # Errors
    ///
    /// When there is none, when it does not know this process, or when it hides others' processes.
    pub fn open(options: &Options) -> Result<Proc, Error> {
        let path = &options.roots.proc;
        let folder = Folder::open(path).map_err(|errno| Error::io(path, errno))?;
        let mut buffer = Buffer::new();
        let observer = folder.link(c"self", &mut buffer, |target| {
            parse_value(target, "a PID", |pid| i32::try_from(decimal(pid)?).ok())
        })?;
        let Reading::Known(observer) = observer else {
            return Err(Error::Proc { path: path.clone(), fault: ProcFault::NoSelf });
        };
        if hides_others(&folder, &mut buffer)? {
            return Err(Error::Proc { path: path.clone(), fault: ProcFault::Hidden });
        }
        // In a recorded tree the links lead nowhere, and say nothing of a device.
        let nsfs = folder.file(c"self/ns/user")?.known().map_or(0, |(device, _)| *device);
        let maps = OwnMaps::read(&folder, &mut buffer)?;
        Ok(Proc { folder, observer, nsfs, maps, marks: options.mark })
    }

    /// The PID of the process that looks, as this proc file system numbers it.
    pub fn observer(&self) -> i32 {
        self.observer
    }

    /// The PIDs of all processes, in ascending order.
    ///
    /// # Errors
    ///
    /// When the directory cannot be listed.
    pub fn pids(&self) -> Result<Vec<i32>, Error> {
        let mut pids = Vec::new();
        self.folder.each_folder(|name| {
            let pid = decimal(name.to_bytes()).and_then(|pid| i32::try_from(pid).ok());
            pids.extend(pid);
        })?;
        pids.sort_unstable();
        Ok(pids)
    }

    /// Reads these processes, on as many threads as `threads` says. Those that are gone are left out.
    ///
    /// # Errors
    ///
    /// As for [`OpenProcess::read`].
    pub fn read(&self, pids: &[i32], threads: usize) -> Result<Vec<Process>, Error> {
        let next = AtomicUsize::new(0);
        let work = || self.read_shares(pids, &next);
        let helpers = threads.min(pids.len().div_ceil(SHARE)).saturating_sub(1);
        let mut processes = std::thread::scope(|scope| {
            let helpers: Vec<_> = (0..helpers).map(|_| scope.spawn(work)).collect();
            let mut processes = work()?;
            for helper in helpers {
                let part = helper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                processes.append(&mut part?);
            }
            Ok::<_, Error>(processes)
        })?;
        processes.sort_unstable_by_key(|process| process.id);
        Ok(processes)
    }

    /// What one thread does: takes a share of the PIDs, reads them, takes the next.
    fn read_shares(&self, pids: &[i32], next: &AtomicUsize) -> Result<Vec<Process>, Error> {
        let mut buffer = Buffer::new();
        let mut processes = Vec::with_capacity(pids.len());
        while let Some(rest) = pids.get(next.fetch_add(SHARE, Ordering::Relaxed)..) {
            for &pid in rest.iter().take(SHARE) {
                let Some(mut process) = OpenProcess::open(self, pid, &mut buffer)? else {
                    continue;
                };
                processes.extend(process.read()?);
            }
        }
        Ok(processes)
    }

    pub(super) fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The device of nsfs; 0 in a recorded tree.
    pub(super) fn nsfs(&self) -> u64 {
        self.nsfs
    }

    /// The maps of user and group IDs in this user namespace, where it is the observer's own.
    pub(super) fn own_maps(&self, user: &Reading<NamespaceId>) -> Option<(&[IdMap], &[IdMap])> {
        let maps = self.maps.as_ref()?;
        (user.known()?.ino == maps.user).then_some((&maps.uids, &maps.gids))
    }

    pub(super) fn reads_marks(&self) -> bool {
        self.marks
    }
}

/// Whether the mount option `hidepid` keeps this process from seeing others: PID 1 exists in every
/// PID namespace, so it is not to be seen only where it is hidden.
fn hides_others(proc: &Folder, buffer: &mut Buffer) -> Result<bool, Error> {
    if let Reading::Known(_) = proc.record(c"1/stat", buffer, parse_stat)? {
        return Ok(false);
    }
    let mounts = proc.whole(c"self/mountinfo", buffer, parse_mountinfo)?;
    Ok(mounts.known().into_iter().flatten().any(|mount| {
        let hides = |option: &str| {
            option.strip_prefix("hidepid=").is_some_and(|mode| !matches!(mode, "0" | "off"))
        };
        mount.fs_type == "proc"
            && proc.path() == std::path::Path::new(&mount.mount_point)
            && mount.super_options.split(',').any(hides)
    }))
}
