//! The book, carried in this program: built when asked for, served on loopback from memory.
//!
//! No other program, no checkout and no network is needed. A temporary folder exists while the book
//! is being built, and is gone before the first page is served.

mod pages;
mod server;
mod source;

use std::io::Write;

use crate::error::Error;

pub use pages::Pages;
pub use server::Server;
pub use source::{chapter, lab_programs};

/// Where [`serve`] listens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The TCP port on 127.0.0.1; 0 is any that is free. Without one it is [`USUAL_PORT`] if that is
    /// free, so that a bookmark keeps its worth, else any.
    pub port: Option<u16>,
}

/// The port that the book is served on when none is asked for.
pub const USUAL_PORT: u16 = 8026;

/// Builds the book, serves it on loopback, and writes its address to `out`: one line, once pages can
/// be fetched. Goes on until a signal ends the process; by then there is nothing to clean up.
///
/// # Errors
///
/// When the port is taken, the book cannot be built, or `out` cannot be written.
pub fn serve(options: Options, out: &mut dyn Write) -> Result<(), Error> {
    let server = Server::bind(options)?;
    let pages = Pages::build()?;
    let announced = writeln!(out, "http://{}/", server.address()).and_then(|()| out.flush());
    announced.map_err(|error| Error::new(format!("cannot write the address: {error}")))?;
    server.run(pages)
}
