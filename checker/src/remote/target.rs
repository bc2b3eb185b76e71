//! `--on TARGET`: which machine is meant.

use std::fmt;
use std::str::FromStr;

/// A machine other than this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `vagrant[:NAME]`; Vagrant's only or primary machine where none is named.
    Vagrant(Option<String>),
    /// `lima[:NAME]`
    Lima(Option<String>),
    /// `qemu[:NAME]`, started by `vm/qemu`.
    Qemu(Option<String>),
    /// `ssh://[USER@]HOST[:PORT]`
    Ssh(Address),
}

/// Where an SSH server listens. What is left out is up to the user's OpenSSH configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The user to log in as.
    pub user: Option<String>,
    /// A name, an alias of the user's configuration, or an address; IPv6 without brackets.
    pub host: String,
    /// The TCP port.
    pub port: Option<u16>,
}

/// The name of a machine where none is given.
pub const DEFAULT_NAME: &str = "podlab";

/// The forms that a target has, for a hint.
pub const FORMS: &str = "vagrant[:NAME], lima[:NAME], qemu[:NAME] or ssh://[USER@]HOST[:PORT]";

impl Target {
    /// What to do when the machine does not run.
    pub fn how_to_start(&self) -> String {
        let backend = match self {
            Target::Vagrant(_) => "vagrant",
            Target::Lima(_) => "lima",
            Target::Qemu(_) => "qemu",
            Target::Ssh(_) => return format!("start it, and try: ssh {self}"),
        };
        let name = self.name().map(|name| format!(" {name}")).unwrap_or_default();
        format!("start it: podlab vm up --backend {backend}{name}")
    }

    fn name(&self) -> Option<&str> {
        match self {
            Target::Vagrant(name) | Target::Lima(name) | Target::Qemu(name) => name.as_deref(),
            Target::Ssh(_) => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Vagrant(_) => f.write_str("vagrant")?,
            Target::Lima(_) => f.write_str("lima")?,
            Target::Qemu(_) => f.write_str("qemu")?,
            Target::Ssh(address) => return write!(f, "ssh://{address}"),
        }
        self.name().map_or(Ok(()), |name| write!(f, ":{name}"))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.host.contains(':') {
            true => write!(f, "[{}]", self.host)?,
            false => f.write_str(&self.host)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        if let Some(address) = text.strip_prefix("ssh://") {
            return address.strip_suffix('/').unwrap_or(address).parse().map(Target::Ssh);
        }
        let (kind, name) = match text.split_once(':') {
            Some((kind, name)) => (kind, Some(machine_name(name)?)),
            None => (text, None),
        };
        match kind {
            "vagrant" => Ok(Target::Vagrant(name)),
            "lima" => Ok(Target::Lima(name)),
            "qemu" => Ok(Target::Qemu(name)),
            _ => Err(format!("'{text}' is no machine that podlab knows how to reach")),
        }
    }
}

/// What a machine may be called: a word that is neither an option nor anything to a shell or a path.
///
/// # Errors
///
/// When it may not.
pub fn machine_name(name: &str) -> Result<String, String> {
    word(name, "machine")
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        let (user, place) = match text.rsplit_once('@') {
            Some((user, place)) => (Some(word(user, "user")?), place),
            None => (None, text),
        };
        let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (ipv6(host)?, None),
            Some((host, rest)) => (ipv6(host)?, Some(rest.strip_prefix(':').unwrap_or(rest))),
            None => match place.split_once(':') {
                Some((host, port)) => (word(host, "host")?, Some(port)),
                None => (word(place, "host")?, None),
            },
        };
        let port = port.map(|port| match port.parse() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(format!("'{port}' is no TCP port")),
        });
        Ok(Address { user, host, port: port.transpose()? })
    }
}

/// A word that is neither an option nor anything to a shell, a configuration file or a path.
fn word(text: &str, what: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if begins && text.len() <= 253 && text.chars().all(is_plain) {
        return Ok(text.to_owned());
    }
    Err(format!("'{text}' cannot be the name of a {what}"))
}

/// An IPv6 address, with a zone where it is link-local.
fn ipv6(text: &str) -> Result<String, String> {
    let (address, zone) = text.split_once('%').unwrap_or((text, "0"));
    if address.parse::<std::net::Ipv6Addr>().is_ok() && word(zone, "network interface").is_ok() {
        return Ok(text.to_owned());
    }
    Err(format!("'{text}' is no IPv6 address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_written_as_it_was_read() {
        let targets = [
            "vagrant",
            "vagrant:node-1",
            "lima",
            "lima:podlab",
            "qemu",
            "qemu:v1",
            "ssh://host",
            "ssh://me@host.example:2222",
            "ssh://root@127.0.0.1",
            "ssh://[::1]:22",
            "ssh://me@[fe80::1%eth0]",
        ];
        for text in targets {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), text);
        }
        assert_eq!("ssh://host/".parse::<Target>().unwrap().to_string(), "ssh://host");
    }

    #[test]
    fn what_could_be_an_option_a_path_or_a_shell_word_is_refused() {
        let targets = [
            "",
            "docker",
            "qemu:",
            "qemu:-oProxyCommand=x",
            "qemu:../x",
            "qemu:a b",
            "lima:a/b",
            "lima:.hidden",
            "vagrant:$(id)",
            "ssh://",
            "ssh://-oProxyCommand=x",
            "ssh://me@-h",
            "ssh://-l@host",
            "ssh://me;id@host",
            "ssh://me:password@host",
            "ssh://host:0",
            "ssh://host:65536",
            "ssh://host:22:22",
            "ssh://host:-1",
            "ssh://[::1",
            "ssh://[::1]x",
            "ssh://[::g]",
            "ssh://[fe80::1%a b]",
            "ssh://host/path",
            "ssh://h%68",
            "ssh://hôst",
            "ssh://a\nb",
        ];
        for text in targets {
            assert!(text.parse::<Target>().is_err(), "{text:?} was taken");
        }
    }
}
