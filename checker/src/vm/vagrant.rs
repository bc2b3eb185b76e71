//! Vagrant, with libvirt or VirtualBox, by `vm/Vagrantfile`.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use crate::error::Error;
use crate::remote::{self, Target};

use super::{Backend, Condition, Host, Obstacle, Plan, Step, accel, is_installed};

pub(super) const BACKEND: Backend = Backend {
    name: "vagrant",
    program: "vagrant",
    install: "Vagrant 2.3.4 or later with libvirt or VirtualBox: sudo apt install vagrant-libvirt libvirt-daemon-system",
    obstacle,
    condition,
    up,
    down,
    target: |name| Target::Vagrant(Some(name)),
};

fn obstacle(host: &Host) -> Option<Obstacle> {
    match provider(host).as_deref() {
        None => Some(Obstacle {
            what: "it has neither vagrant-libvirt nor VirtualBox".to_owned(),
            hint: "sudo apt install vagrant-libvirt libvirt-daemon-system".to_owned(),
        }),
        Some("libvirt") if !LIBVIRT.iter().any(|socket| Path::new(socket).exists()) => {
            Some(Obstacle {
                what: "libvirt does not run".to_owned(),
                hint: "sudo systemctl start libvirtd".to_owned(),
            })
        }
        Some(_) => None,
    }
}

/// Where libvirt listens, by the one daemon or by QEMU's own.
const LIBVIRT: [&str; 2] = ["/run/libvirt/libvirt-sock", "/run/libvirt/virtqemud-sock"];

/// What Vagrant is to run the machine with.
fn provider(host: &Host) -> Option<String> {
    if let Ok(chosen) = std::env::var("VAGRANT_DEFAULT_PROVIDER") {
        return Some(chosen);
    }
    let plugins = host.printed(host.command("vagrant").args(["plugin", "list"]));
    if plugins.is_some_and(|list| list.contains("vagrant-libvirt")) {
        return Some("libvirt".to_owned());
    }
    is_installed("VBoxManage").then(|| "virtualbox".to_owned())
}

fn condition(host: &Host, name: &str) -> Result<Condition, Error> {
    // Vagrant takes seconds to say so.
    let folder = remote::vagrant_folder().unwrap_or_default();
    let known = folder.join(".vagrant/machines").join(name);
    if std::env::var_os("VAGRANT_DOTFILE_PATH").is_none() && !known.is_dir() {
        return Ok(Condition::None);
    }
    let printed = host.printed(vagrant(host).args(["status", "--machine-readable", name]));
    Ok(match printed.as_deref().and_then(|status| state(status, name)) {
        None | Some("not_created") => Condition::None,
        Some("running") => Condition::Up(String::new()),
        Some("poweroff" | "shutoff" | "aborted" | "saved") => Condition::Stopped,
        Some(other) => Condition::Half(other.replace('_', " ")),
    })
}

/// `TIME,NAME,state,STATE`
fn state<'s>(status: &'s str, name: &str) -> Option<&'s str> {
    status.lines().find_map(|line| {
        let mut fields = line.split(',').skip(1);
        (fields.next() == Some(name) && fields.next() == Some("state")).then(|| fields.next())?
    })
}

fn up(host: &Host, name: &str) -> Result<Plan, Error> {
    let provider = provider(host).unwrap_or_default();
    let mut up = vagrant(host);
    up.args(["up", "--no-color", "--provider", &provider, name]);
    if std::env::var_os("PODLAB_BOOK_PORT").is_none() {
        up.env("PODLAB_BOOK_PORT", book_port().to_string());
    }
    if provider != "libvirt" {
        return Ok(Plan { steps: vec![Step::new("starting", up)], accel: None });
    }
    let accel = accel(host)?;
    up.env("PODLAB_ACCEL", accel.name());
    // What is here need not be downloaded.
    let ours = host.image().map(|folder| folder.join("podlab.box")).filter(|file| file.is_file());
    if let (Some(ours), None) = (ours, std::env::var_os("PODLAB_BOX")) {
        up.env("PODLAB_BOX", ours);
    }
    Ok(Plan { steps: vec![Step::new("starting", up)], accel: Some(accel) })
}

/// 8000 where nobody has it, else a port that is free now.
fn book_port() -> u16 {
    let free = |port| TcpListener::bind(("127.0.0.1", port)).and_then(|it| it.local_addr());
    free(8000).or_else(|_| free(0)).map_or(8000, |address| address.port())
}

fn down(host: &Host, name: &str) -> Result<Step, Error> {
    let mut destroy = vagrant(host);
    destroy.args(["destroy", "--no-color", "--force", name]);
    Ok(Step::new("destroying", destroy))
}

fn vagrant(host: &Host) -> Command {
    let mut vagrant = host.command("vagrant");
    if let Some(folder) = remote::vagrant_folder() {
        vagrant.env("VAGRANT_CWD", folder);
    }
    vagrant
}

#[cfg(test)]
mod tests {
    use super::state;

    #[test]
    fn the_state_is_that_of_the_machine_of_this_name() {
        let status = "17,podlab,provider-name,libvirt\n17,other,state,shutoff\n17,podlab,state,running\n17,,ui,info,x\n";
        assert_eq!(state(status, "podlab"), Some("running"));
        assert_eq!(state(status, "other"), Some("shutoff"));
        assert_eq!(state(status, "none"), None);
    }
}
