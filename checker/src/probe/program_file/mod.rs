//! The program file of a process, as `/proc/PID/exe` holds it, and a file beside it. What lies there
//! may be planted: nothing but a regular file is opened for reading, no link in the way is followed,
//! and no more is read than [`MOST`].

mod arguments;
mod digest;
mod root;

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::lower;
use crate::facts::{FileKind, FileSeen, Observation, ProcessId, ProgramFile, Reading};

use super::held::Held;
use root::Root;

/// The largest program that is compared, in bytes.
const MOST: u64 = 1 << 30;

/// How many names in a folder are looked at for another one of the same file.
const NAMES: usize = 10_000;

/// What the kernel appends to the path of a file that was deleted (proc_pid_exe(5)).
const DELETED: &[u8] = b" (deleted)";

/// `OVERLAYFS_SUPER_MAGIC` of linux/magic.h.
const OVERLAY: rustix::fs::FsWord = 0x794c_7630;

pub(super) fn look(process: ProcessId, beside: &str) -> Result<Observation, String> {
    if beside.is_empty() || beside == ".." || beside == "." || beside.contains('/') {
        return Err(format!("'{beside}' is not the name of a file in a folder"));
    }
    let held = Held::open(process)?;
    let refused = |what: &'static str| {
        move |error: Errno| {
            format!("{what} of process {}: {}", process.pid, lower(&error.to_string()))
        }
    };
    let exe = held.open_file("exe", OFlags::RDONLY).map_err(refused("program file"))?;
    let stat = rustix::fs::fstat(&exe).map_err(refused("program file"))?;
    let root = Root::of(&held).map_err(refused("root directory"))?;
    let link = held.link("exe").map_err(refused("program file"))?;
    let place = Place::find(&root, &link, &stat)
        .ok_or_else(|| format!("the program of process {} lies outside its root", process.pid))?;
    let size = stat.st_size.unsigned_abs();
    if size > MOST {
        return Err(format!("the program has {size} bytes; at most {MOST} are compared"));
    }
    let sha256 = digest::sha256(&exe, MOST).map_err(refused("program file"))?;
    let beside = place.beside(beside, size).map_err(refused("file beside the program"))?;
    let arguments = arguments::Arguments::of(&held, &root);
    Ok(Observation::ProgramFile(ProgramFile {
        never_named: place.never_named(&root, &stat),
        links: stat.st_nlink as u64,
        on_overlay: is_overlay(&exe),
        other_name: place.other_name(&stat),
        dev: stat.st_dev,
        ino: stat.st_ino,
        size,
        sha256,
        lost_call: arguments.lost_call(&place.name),
        lost_script: arguments.lost_script(&place.name),
        beside,
        deleted: place.deleted,
        folder: String::from_utf8_lossy(&place.folder).into_owned(),
        name: String::from_utf8_lossy(&place.name).into_owned(),
    }))
}

/// Where a program file is or was, seen from the root of its process.
struct Place {
    folder: Vec<u8>,
    name: Vec<u8>,
    deleted: bool,
    /// The folder, where there is one of that path.
    open: Option<OwnedFd>,
}

impl Place {
    /// From what `/proc/PID/exe` says; nothing where that is outside the root.
    fn find(root: &Root, link: &[u8], program: &Stat) -> Option<Place> {
        let path = root.inside(link)?;
        // A file may well be named `x (deleted)`: then the whole path leads to it.
        let names_it = root.stat(path).is_ok_and(|stat| is_same(&stat, program));
        let (path, deleted) = match path.strip_suffix(DELETED) {
            Some(path) if !names_it => (path, true),
            _ => (path, false),
        };
        let slash = path.iter().rposition(|byte| *byte == b'/')?;
        let folder = if slash == 0 { &path[..1] } else { &path[..slash] };
        let name = path[slash + 1..].to_vec();
        Some(Place { folder: folder.to_vec(), name, deleted, open: root.folder(folder).ok() })
    }

    /// A memfd is called `/memfd:NAME`, on a device that nothing is mounted from; a file made
    /// without a name is called `#INODE`.
    fn never_named(&self, root: &Root, program: &Stat) -> bool {
        let is_memfd = self.folder == b"/"
            && self.name.starts_with(b"memfd:")
            && root.stat(b"/").is_ok_and(|stat| stat.st_dev != program.st_dev);
        self.deleted && (is_memfd || self.name == format!("#{}", program.st_ino).as_bytes())
    }

    /// Another name of the program file in its folder.
    fn other_name(&self, program: &Stat) -> Option<String> {
        let folder = self.open.as_ref()?;
        let list = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let readable = rustix::fs::openat(folder, ".", list, Mode::empty()).ok()?;
        let entries = Dir::new(readable).ok()?.take(NAMES).filter_map(Result::ok);
        let mut names = entries.map(|entry| entry.file_name().to_owned());
        let other = names.find(|name| {
            (self.deleted || name.as_bytes() != self.name)
                && rustix::fs::statat(folder, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok_and(|stat| is_same(&stat, program))
        })?;
        Some(other.to_string_lossy().into_owned())
    }

    /// The file of this name in the folder.
    fn beside(&self, name: &str, programs_size: u64) -> rustix::io::Result<Reading<FileSeen>> {
        let Some(folder) = &self.open else { return Ok(Reading::Absent) };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(folder, name, flags, Mode::empty()) {
            Ok(file) => Ok(Reading::Known(file_seen(folder, name, &file, programs_size)?)),
            Err(Errno::NOENT) => Ok(Reading::Absent),
            Err(Errno::ACCESS | Errno::PERM) => Ok(Reading::DENIED),
            Err(error) => Err(error),
        }
    }
}

fn file_seen(
    folder: &OwnedFd,
    name: &str,
    file: &OwnedFd,
    programs_size: u64,
) -> rustix::io::Result<FileSeen> {
    let stat = rustix::fs::fstat(file)?;
    let size = stat.st_size.unsigned_abs();
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FileKind::Regular,
        FileType::Symlink => FileKind::Symlink,
        _ => FileKind::Other,
    };
    let sha256 = match kind {
        FileKind::Regular if size == programs_size => read_same(folder, name, &stat),
        _ => None,
    };
    let mode = stat.st_mode & 0o7777;
    Ok(FileSeen { kind, mode, dev: stat.st_dev, ino: stat.st_ino, size, sha256 })
}

/// The digest of the regular file `seen`, where it is still what the name leads to and may be read.
fn read_same(folder: &OwnedFd, name: &str, seen: &Stat) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::openat(folder, name, flags | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let stat = rustix::fs::fstat(&file).ok()?;
    if !is_same(&stat, seen) {
        return None;
    }
    digest::sha256(&file, MOST).ok()
}

fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

fn is_overlay(file: &impl AsFd) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|stat| stat.f_type == OVERLAY)
}

/// The last part of a path.
fn base_name(path: &[u8]) -> &[u8] {
    std::path::Path::new(OsStr::from_bytes(path)).file_name().map_or(path, OsStr::as_bytes)
}
