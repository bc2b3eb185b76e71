//! An SSH server of a test's own: OpenSSH's, one process for each connection, on loopback.

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::check::Podlab;
use crate::support::footprint::Mark;
use crate::support::running::until;
use crate::support::user;

/// What is done with a connection that was accepted.
type Take = dyn Fn(OwnedFd) -> Option<i32> + Send + Sync;

/// A machine to look at from outside: this one, through a server of its own.
pub(super) struct Server {
    folder: TempDir,
    port: u16,
    /// What runs in its sessions carries this.
    pub(super) mark: Mark,
    connections: Arc<Mutex<Vec<i32>>>,
}

/// The name by which `--on qemu:NAME` finds it.
const NAME: &str = "here";

/// How a server differs from the plain one.
#[derive(Default)]
pub(super) struct Manner<'m> {
    /// More lines of sshd_config(5).
    pub(super) config: &'m str,
    /// Run by a shell in a mount namespace of the server's own, in its folder, before it answers.
    pub(super) prepare: &'m str,
    /// As whom to log in; root where it is empty.
    pub(super) user: &'m str,
}

impl Server {
    /// In whose sessions the learner is this one.
    pub(super) fn of(learner: &Podlab) -> Server {
        Server::with(learner, &Manner::default())
    }

    /// The same with a difference.
    pub(super) fn with(learner: &Podlab, manner: &Manner) -> Server {
        let folder = user::folder();
        let mark = Mark::new("session");
        let mut variable = Command::new("true");
        mark.put_on(&mut variable);
        let set = variable.get_envs().next().expect("the mark");
        let mark_set = format!("{}={}", text(set.0), text(set.1.expect("a value")));
        for key in ["host", "user"] {
            generate_key(&folder.path().join(key));
        }
        // A folder that the package of the server makes when the machine starts.
        fs::create_dir_all("/run/sshd").expect("/run/sshd");
        let config = format!(
            "{more}\nHostKey {place}/host\nAuthorizedKeysFile {place}/user.pub\nStrictModes no\n\
             UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin yes\nSetEnv PODLAB_HOME={home} {mark_set}\n",
            place = folder.path().display(),
            home = learner.folder().join("state").display(),
            more = manner.config,
        );
        fs::write(folder.path().join("sshd_config"), config).expect("sshd_config");
        let (place, prepare) = (folder.path().to_owned(), manner.prepare.to_owned());
        let server = Server::listen(folder, mark, move |socket| {
            let mut sshd = sshd(&place, &prepare);
            let output = socket.try_clone().expect("a descriptor");
            sshd.stdin(socket).stdout(output);
            Some(sshd.spawn().expect("sshd").id().cast_signed())
        });
        server.write_ssh_config(manner.user);
        server
    }

    /// One that is not there any more.
    pub(super) fn down() -> Server {
        let mut server = Server::odd(|_| None);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        server.port = listener.local_addr().expect("an address").port();
        server.write_ssh_config("");
        server
    }

    /// One that accepts, and then does what `take` does. `take` says which process it started.
    pub(super) fn odd(take: impl Fn(OwnedFd) -> Option<i32> + Send + Sync + 'static) -> Server {
        let folder = user::folder();
        for key in ["host", "user"] {
            generate_key(&folder.path().join(key));
        }
        let server = Server::listen(folder, Mark::new("session"), take);
        server.write_ssh_config("");
        server
    }

    fn listen(
        folder: TempDir,
        mark: Mark,
        take: impl Fn(OwnedFd) -> Option<i32> + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let (noted, take): (_, Box<Take>) = (Arc::clone(&connections), Box::new(take));
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let started = take(socket.into());
                noted.lock().expect("connections").extend(started);
            }
        });
        Server { folder, port, mark, connections }
    }

    fn write_ssh_config(&self, user: &str) {
        let place = self.folder.path().display();
        let user = if user.is_empty() { "root" } else { user };
        let host_key = fs::read_to_string(self.folder.path().join("host.pub")).expect("a key");
        fs::write(self.known_hosts(), format!("podlab-test {host_key}")).expect("known_hosts");
        let config = format!(
            "Host {NAME}\n HostName 127.0.0.1\n Port {port}\n User {user}\n \
             IdentityFile {place}/user\n IdentitiesOnly yes\n IdentityAgent none\n \
             HostKeyAlias podlab-test\n UserKnownHostsFile {place}/known_hosts\n \
             GlobalKnownHostsFile none\n StrictHostKeyChecking yes\n",
            port = self.port,
        );
        let file = self.ssh_config();
        fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs::write(file, config).expect("ssh.config");
    }

    fn ssh_config(&self) -> PathBuf {
        self.state().join("podlab/qemu").join(NAME).join("ssh.config")
    }

    /// The file with the key that the host expects.
    pub(super) fn known_hosts(&self) -> PathBuf {
        self.folder.path().join("known_hosts")
    }

    /// The folder of the server's keys and configuration.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The port it listens on.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("xdg-state")
    }

    /// The folder for the host's shared connection.
    pub(super) fn runtime(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    /// `podlab ARGS… --on qemu:here`, by a learner on the host.
    pub(super) fn command(&self, host: &Podlab, args: &[&str]) -> Command {
        self.command_on(host, args, &format!("qemu:{NAME}"))
    }

    /// `podlab ARGS… --on TARGET`.
    pub(super) fn command_on(&self, host: &Podlab, args: &[&str], target: &str) -> Command {
        let mut command = host.command(args);
        command.args(["--on", target]);
        fs::create_dir_all(self.runtime()).expect("a folder");
        command.env("XDG_STATE_HOME", self.state()).env("XDG_RUNTIME_DIR", self.runtime());
        command
    }

    /// Runs it to its end.
    pub(super) fn run(&self, host: &Podlab, args: &[&str]) -> Output {
        self.command(host, args).stdin(Stdio::null()).output().expect("podlab")
    }

    /// A `PATH` on which `ssh` has a configuration of the test's own for this server, as a user has
    /// one in their home folder.
    pub(super) fn path_with_own_ssh(&self) -> std::ffi::OsString {
        let place = self.folder.path().join("bin");
        fs::create_dir_all(&place).expect("a folder");
        let config = place.join("config");
        let named = fs::read_to_string(self.ssh_config()).expect("ssh.config");
        fs::write(&config, named.replace("Host here", "Host 127.0.0.1")).expect("a configuration");
        let script = format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", config.display());
        let (made, ssh) = (place.join("ssh.new"), place.join("ssh"));
        fs::write(&made, script).expect("ssh");
        user::copy_program(&made, &ssh);
        let path = std::env::var_os("PATH").expect("a PATH");
        std::env::join_paths([place].into_iter().chain(std::env::split_paths(&path)))
            .expect("a PATH")
    }

    /// How many connections were made.
    pub(super) fn connections(&self) -> usize {
        self.connections.lock().expect("connections").len()
    }

    /// The agents that run now, and what they have started.
    pub(super) fn sessions(&self) -> Vec<i32> {
        self.mark.processes()
    }

    /// Waits until nothing runs in its sessions.
    pub(super) fn until_empty(&self) {
        until("end of the sessions", || self.sessions().is_empty().then_some(()));
    }

    /// Cuts every connection, as when the machine loses its power.
    pub(super) fn cut(&self) {
        for pid in self.connections.lock().expect("connections").drain(..) {
            let pid = Pid::from_raw(pid);
            for child in crate::support::running::children(pid.as_raw()) {
                let _ = kill(Pid::from_raw(child), Signal::SIGKILL);
            }
            let _ = kill(pid, Signal::SIGKILL);
            let _ = nix::sys::wait::waitpid(pid, None);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.cut();
        self.mark.end_all();
    }
}

fn text(value: &std::ffi::OsStr) -> &str {
    value.to_str().expect("UTF-8")
}

fn generate_key(path: &Path) {
    let mut keygen = Command::new("ssh-keygen");
    let status = keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path).status();
    assert!(status.expect("ssh-keygen").success());
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("chmod");
}

/// A server for one connection, which is its standard input and output.
fn sshd(folder: &Path, prepare: &str) -> Command {
    let config = folder.join("sshd_config");
    let mut command = if prepare.is_empty() {
        Command::new("/usr/sbin/sshd")
    } else {
        let mut unshare = Command::new("unshare");
        let script = format!("{{ {prepare}; }} >&2 && exec /usr/sbin/sshd \"$@\"");
        unshare.args(["--mount", "sh", "-c", &script, "sh"]).current_dir(folder);
        unshare
    };
    command.args(["-i", "-e", "-f"]).arg(config).stderr(Stdio::null());
    command
}
