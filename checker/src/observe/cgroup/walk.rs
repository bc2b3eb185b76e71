//! Walking through one hierarchy.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::files::Files;
use super::{v1, v2};
use crate::facts::{Cgroup, CgroupRef, Hierarchy, Reading};
use crate::observe::Error;
use crate::observe::read::{Buffer, Folder, refused};
use crate::observe::text::lossy;

/// A group, and the names of the directories from the mount point to it. Its path is not known yet.
pub(super) struct Found {
    pub(super) names: Vec<String>,
    pub(super) group: Cgroup,
}

/// Reads all groups below `place`, each after its parent and in the order of their names. A group
/// that is removed meanwhile is left out. The controllers of a version 2 hierarchy are filled in.
///
/// One directory is open at a time: others decide how deep and how wide the tree is.
pub(super) fn walk(
    place: &Path,
    index: usize,
    hierarchy: &mut Hierarchy,
    buffer: &mut Buffer,
) -> Result<Vec<Found>, Error> {
    let mut groups = Vec::new();
    let mut open = vec![(place.to_owned(), Vec::new())];
    while let Some((path, names)) = open.pop() {
        let Reading::Known(folder) = enter(&path)? else { continue };
        let mut files = Files::new(&folder, buffer);
        if hierarchy.version == 2 && names.is_empty() {
            hierarchy.controllers = files.names(c"cgroup.controllers")?;
        }
        let Some(group) = read_group(&mut files, index, hierarchy)? else { continue };
        open.extend(children(&folder)?.into_iter().rev().map(|name| {
            let mut names = names.clone();
            names.push(lossy(name.as_os_str().as_bytes()));
            (path.join(name), names)
        }));
        groups.push(Found { names, group });
    }
    Ok(groups)
}

fn enter(path: &Path) -> Result<Reading<Folder>, Error> {
    match Folder::open(path) {
        Ok(folder) => Ok(Reading::Known(folder)),
        Err(errno) => refused(errno).map_err(|errno: Errno| Error::io(path, errno)),
    }
}

fn children(folder: &Folder) -> Result<Vec<PathBuf>, Error> {
    let mut names = Vec::new();
    folder.each_folder(|name| names.push(PathBuf::from(OsStr::from_bytes(name.to_bytes()))))?;
    names.sort_unstable();
    Ok(names)
}

fn read_group(
    files: &mut Files<'_>,
    index: usize,
    hierarchy: &Hierarchy,
) -> Result<Option<Cgroup>, Error> {
    let Reading::Known((_, ino)) = files.folder.file(c".")? else { return Ok(None) };
    let at = CgroupRef { hierarchy: index, path: String::new() };
    let group = match hierarchy.version {
        1 => v1::group(files, at, ino, &hierarchy.controllers)?,
        _ => v2::group(files, at, ino)?,
    };
    // Each group has this file as long as it exists; a directory of something else never has.
    let exists =
        matches!(files.folder.file(c"cgroup.procs")?, Reading::Known(_) | Reading::Denied(_));
    Ok(exists.then_some(group))
}
