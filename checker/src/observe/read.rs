//! Reading the kernel's files relative to an open directory, and what a refusal means.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RawDir, StatxFlags, makedev, openat, readlinkat_raw,
    statx,
};
use rustix::io::{Errno, read};

use super::Error;
use super::text::Malformed;
use crate::facts::Reading;

/// The longest text that is read, in bytes: a hundred thousand mounts fit.
const LONGEST: usize = 64 << 20;

/// Room for the text of one file, kept from file to file.
pub struct Buffer(Vec<u8>);

impl Buffer {
    /// Room enough for most files; it grows.
    pub fn new() -> Buffer {
        Buffer(vec![0; 16 << 10])
    }
}

impl Default for Buffer {
    fn default() -> Buffer {
        Buffer::new()
    }
}

/// An open directory, and its path for messages.
pub(super) struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens the directory `path`, for reaching what is in it.
    pub(super) fn open(path: &Path) -> Result<Folder, Errno> {
        let fd = openat(CWD, path, folder_flags(), Mode::empty())?;
        Ok(Folder { fd, path: path.to_owned() })
    }

    /// Opens the directory `name` in this one.
    pub(super) fn enter(&self, name: &CStr) -> Result<Reading<Folder>, Error> {
        let path = self.path_of(name);
        match openat(&self.fd, name, folder_flags(), Mode::empty()) {
            Ok(fd) => Ok(Reading::Known(Folder { fd, path })),
            Err(errno) => refused(errno).map_err(|errno| Error::io(&path, errno)),
        }
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The path of something in it.
    pub(super) fn path_of(&self, name: &CStr) -> PathBuf {
        self.path.join(name.to_string_lossy().as_ref())
    }

    /// Reads a file that the kernel hands out in one piece: of one record, shorter than a page.
    pub(super) fn record<T>(
        &self,
        name: &CStr,
        buffer: &mut Buffer,
        parse: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Result<Reading<T>, Error> {
        self.parsed(name, read_record(self.fd.as_fd(), name, buffer), parse)
    }

    /// Reads a file of any length to its end.
    pub(super) fn whole<T>(
        &self,
        name: &CStr,
        buffer: &mut Buffer,
        parse: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Result<Reading<T>, Error> {
        self.parsed(name, read_whole(self.fd.as_fd(), name, LONGEST, buffer), parse)
    }

    /// Reads the first bytes of a file whose length others decide.
    pub(super) fn start<T>(
        &self,
        name: &CStr,
        most: usize,
        buffer: &mut Buffer,
        parse: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Result<Reading<T>, Error> {
        self.parsed(name, read_whole(self.fd.as_fd(), name, most, buffer), parse)
    }

    /// Reads where a link leads.
    pub(super) fn link<T>(
        &self,
        name: &CStr,
        buffer: &mut Buffer,
        parse: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Result<Reading<T>, Error> {
        let target = readlinkat_raw(&self.fd, name, &mut buffer.0[..]).map(|n| &buffer.0[..n]);
        self.parsed(name, target, parse)
    }

    /// Device and inode of the file that `name` leads to. The file system is not asked again: a
    /// FUSE server that does not answer holds nobody up.
    pub(super) fn file(&self, name: &CStr) -> Result<Reading<(u64, u64)>, Error> {
        match statx(&self.fd, name, AtFlags::STATX_DONT_SYNC, StatxFlags::INO) {
            Ok(file) => {
                let device = makedev(file.stx_dev_major, file.stx_dev_minor);
                Ok(Reading::Known((device, file.stx_ino)))
            }
            Err(errno) => refused(errno).map_err(|errno| Error::io(&self.path_of(name), errno)),
        }
    }

    /// Opens a file in it for ioctl(2) or the like.
    pub(super) fn open_file(&self, name: &CStr) -> Result<Reading<OwnedFd>, Error> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => Ok(Reading::Known(fd)),
            Err(errno) => refused(errno).map_err(|errno| Error::io(&self.path_of(name), errno)),
        }
    }

    /// Calls `each` with the name of every directory in it, in the kernel's order.
    pub(super) fn each_folder(&self, mut each: impl FnMut(&CStr)) -> Result<Reading<()>, Error> {
        match self.try_each_folder(&mut each) {
            Ok(()) => Ok(Reading::Known(())),
            Err(errno) => refused(errno).map_err(|errno| Error::io(&self.path, errno)),
        }
    }

    fn try_each_folder(&self, each: &mut dyn FnMut(&CStr)) -> Result<(), Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let listing = openat(&self.fd, c".", flags, Mode::empty())?;
        let mut space = [MaybeUninit::uninit(); 32 << 10];
        let mut entries = RawDir::new(&listing, &mut space);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if entry.file_type() == FileType::Directory && name != c"." && name != c".." {
                each(name);
            }
        }
        Ok(())
    }

    fn parsed<T>(
        &self,
        name: &CStr,
        text: Result<&[u8], Errno>,
        parse: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Result<Reading<T>, Error> {
        match text {
            Ok(text) => parse(text)
                .map(Reading::Known)
                .map_err(|at| Error::Malformed { path: self.path_of(name), at }),
            Err(errno) => refused(errno).map_err(|errno| Error::io(&self.path_of(name), errno)),
        }
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// O_PATH: it asks for no right to list, and reaching a file through it is all that is needed.
fn folder_flags() -> OFlags {
    OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC
}

/// What a failed call says of the thing it was made on; an error where it says nothing of it.
pub(super) fn refused<T>(errno: Errno) -> Result<Reading<T>, Errno> {
    match errno {
        Errno::ACCESS | Errno::PERM => Ok(Reading::DENIED),
        // Not there: no such file, process or cgroup any more, the mounts of a process that is
        // ending (EINVAL), a file of no use in a threaded cgroup, and a path that is too long to
        // be told.
        Errno::NOENT
        | Errno::SRCH
        | Errno::NODEV
        | Errno::INVAL
        | Errno::OPNOTSUPP
        | Errno::NAMETOOLONG => Ok(Reading::Absent),
        other => Err(other),
    }
}

fn read_record<'b>(
    dir: BorrowedFd<'_>,
    name: &CStr,
    buffer: &'b mut Buffer,
) -> Result<&'b [u8], Errno> {
    let file = openat(dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let n = read(&file, &mut buffer.0[..])?;
    if n < buffer.0.len() {
        return Ok(&buffer.0[..n]);
    }
    read_rest(file.as_fd(), n, LONGEST, buffer)
}

fn read_whole<'b>(
    dir: BorrowedFd<'_>,
    name: &CStr,
    most: usize,
    buffer: &'b mut Buffer,
) -> Result<&'b [u8], Errno> {
    let file = openat(dir, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    read_rest(file.as_fd(), 0, most, buffer)
}

/// Reads on to the end of the file, or until there are `most` bytes; `length` are there already.
fn read_rest<'b>(
    file: BorrowedFd<'_>,
    mut length: usize,
    most: usize,
    buffer: &'b mut Buffer,
) -> Result<&'b [u8], Errno> {
    while length < most {
        if length == buffer.0.len() {
            buffer.0.resize(2 * length, 0);
        }
        match read(file, &mut buffer.0[length..])? {
            0 => break,
            n => length += n,
        }
    }
    Ok(&buffer.0[..length])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::text::parse_value;

    fn folder_with(text: &[u8]) -> (tempfile::TempDir, Folder) {
        let temporary = tempfile::tempdir().unwrap();
        std::fs::write(temporary.path().join("file"), text).unwrap();
        let folder = Folder::open(temporary.path()).unwrap();
        (temporary, folder)
    }

    #[test]
    fn a_text_longer_than_the_buffer_is_read_to_its_end() {
        let text = vec![b'x'; 100_000];
        let (_kept, folder) = folder_with(&text);
        let length = |text: &[u8]| Ok(text.len());
        let whole = folder.whole(c"file", &mut Buffer::new(), length).unwrap();
        let record = folder.record(c"file", &mut Buffer::new(), length).unwrap();
        assert_eq!((whole, record), (Reading::Known(100_000), Reading::Known(100_000)));
    }

    #[test]
    fn the_start_of_a_file_is_bounded() {
        let (_kept, folder) = folder_with(&[b'x'; 100_000]);
        let length = folder.start(c"file", 40_000, &mut Buffer::new(), |t| Ok(t.len())).unwrap();
        assert!(length.known().is_some_and(|&n| (40_000..100_000).contains(&n)), "{length:?}");
    }

    #[test]
    fn what_is_not_there_is_absent_and_what_is_no_file_is_an_error() {
        let (_kept, folder) = folder_with(b"");
        let absent = folder.whole(c"other", &mut Buffer::new(), |t| Ok(t.len())).unwrap();
        assert_eq!(absent, Reading::Absent);
        let error = folder.whole(c".", &mut Buffer::new(), |t| Ok(t.len())).unwrap_err();
        assert!(error.to_string().ends_with("/.: is a directory"), "{error}");
    }

    #[test]
    fn a_malformed_file_is_named() {
        let (kept, folder) = folder_with(b"seven\n");
        let error = folder
            .record(c"file", &mut Buffer::new(), |text| {
                parse_value(text, "a number", crate::observe::text::decimal)
            })
            .unwrap_err();
        let path = kept.path().join("file");
        let expected = format!("{}: line 1: expected a number, found 'seven'", path.display());
        assert_eq!(error.to_string(), expected);
    }
}
