//! How to reach a machine: from the tool that runs it, in the form of an OpenSSH configuration.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::caller::Caller;
use crate::checkout::Checkout;
use crate::error::Error;

use super::command::{self, Ended};
use super::target::{DEFAULT_NAME, Target};

/// How long `vagrant ssh-config` may take: a Ruby program that asks its provider first.
const VAGRANT: Duration = Duration::from_secs(120);

/// What the OpenSSH client is told.
pub(super) struct Details {
    config: Config,
    /// The host, or its alias in the configuration.
    pub(super) host: String,
    user: Option<String>,
    port: Option<u16>,
}

enum Config {
    /// The user's own.
    Users,
    /// A tool's file.
    File(PathBuf),
    /// What a tool printed.
    Printed(String),
}

impl Details {
    /// Asks the tool that runs the machine.
    ///
    /// # Errors
    ///
    /// When the tool is not there, or its machine does not run.
    pub(super) fn ask(target: &Target, caller: &Caller) -> Result<Details, Error> {
        let of = |config, host| Details { config, host, user: None, port: None };
        match target {
            Target::Ssh(address) => {
                let (host, user) = (address.host.clone(), address.user.clone());
                Ok(Details { config: Config::Users, host, user, port: address.port })
            }
            Target::Lima(name) => {
                let name = name.as_deref().unwrap_or(DEFAULT_NAME);
                let file = lima_folder(caller).map(|folder| folder.join(name).join("ssh.config"));
                Ok(of(existing(file, target, caller)?, format!("lima-{name}")))
            }
            Target::Qemu(name) => {
                let name = name.as_deref().unwrap_or(DEFAULT_NAME);
                let folder = caller.state_of_user().map(|folder| folder.join("qemu").join(name));
                let file = folder.map(|folder| folder.join("ssh.config"));
                Ok(of(existing(file, target, caller)?, name.to_owned()))
            }
            Target::Vagrant(name) => {
                let printed = vagrant(target, name.as_deref(), caller)?;
                let host = first_host(&printed).ok_or_else(|| {
                    Error::new(format!("{target}: vagrant ssh-config names no host"))
                        .hint(target.how_to_start())
                })?;
                Ok(of(Config::Printed(printed), host))
            }
        }
    }

    /// Adds to `ssh` what leads to the machine, its name not included.
    pub(super) fn add_to(&self, ssh: &mut Command) {
        match &self.config {
            Config::Users => {}
            Config::File(file) => {
                ssh.arg("-F").arg(file);
            }
            Config::Printed(config) => {
                ssh.args(["-F", "none"]).args(first_block(config).flat_map(|line| ["-o", line]));
            }
        }
        if let Some(user) = &self.user {
            ssh.args(["-l", user]);
        }
        if let Some(port) = self.port {
            ssh.args(["-p", &port.to_string()]);
        }
    }
}

/// What tells this machine from others of the same name: where its tool keeps it.
pub(super) fn place(target: &Target, caller: &Caller) -> PathBuf {
    let place = match target {
        Target::Ssh(_) => None,
        Target::Lima(_) => lima_folder(caller),
        Target::Qemu(_) => caller.state_of_user(),
        Target::Vagrant(_) => vagrant_folder(),
    };
    place.unwrap_or_default()
}

fn lima_folder(caller: &Caller) -> Option<PathBuf> {
    let set = std::env::var_os("LIMA_HOME").filter(|folder| !folder.is_empty());
    set.map(PathBuf::from).or_else(|| Some(caller.home()?.join(".lima")))
}

fn existing(file: Option<PathBuf>, target: &Target, caller: &Caller) -> Result<Config, Error> {
    let file =
        file.ok_or_else(|| Error::new(format!("user {} has no home folder", caller.name)))?;
    if caller.with_rights(|| file.is_file()) {
        return Ok(Config::File(file));
    }
    Err(Error::new(format!("{target}: it is not up: no {}", file.display()))
        .hint(target.how_to_start()))
}

/// Where the Vagrantfile is: as Vagrant itself looks for it, else in the checkout.
pub fn vagrant_folder() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("VAGRANT_CWD").filter(|folder| !folder.is_empty()) {
        return Some(PathBuf::from(folder));
    }
    let here = std::env::current_dir().ok()?;
    if here.join("Vagrantfile").is_file() {
        return Some(here);
    }
    Some(Checkout::of_this_program()?.root.join("vm"))
}

fn vagrant(target: &Target, name: Option<&str>, caller: &Caller) -> Result<String, Error> {
    let mut vagrant = caller.command("vagrant");
    vagrant.arg("ssh-config").args(name);
    if let Some(folder) = vagrant_folder() {
        vagrant.env("VAGRANT_CWD", folder);
    }
    match command::run(&mut vagrant, VAGRANT)? {
        Ended { success: true, printed, .. } => Ok(printed),
        Ended { said, .. } => {
            let why = said.lines().next().unwrap_or("it failed").to_owned();
            Err(Error::new(format!("{target}: vagrant ssh-config: {why}"))
                .hint(target.how_to_start()))
        }
    }
}

/// The first alias that a configuration names.
fn first_host(config: &str) -> Option<String> {
    let host = config.lines().find_map(|line| line.trim().strip_prefix("Host "))?.trim();
    // It becomes an argument.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    (!host.starts_with('-') && host.chars().all(is_plain)).then(|| host.to_owned())
}

/// What a configuration says of its first host.
fn first_block(config: &str) -> impl Iterator<Item = &str> {
    let lines = config.lines().map(str::trim).filter(|line| !line.is_empty());
    lines
        .skip_while(|line| !line.starts_with("Host "))
        .skip(1)
        .take_while(|line| !line.starts_with("Host "))
}

#[cfg(test)]
mod tests {
    use super::{first_block, first_host};

    #[test]
    fn what_a_tool_printed_becomes_options_up_to_the_next_host() {
        let config = "Host default\n  Port 2222\n\n  IdentityFile \"/a b\"\nHost b\n  Port 3\n";
        let options: Vec<_> = first_block(config).collect();
        assert_eq!(options, ["Port 2222", "IdentityFile \"/a b\""]);
    }

    #[test]
    fn the_alias_is_the_first_host_and_never_an_option() {
        assert_eq!(first_host("Host default\n  Port 2222\nHost b\n").as_deref(), Some("default"));
        assert_eq!(first_host("\n  Host node-1\n").as_deref(), Some("node-1"));
        assert_eq!(first_host("Host -oProxyCommand=x\n"), None);
        assert_eq!(first_host("HostName x\n"), None);
    }
}
