//! The files of a room, in the learner's folder. The learner may have put anything in their place:
//! no link is followed, and nothing is removed but what has a room's names.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::Error;

/// The folder on which the keeper mounts a file system of its own.
const DESK: &str = "desk";

/// The file on it.
const NOTE: &str = "note";

/// The file that the learner writes, beside the desk.
const ANSWER: &str = "answer";

const FOLDER: OFlags =
    OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::RDONLY).union(OFlags::CLOEXEC);

/// Where the note of a room in `folder` is.
pub(super) fn note(folder: &Path) -> PathBuf {
    folder.join(DESK).join(NOTE)
}

/// Where the learner writes the answer.
pub(super) fn answer(folder: &Path) -> PathBuf {
    folder.join(ANSWER)
}

/// The folder of the room with this note.
pub(super) fn folder_of(note: &str) -> Option<PathBuf> {
    let desk = Path::new(note).strip_prefix("/").ok()?.parent()?;
    (desk.file_name()? == DESK).then(|| Path::new("/").join(desk.parent().unwrap_or(desk)))
}

/// Makes the desk, with a note that holds `decoy`.
pub(super) fn furnish(folder: &Path, decoy: &str) -> Result<(), Error> {
    // What an earlier podlab, ended midway, has left.
    sweep(folder);
    let make = || -> io::Result<()> {
        let folder = rustix::fs::open(folder, FOLDER, Mode::empty())?;
        rustix::fs::mkdirat(&folder, DESK, Mode::from_raw_mode(0o755))?;
        write_note(&rustix::fs::openat(&folder, DESK, FOLDER, Mode::empty())?, decoy)
    };
    make().map_err(|error| {
        sweep(folder);
        Error::file(&note(folder), error).hint("what stands there is not podlab's: move it away")
    })
}

/// The desk, opened in the mount namespace of the caller.
pub(super) fn open_desk(folder: &Path) -> io::Result<OwnedFd> {
    let folder = rustix::fs::open(folder, FOLDER, Mode::empty())?;
    Ok(rustix::fs::openat(folder, DESK, FOLDER, Mode::empty())?)
}

/// Writes a new note on the desk.
pub(super) fn write_note(desk: &OwnedFd, word: &str) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let note = rustix::fs::openat(desk, NOTE, flags, Mode::from_raw_mode(0o444))?;
    writeln!(File::from(note), "{word}")
}

/// Removes the desk and the note on it. What is something else of that name stays, and so does a
/// desk on which the learner has put something.
pub(super) fn sweep(folder: &Path) {
    let remove = || -> rustix::io::Result<()> {
        let folder = rustix::fs::open(folder, FOLDER, Mode::empty())?;
        let desk = rustix::fs::openat(&folder, DESK, FOLDER, Mode::empty())?;
        remove_file(&desk, NOTE)?;
        rustix::fs::unlinkat(&folder, DESK, AtFlags::REMOVEDIR)
    };
    // What cannot be removed is the learner's, or will be met again when a room is made.
    let _ = remove();
}

/// Removes the desk, the answer, and the folder itself if nothing else is in it.
pub(super) fn forget(folder: &Path) {
    sweep(folder);
    let remove = || -> rustix::io::Result<()> {
        remove_file(&rustix::fs::open(folder, FOLDER, Mode::empty())?, ANSWER)?;
        rustix::fs::rmdir(folder)
    };
    // As above.
    let _ = remove();
}

/// Removes a regular file; anything else of that name stays.
fn remove_file(folder: &OwnedFd, name: &str) -> rustix::io::Result<()> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) if FileType::from_raw_mode(status.st_mode) == FileType::RegularFile => {
            rustix::fs::unlinkat(folder, name, AtFlags::empty())
        }
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_found_again_from_the_note() {
        for folder in ["/home/ada/locked-room", "/"] {
            let note = note(Path::new(folder));
            assert_eq!(folder_of(note.to_str().unwrap()), Some(PathBuf::from(folder)));
        }
    }

    #[test]
    fn a_path_that_is_no_note_has_no_folder() {
        for odd in ["", "/", "note", "desk/note", "/note", "/etc/passwd"] {
            assert_eq!(folder_of(odd), None, "{odd}");
        }
    }
}
