//! Where the book and the labs are, as the repository has them.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use podlab::book::Pages;

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the checker is in the repository")
}

/// The chapters, the introduction and everything else that is a page, in the order of their names.
pub(crate) fn pages() -> Vec<PathBuf> {
    files(&root().join("book/src"), "md")
}

/// The pictures.
pub(crate) fn pictures() -> Vec<PathBuf> {
    files(&root().join("book/src/images"), "svg")
}

/// The labs, in the order of their names.
pub(crate) fn labs() -> Vec<PathBuf> {
    files(&root().join("labs/src/bin"), "rs")
}

/// The book as `podlab book` builds it.
pub(crate) fn built() -> &'static Pages {
    static PAGES: OnceLock<Pages> = OnceLock::new();
    PAGES.get_or_init(|| Pages::build().expect("the book"))
}

/// The text of `file`.
pub(crate) fn text(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The name of `file` without what tells its kind.
pub(crate) fn stem(file: &Path) -> &str {
    file.file_stem().and_then(|stem| stem.to_str()).expect("a file has a name")
}

fn files(folder: &Path, kind: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("an entry of the folder").path());
    let mut files: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|e| e == kind)).collect();
    files.sort();
    files
}
