//! Who called: under sudo(8) the user behind it, to whom progress belongs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use nix::unistd::{Gid, Uid};

/// The user on whose behalf podlab works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    uid: Uid,
    gid: Gid,
    /// Login name, or the number where there is none.
    pub name: String,
    home: Option<PathBuf>,
    through_sudo: bool,
}

/// The user and group that own nothing.
const NOBODY: u32 = 65_534;

impl Caller {
    /// From our own credentials; when we are root, from `SUDO_UID` and `SUDO_GID`.
    pub fn new() -> Caller {
        let own = nix::unistd::geteuid();
        let number = |name| std::env::var(name).ok().and_then(|id| id.parse().ok());
        let uid = number("SUDO_UID").filter(|_| own.is_root()).map_or(own, Uid::from_raw);
        let through_sudo = uid != own;
        let user = Entry::of(uid);
        // A user whom the local files do not know must not be left with root's group.
        let unknown = || match through_sudo {
            true => Gid::from_raw(number("SUDO_GID").unwrap_or(NOBODY)),
            false => nix::unistd::getegid(),
        };
        Caller {
            uid,
            gid: user.as_ref().map_or_else(unknown, |user| user.gid),
            name: user.as_ref().map_or_else(|| uid.to_string(), |user| user.name.clone()),
            home: user.map(|user| user.dir),
            through_sudo,
        }
    }

    /// Where this user's state lies: `PODLAB_HOME`, or [`Caller::state_of_user`].
    pub fn state_folder(&self) -> Option<PathBuf> {
        if let Some(home) = std::env::var_os("PODLAB_HOME").filter(|home| !home.is_empty()) {
            return std::path::absolute(home).ok();
        }
        self.state_of_user()
    }

    /// `podlab` in the XDG state folder, which is `.local/state` in the home folder unless
    /// `XDG_STATE_HOME` says otherwise.
    pub fn state_of_user(&self) -> Option<PathBuf> {
        let xdg = self.variable("XDG_STATE_HOME");
        Some(xdg.or_else(|| Some(self.home()?.join(".local/state")))?.join("podlab"))
    }

    /// The home folder.
    pub fn home(&self) -> Option<PathBuf> {
        self.variable("HOME").or_else(|| self.home.clone())
    }

    /// `podlab` in the folder for what lasts as long as the user is logged in (`XDG_RUNTIME_DIR`,
    /// pam_systemd(8)), where there is one.
    pub fn runtime_folder(&self) -> Option<PathBuf> {
        let usual = PathBuf::from(format!("/run/user/{}", self.uid));
        let folder = self.variable("XDG_RUNTIME_DIR").unwrap_or(usual);
        let is_own = |status: fs::Metadata| status.is_dir() && status.uid() == self.uid.as_raw();
        fs::metadata(&folder).is_ok_and(is_own).then(|| folder.join("podlab"))
    }

    /// The number of the user.
    pub fn uid(&self) -> u32 {
        self.uid.as_raw()
    }

    /// An absolute path in the environment; under sudo that may still be root's.
    fn variable(&self, name: &str) -> Option<PathBuf> {
        let value = std::env::var_os(name).filter(|_| !self.through_sudo).map(PathBuf::from);
        value.filter(|path| path.is_absolute())
    }

    /// Does `work` with this user's rights to files: under sudo, a link that they planted leads us
    /// nowhere they could not go themselves. Only this thread is affected (setfsuid(2)).
    pub fn with_rights<T>(&self, work: impl FnOnce() -> T) -> T {
        let _rights = self.through_sudo.then(|| Rights::take(self.uid, self.gid));
        work()
    }

    /// A command that runs without privileges: as this user, and where that is root, as nobody.
    pub fn ordinary_command(&self, program: &str) -> Command {
        let mut command = self.command(program);
        if self.uid.is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// Whether root works for another user.
    pub fn is_through_sudo(&self) -> bool {
        self.through_sudo
    }

    /// Has `setpriv` (setpriv(1)) run a command as this user, with all groups that they are in: those
    /// that allow them `/dev/kvm`, libvirt or Docker, which [`Caller::command`] leaves away.
    pub fn become_by(&self, setpriv: &mut Command) {
        if !self.through_sudo {
            return;
        }
        setpriv.arg("--init-groups").arg(format!("--reuid={}", self.uid));
        setpriv.arg(format!("--regid={}", self.gid));
        setpriv.env("USER", &self.name).env("LOGNAME", &self.name);
        setpriv.envs(self.home.as_ref().map(|home| ("HOME", home))).env_remove("XDG_STATE_HOME");
    }

    /// A command that runs as this user.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        if self.through_sudo {
            let (uid, gid, groups) = (self.uid, self.gid, self.groups());
            let become_them = move || {
                nix::unistd::setgroups(&groups)?;
                nix::unistd::setgid(gid)?;
                nix::unistd::setuid(uid)?;
                Ok(())
            };
            // SAFETY: these are system calls that touch no memory but the list, which was made before.
            unsafe { command.pre_exec(become_them) };
            command.envs(self.home.as_ref().map(|home| ("HOME", home)));
        }
        command
    }

    /// All groups that the user is in, such as Docker's.
    fn groups(&self) -> Vec<Gid> {
        let answer = Command::new("getent").args(["initgroups", &self.name]).output();
        let answer = answer.map(|answer| answer.stdout).unwrap_or_default();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let others = answer.split_whitespace().skip(1).filter_map(|gid| gid.parse().ok());
        [self.gid].into_iter().chain(others.map(Gid::from_raw)).collect()
    }
}

/// What is known of a user (passwd(5)).
struct Entry {
    name: String,
    gid: Gid,
    dir: PathBuf,
}

impl Entry {
    /// From the local file, else from wherever getent(1) looks. A static program cannot look there
    /// itself: that needs the libraries of the machine's own C library.
    fn of(uid: Uid) -> Option<Entry> {
        let local = fs::read_to_string("/etc/passwd").unwrap_or_default();
        Entry::find(&local, uid).or_else(|| {
            let answer = Command::new("getent").args(["passwd", &uid.to_string()]).output().ok()?;
            Entry::find(&String::from_utf8_lossy(&answer.stdout), uid)
        })
    }

    fn find(passwd: &str, uid: Uid) -> Option<Entry> {
        passwd.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, number, gid, _, dir, ..] = fields[..] else { return None };
            let is_theirs = number.parse() == Ok(uid.as_raw());
            let gid = Gid::from_raw(gid.parse().ok()?);
            is_theirs.then(|| Entry { name: name.to_owned(), gid, dir: PathBuf::from(dir) })
        })
    }
}

impl Default for Caller {
    fn default() -> Self {
        Caller::new()
    }
}

/// A user's rights to files, for this thread, until dropped.
struct Rights {
    uid: Uid,
    gid: Gid,
    groups: Vec<libc::gid_t>,
}

impl Rights {
    fn take(uid: Uid, gid: Gid) -> Rights {
        let groups = nix::unistd::getgroups().unwrap_or_default();
        let groups = groups.into_iter().map(Gid::as_raw).collect();
        set_thread_groups(&[]);
        let gid = nix::unistd::setfsgid(gid);
        let uid = nix::unistd::setfsuid(uid);
        Rights { uid, gid, groups }
    }
}

impl Drop for Rights {
    fn drop(&mut self) {
        nix::unistd::setfsuid(self.uid);
        nix::unistd::setfsgid(self.gid);
        set_thread_groups(&self.groups);
    }
}

/// The system call itself: the C library's setgroups(3) changes every thread.
fn set_thread_groups(groups: &[libc::gid_t]) {
    // SAFETY: the pointer and the length are those of a slice that outlives the call.
    unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
}
