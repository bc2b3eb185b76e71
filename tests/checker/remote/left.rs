//! What stays behind: in the machine the program in /run, on the host OpenSSH's shared connection.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use nix::sys::signal::{Signal, kill};

use super::SSHD;
use super::faults::{Checking, deaf};
use super::server::Server;
use crate::check::Podlab;
use crate::needs;

/// The names in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect()
}

#[test]
fn after_a_check_the_program_stays_there_and_the_shared_connection_here() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let (server, host) = (Server::of(&learner), learner.elsewhere());
    assert_eq!(server.run(&host, &["check", "two-lives"]).status.code(), Some(1));
    server.until_empty();
    let sent: Vec<String> =
        names(Path::new("/run")).into_iter().filter(|name| name.starts_with("podlab-")).collect();
    assert!(!sent.is_empty());
    for name in sent {
        let folder = Path::new("/run").join(name);
        assert_eq!(fs::metadata(&folder).expect("a folder").permissions().mode() & 0o777, 0o700);
    }
    let private = server.runtime().join("podlab");
    assert_eq!(fs::metadata(&private).expect("a folder").permissions().mode() & 0o777, 0o700);
    let [socket] = &names(&private)[..] else { panic!("{:?}", names(&private)) };
    let socket = fs::metadata(private.join(socket)).expect("a socket");
    assert!(socket.file_type().is_socket());
}

#[test]
fn nothing_stays_in_the_machine_when_podlab_is_killed_on_the_host() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let (server, host) = (Server::of(&learner), learner.elsewhere());
    let _deaf = deaf(&learner);
    let checking = Checking::begin(&server, &host);
    kill(checking.pid(), Signal::SIGKILL).expect("kill");
    assert_eq!(checking.end().status.signal(), Some(9));
    server.until_empty();
}

#[test]
fn nothing_stays_in_the_machine_after_control_c() {
    needs!(SSHD[0], SSHD[1]);
    let learner = Podlab::new();
    let (server, host) = (Server::of(&learner), learner.elsewhere());
    let _deaf = deaf(&learner);
    let checking = Checking::begin(&server, &host);
    kill(checking.pid(), Signal::SIGINT).expect("kill");
    assert_eq!(checking.end().status.signal(), Some(2));
    server.until_empty();
}
