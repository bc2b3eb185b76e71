//! The sources of the book and of the labs it quotes, as they were when this program was built.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use rust_embed::{EmbeddedFile, RustEmbed};

use crate::error::Error;

#[derive(RustEmbed)]
#[folder = "../book"]
#[include = "book.toml"]
#[include = "src/**"]
#[include = "theme/**"]
struct Book;

#[derive(RustEmbed)]
#[folder = "../labs/src/bin"]
#[include = "*.rs"]
struct Labs;

/// Writes all sources below `folder`, which is private and empty, in the places that they have in the
/// repository, and returns the folder of the book. A chapter quotes a lab by a relative path.
pub(super) fn unpack(folder: &Path) -> Result<PathBuf, Error> {
    let book = folder.join("book");
    unpack_all::<Book>(&book)?;
    unpack_all::<Labs>(&folder.join("labs/src/bin"))?;
    Ok(book)
}

/// The text of a chapter, by its file's name without `.md`.
pub fn chapter(stem: &str) -> Option<String> {
    let EmbeddedFile { data, .. } = Book::get(&format!("src/{stem}.md"))?;
    String::from_utf8(data.into_owned()).ok()
}

/// The names of the labs whose programs there are.
pub fn lab_programs() -> impl Iterator<Item = String> {
    Labs::iter().filter_map(|name| Some(name.strip_suffix(".rs")?.to_owned()))
}

fn unpack_all<Sources: RustEmbed>(folder: &Path) -> Result<(), Error> {
    for name in Sources::iter() {
        let EmbeddedFile { data, .. } = Sources::get(&name).expect("a listed file is embedded");
        write(&folder.join(&*name), &data)?;
    }
    Ok(())
}

/// Writes `data` to `path`, where nothing may be yet, and makes the folders on the way.
pub(super) fn write(path: &Path, data: &[u8]) -> Result<(), Error> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| Error::file(parent, error))?;
    }
    let written = File::create_new(path).and_then(|mut file| file.write_all(data));
    written.map_err(|error| Error::file(path, error))
}
