//! The root directory of a process, and looking things up below it without leaving it.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, ResolveFlags, Stat};

use super::Held;

/// A root directory, held open, and its path as the kernel puts it.
pub(super) struct Root {
    directory: OwnedFd,
    path: Vec<u8>,
}

impl Root {
    /// The root of this process.
    pub(super) fn of(held: &Held) -> rustix::io::Result<Root> {
        let directory = held.open_file("root", OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(Root { directory, path: held.link("root")? })
    }

    /// A path of the kernel's, seen from this root; nothing where it is not below it. Both are put
    /// alike: the links in `/proc/PID` do not start from the process's root but from the reader's,
    /// or, in another mount namespace, from the first mount there.
    pub(super) fn inside<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        let root = self.path.strip_suffix(b"/").unwrap_or(&self.path);
        path.strip_prefix(root).filter(|path| path.starts_with(b"/"))
    }

    /// The file that this path leads to, itself where it is a link.
    pub(super) fn stat(&self, path: &[u8]) -> rustix::io::Result<Stat> {
        rustix::fs::fstat(self.open(path, OFlags::NOFOLLOW, ResolveFlags::empty())?)
    }

    /// The directory of this path, in which nothing is a link.
    pub(super) fn folder(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        self.open(path, OFlags::DIRECTORY, ResolveFlags::NO_SYMLINKS)
    }

    /// Whether this path leads nowhere.
    pub(super) fn lacks(&self, path: &[u8]) -> bool {
        let found = self.open(path, OFlags::empty(), ResolveFlags::empty());
        matches!(found, Err(rustix::io::Errno::NOENT))
    }

    fn open(&self, path: &[u8], more: OFlags, also: ResolveFlags) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC | more;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | also;
        rustix::fs::openat2(&self.directory, path, flags, Mode::empty(), resolve)
    }
}
