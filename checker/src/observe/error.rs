//! What can go wrong while reading the kernel's files.

use std::io;
use std::path::{Path, PathBuf};

use super::text::Malformed;

/// A fault that leaves nothing to judge by. A process or a group that goes away is none, and neither
/// is a field that may not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no usable proc file system at this place.
    #[error("{}: {fault}", path.display())]
    Proc {
        /// Where it was looked for.
        path: PathBuf,
        /// What is wrong with it.
        fault: ProcFault,
    },
    /// A file could not be read, for another reason than missing permission.
    #[error("{}: {}", path.display(), crate::error::lower(&source.to_string()))]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// A file does not look as its manual page says.
    #[error("{}: line {}: expected {}, found '{}'", path.display(), at.line, at.wanted, at.found)]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The place in it.
        at: Malformed,
    },
}

/// Why a proc file system is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProcFault {
    /// It has no link `self`, or the link leads nowhere.
    #[error("not a proc file system that knows this process")]
    NoSelf,
    /// Mounted with `hidepid`.
    #[error("the processes of other users are hidden (hidepid)")]
    Hidden,
    /// Mounted with `subset=pid`.
    #[error("only processes are shown (subset=pid)")]
    OnlyProcesses,
}

impl Error {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Error::Proc { fault: ProcFault::NoSelf, .. } => Some(
                "if one was mounted over it, take that away: umount /proc; else mount one of \
                     this PID namespace: mount -t proc proc /proc",
            ),
            Error::Proc { fault: ProcFault::Hidden, .. } => {
                Some("run as root, or let all be seen: mount -o remount,hidepid=0 /proc")
            }
            Error::Proc { fault: ProcFault::OnlyProcesses, .. } => {
                Some("mount a whole one: mount -t proc proc /proc")
            }
            Error::Io { .. } | Error::Malformed { .. } => None,
        }
    }

    pub(super) fn io(path: &Path, source: impl Into<io::Error>) -> Error {
        Error::Io { path: path.to_owned(), source: source.into() }
    }
}

impl From<Error> for crate::error::Error {
    fn from(error: Error) -> crate::error::Error {
        let told = crate::error::Error::new(error.to_string());
        match error.hint() {
            Some(hint) => told.hint(hint),
            None => told,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_line_is_named_with_its_file_and_number() {
        let at = Malformed { line: 3, wanted: "a number", found: "seven".to_owned() };
        let error = Error::Malformed { path: "/proc/7/status".into(), at };
        assert_eq!(error.to_string(), "/proc/7/status: line 3: expected a number, found 'seven'");
        assert_eq!(error.hint(), None);
    }

    #[test]
    fn a_refused_read_is_one_lower_case_line() {
        let error = Error::io(Path::new("/proc"), io::Error::from_raw_os_error(libc::ENOENT));
        assert_eq!(error.to_string(), "/proc: no such file or directory");
    }
}
