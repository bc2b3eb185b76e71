//! What can go wrong between the book's sources and a browser.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the book cannot be built or served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the book cannot be written or read back.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// There is no place for a temporary folder.
    #[error("no temporary folder to build the book in: {0}")]
    Temporary(#[source] io::Error),
    /// mdBook refuses the sources, in its own words.
    #[error("the book cannot be built: {0}")]
    Build(String),
    /// The folder to write to holds something.
    #[error("{}: not empty\nhint: name a new or an empty folder", .0.display())]
    NotEmpty(PathBuf),
    /// The port is taken, or may not be used.
    #[error("{address}: cannot listen: {source}\nhint: --port 0 takes any port that is free")]
    Listen {
        /// Where the book was to be served.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The address cannot be told to whoever asked.
    #[error("cannot write the address: {0}")]
    Announce(#[source] io::Error),
    /// The server ended by itself.
    #[error("cannot serve the book: {0}")]
    Serve(#[source] io::Error),
}

impl Error {
    /// For [`Result::map_err`]: an error about the file at `path`.
    pub(super) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::File { path, source }
    }
}
