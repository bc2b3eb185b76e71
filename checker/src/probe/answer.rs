//! Reads a file in which the learner left an answer. It may be anything, so it is looked at before
//! it is opened: a pipe would make us wait, a device might do something.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::caller::Caller;
use crate::facts::{Observation, Reading};

/// An answer is three words; a file larger than this holds something else.
const MOST_BYTES: u64 = 4096;

pub(super) fn look(path: &str) -> Result<Observation, String> {
    let text = match Caller::new().with_rights(|| read(path)) {
        Ok(content) => Reading::Known(String::from_utf8_lossy(&content).trim().to_owned()),
        Err(Refused::Kernel(Errno::NOENT | Errno::NOTDIR)) => Reading::Absent,
        Err(Refused::Kernel(Errno::ACCESS | Errno::PERM)) => Reading::DENIED,
        Err(Refused::Kernel(error)) => return Err(format!("{path}: {}", io::Error::from(error))),
        Err(Refused::Content(why)) => return Err(format!("{path}: {why}")),
    };
    Ok(Observation::Answer { text })
}

/// Why there is no text.
enum Refused {
    Kernel(Errno),
    Content(String),
}

impl From<Errno> for Refused {
    fn from(error: Errno) -> Refused {
        Refused::Kernel(error)
    }
}

fn read(path: &str) -> Result<Vec<u8>, Refused> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = rustix::fs::open(path, flags, Mode::empty())?;
    let status = rustix::fs::fstat(&found)?;
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile => {}
        FileType::Symlink => return Err(Refused::Content("a symbolic link, not a file".into())),
        _ => return Err(Refused::Content("not a regular file".into())),
    }
    let mut content = Vec::new();
    let limited = reopen(&found)?.take(MOST_BYTES + 1);
    read_all(limited, &mut content)?;
    if content.len() as u64 > MOST_BYTES {
        return Err(Refused::Content(format!("larger than {MOST_BYTES} bytes")));
    }
    Ok(content)
}

/// The very file that was looked at, open for reading.
fn reopen(found: &OwnedFd) -> Result<File, Errno> {
    let path = format!("/proc/self/fd/{}", found.as_raw_fd());
    Ok(File::from(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?))
}

fn read_all(mut file: impl Read, content: &mut Vec<u8>) -> Result<(), Errno> {
    match file.read_to_end(content) {
        Ok(_) => Ok(()),
        Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
    }
}
