//! The checkout of the course that podlab was built in, where there is one.

use std::path::{Path, PathBuf};

/// A checkout, and where cargo puts what it builds there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkout {
    /// Its folder, which holds `Cargo.toml`, `labs/` and `vm/`.
    pub root: PathBuf,
    /// The folder that cargo fills: `target`, unless it was told otherwise.
    pub target: PathBuf,
}

impl Checkout {
    /// That of the running podlab.
    pub fn of_this_program() -> Option<Checkout> {
        Checkout::of(std::env::current_exe().ok()?.parent()?)
    }

    /// That of the podlab in `folder`, which is `TARGET/PROFILE` or `TARGET/TRIPLE/PROFILE`.
    pub fn of(folder: &Path) -> Option<Checkout> {
        let is_course =
            |root: &&Path| root.join("labs/src/bin").is_dir() && root.join("Cargo.toml").is_file();
        let root = folder.ancestors().find(is_course)?.to_owned();
        // Cargo marks the folder that it fills.
        let is_target = |folder: &&Path| folder.join("CACHEDIR.TAG").is_file();
        let target = folder.ancestors().skip(1).filter(is_target).last().or(folder.parent())?;
        Some(Checkout { target: target.to_owned(), root })
    }
}
