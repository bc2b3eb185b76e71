//! Running a command as a user without privileges.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A user and group without privileges: those of the number `PODLAB_ORDINARY`, else some that own
/// nothing on any machine.
pub fn ordinary() -> u32 {
    std::env::var("PODLAB_ORDINARY").map_or(54_321, |id| id.parse().expect("a user's number"))
}

/// Makes `command` run without privileges: as [`ordinary`] when the tests run as root, else as it is.
pub fn as_ordinary(command: &mut Command) -> &mut Command {
    if nix::unistd::geteuid().is_root() {
        command.uid(ordinary()).gid(ordinary()).current_dir("/");
    }
    command
}

/// A folder that [`ordinary`] may use, removed when dropped.
pub fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("chmod");
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(folder.path(), Some(ordinary()), Some(ordinary())).expect("chown");
    }
    folder
}

/// A copy of `program` in `folder`: the build folder may lie where only root can go.
pub fn copy_of(program: &Path, folder: &Path) -> PathBuf {
    let copy = folder.join(program.file_name().expect("a program has a name"));
    copy_program(program, &copy);
    copy
}

/// Copies a program, for everybody to run. Another process does it: what another thread starts while
/// this process writes would hold the copy open, and it could not be run (ETXTBSY of execve(2)).
pub fn copy_program(program: &Path, copy: &Path) {
    let mut install = Command::new("install");
    let status = install.args(["--mode", "755"]).arg(program).arg(copy).status().expect("install");
    assert!(status.success(), "install {} {}", program.display(), copy.display());
}
