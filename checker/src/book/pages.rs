//! The book as HTML, held in memory.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use mdbook_driver::MDBook;
use mdbook_driver::config::Config;
use nix::sys::signal::{SigSet, SigmaskHow, Signal};

use super::source;
use crate::error::Error;

/// The signals by which a person ends a program.
const ENDING: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];

/// Every file of the built book, by its path in the book's own folder, such as `index.html`.
#[derive(Clone, Debug)]
pub struct Pages(BTreeMap<String, Vec<u8>>);

impl Pages {
    /// Builds the book from the sources in this program. A signal to end that comes meanwhile waits
    /// until the temporary folder is gone.
    ///
    /// # Errors
    ///
    /// When there is no place for temporary files, or mdBook refuses the sources.
    pub fn build() -> Result<Pages, Error> {
        uninterrupted(|| {
            let folder = tempfile::Builder::new().prefix("podlab-book-").tempdir();
            let folder = folder.map_err(|error| no_temporary_folder(&error))?;
            let pages = render(&source::unpack(folder.path())?)?;
            folder.close().map_err(|error| no_temporary_folder(&error))?;
            Ok(pages)
        })
    }

    /// The file at `path`, if there is one. Paths are compared, never resolved.
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        self.0.get(path).map(Vec::as_slice)
    }

    /// All files with their paths, in the order of the paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(path, data)| (path.as_str(), data.as_slice()))
    }

    /// Writes the pages to `folder`, which is new or empty.
    ///
    /// # Errors
    ///
    /// When `folder` holds anything, or cannot be written.
    pub fn write_to(&self, folder: &Path) -> Result<(), Error> {
        let made = fs::create_dir_all(folder).and_then(|()| fs::read_dir(folder));
        if made.map_err(|error| Error::file(folder, error))?.next().is_some() {
            return Err(Error::file(folder, "not empty").hint("name a new or an empty folder"));
        }
        self.iter().try_for_each(|(path, data)| source::write(&folder.join(path), data))
    }
}

/// The error itself says where.
fn no_temporary_folder(error: &io::Error) -> Error {
    Error::new(format!("no temporary folder: {error}"))
}

/// Runs mdBook on the book in `folder` and reads what it wrote. `MDBOOK_…` in the environment could
/// name commands to run, so the configuration is the file alone.
fn render(folder: &Path) -> Result<Pages, Error> {
    let told = |error: mdbook_driver::errors::Error| {
        Error::new(format!("the book cannot be built: {error:#}"))
    };
    let config = Config::from_disk(folder.join("book.toml")).map_err(told)?;
    let book = MDBook::load_with_config(folder, config).map_err(told)?;
    book.build().map_err(told)?;
    let mut pages = BTreeMap::new();
    read_all(&book.build_dir_for("html"), "", &mut pages)?;
    Ok(Pages(pages))
}

/// Reads every file below `folder`, under the name that it has from there.
fn read_all(
    folder: &Path,
    prefix: &str,
    pages: &mut BTreeMap<String, Vec<u8>>,
) -> Result<(), Error> {
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    for entry in entries.map_err(|error| Error::file(folder, error))? {
        let path = entry.path();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if path.is_dir() {
            read_all(&path, &format!("{name}/"), pages)?;
        } else {
            let data = fs::read(&path).map_err(|error| Error::file(&path, error))?;
            pages.insert(name, data);
        }
    }
    Ok(())
}

/// Runs `work` with the signals to end held back. One that came meanwhile is delivered afterwards.
fn uninterrupted<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let signals: SigSet = ENDING.into_iter().collect();
    let before = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK).expect("a valid set of signals");
    let result = work();
    before.thread_set_mask().expect("the set of signals from before");
    result
}
