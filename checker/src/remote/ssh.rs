//! The OpenSSH client: one shared connection to a machine, and sessions over it.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::fs::FlockOperation;
use sha2::{Digest, Sha256};

use crate::caller::Caller;
use crate::error::Error;

use super::command::{self, Ended};
use super::details::{self, Details};
use super::faults;
use super::target::Target;

/// What must hold whatever the user's configuration says. Messages are read, so they must come.
const ALWAYS: [&str; 7] = [
    "-oBatchMode=yes",
    "-oLogLevel=ERROR",
    "-oForwardAgent=no",
    "-oForwardX11=no",
    "-oPermitLocalCommand=no",
    "-oRemoteCommand=none",
    "-oRequestTTY=no",
];

/// For the shared connection: how long a machine may take to answer at all, when one that has fallen
/// silent is given up, and how long an unused connection stays.
const CONNECTION: [&str; 6] = [
    "-oConnectTimeout=30",
    "-oServerAliveInterval=10",
    "-oServerAliveCountMax=4",
    "-oClearAllForwardings=yes",
    "-oControlMaster=yes",
    "-oControlPersist=180",
];

/// For a session over it: no other way leads to the machine.
const SESSION: [&str; 3] = ["-Fnone", "-oControlMaster=no", "-oProxyCommand=false"];

/// How long logging in may take in all, on a machine that answers.
const LOGIN: Duration = Duration::from_secs(90);

/// A shared connection, which outlives podlab by a few minutes, so that the next one need not wait.
pub(super) struct Connection {
    target: Target,
    caller: Caller,
    socket: PathBuf,
    /// Whether it was there already.
    pub(super) is_old: bool,
}

impl Connection {
    /// Takes the connection that is there, or makes one.
    ///
    /// # Errors
    ///
    /// When the machine cannot be reached or logged in to.
    pub(super) fn open(target: &Target, caller: &Caller) -> Result<Connection, Error> {
        let folder = private_folder(caller)?;
        let socket = folder.join(socket_name(target, caller));
        let mut connection =
            Connection { target: target.clone(), caller: caller.clone(), socket, is_old: true };
        if !connection.is_alive() {
            // One podlab connects, those beside it wait and then use the same connection.
            let _lock = caller.with_rights(|| lock(&folder))?;
            if !connection.is_alive() {
                connection.is_old = false;
                connection.connect()?;
            }
        }
        Ok(connection)
    }

    /// Ends the connection, for everyone who uses it.
    pub(super) fn close(&self) {
        let _ = command::run(self.ssh().args(SESSION).args(["-O", "exit", "--", HOST]), LOGIN);
    }

    /// Ends the connection to a machine, if there is one.
    pub(super) fn end(target: &Target, caller: &Caller) {
        let Ok(folder) = private_folder(caller) else { return };
        let socket = folder.join(socket_name(target, caller));
        let (target, caller) = (target.clone(), caller.clone());
        let connection = Connection { target, caller, socket, is_old: true };
        if connection.is_alive() {
            connection.close();
        }
    }

    /// Starts a session: `script` is run by the user's login shell there.
    ///
    /// # Errors
    ///
    /// When the OpenSSH client cannot be started.
    pub(super) fn session(&self, script: &'static str) -> Result<Child, Error> {
        let mut ssh = self.ssh();
        ssh.args(SESSION).args(["-T", "--", HOST, script]);
        command::spawn(ssh.stdin(Stdio::piped()).stdout(Stdio::piped()))
    }

    /// Whether somebody listens on its socket.
    fn is_alive(&self) -> bool {
        self.caller.with_rights(|| UnixStream::connect(&self.socket)).is_ok()
    }

    fn connect(&self) -> Result<(), Error> {
        let details = Details::ask(&self.target, &self.caller)?;
        let mut ssh = self.ssh();
        ssh.args(CONNECTION);
        details.add_to(&mut ssh);
        // In the background as soon as it is logged in.
        ssh.args(["-f", "-N", "-T", "--", &details.host]);
        match command::run(&mut ssh, LOGIN)? {
            Ended { success: true, .. } => Ok(()),
            Ended { said, .. } => Err(faults::of_login(&said, &self.target)),
        }
    }

    fn ssh(&self) -> Command {
        let mut ssh = self.caller.command("ssh");
        ssh.args(ALWAYS).arg("-S").arg(escaped(&self.socket));
        ssh
    }
}

/// What a machine is called where the shared connection alone decides which one it is.
const HOST: &str = "podlab";

/// A socket's path may have 108 bytes with the NUL that ends it (unix(7)), and OpenSSH adds 17 while it
/// makes one.
const LONGEST: usize = 108 - 1 - 17;

/// The folder of the sockets: one that nobody else can put anything into.
fn private_folder(caller: &Caller) -> Result<PathBuf, Error> {
    let folder = match caller.runtime_folder() {
        Some(folder) if folder.as_os_str().len() + NAME < LONGEST => folder,
        _ => PathBuf::from(format!("/tmp/podlab-{}", caller.uid())),
    };
    caller.with_rights(|| make_private(&folder, caller.uid())).map(|()| folder)
}

fn make_private(folder: &Path, owner: u32) -> Result<(), Error> {
    let failed = |error| Error::file(folder, error);
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(failed(error));
        }
        _ => {}
    }
    // A link is looked at itself, not followed.
    let there = fs::symlink_metadata(folder).map_err(failed)?;
    if !there.is_dir() || there.uid() != owner {
        return Err(Error::file(folder, "not a folder of yours").hint(
            "somebody else made it: remove it, or set XDG_RUNTIME_DIR to a folder of yours",
        ));
    }
    if there.mode() & 0o077 != 0 {
        fs::set_permissions(folder, PermissionsExt::from_mode(0o700)).map_err(failed)?;
    }
    Ok(())
}

/// Bytes of a socket's name.
const NAME: usize = 16;

/// The same for the same machine, and for no other.
fn socket_name(target: &Target, caller: &Caller) -> String {
    let place = details::place(target, caller);
    let digest = Sha256::new()
        .chain_update(place.as_os_str().as_bytes())
        .chain_update([0])
        .chain_update(target.to_string())
        .finalize();
    digest[..NAME / 2].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// OpenSSH expands `%` in a socket's path (ssh_config(5), TOKENS).
fn escaped(path: &Path) -> std::ffi::OsString {
    use std::os::unix::ffi::OsStringExt;
    let bytes = path.as_os_str().as_bytes().iter();
    let doubled = bytes.flat_map(|byte| [*byte].repeat(if *byte == b'%' { 2 } else { 1 }));
    std::ffi::OsString::from_vec(doubled.collect())
}

/// A lock on a folder, until dropped.
fn lock(folder: &Path) -> Result<File, Error> {
    let lock = || -> std::io::Result<File> {
        let file = File::open(folder)?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        Ok(file)
    };
    lock().map_err(|error| Error::file(folder, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_planted_link_or_another_users_folder_is_not_used() {
        let place = tempfile::tempdir().unwrap();
        let own = rustix::process::getuid().as_raw();
        let (real, link) = (place.path().join("real"), place.path().join("link"));
        make_private(&real, own).unwrap();
        assert_eq!(real.metadata().unwrap().mode() & 0o777, 0o700);
        std::os::unix::fs::symlink(&real, &link).unwrap();
        assert!(make_private(&link, own).is_err());
        assert!(make_private(&real, own + 1).is_err());
    }

    #[test]
    fn a_folder_that_others_may_enter_is_closed() {
        let place = tempfile::tempdir().unwrap();
        let own = rustix::process::getuid().as_raw();
        fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
        make_private(place.path(), own).unwrap();
        assert_eq!(place.path().metadata().unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_sockets_path_is_no_pattern() {
        assert_eq!(escaped(Path::new("/a%h/b")), "/a%%h/b");
    }
}
