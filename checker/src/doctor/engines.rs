//! Engines and tools on the PATH, and whether Docker answers.

use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use super::Finding;

/// Programs that make containers.
const ENGINES: [&str; 7] = ["docker", "podman", "containerd", "nerdctl", "runc", "crun", "bwrap"];

/// Programs that the chapters use, and the Debian package of each.
const TOOLS: [(&str, &str); 6] = [
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("lsns", "util-linux"),
    ("ps", "procps"),
    ("pstree", "psmisc"),
    ("ip", "iproute2"),
];

const DOCKER_SOCKET: &str = "/var/run/docker.sock";

pub(super) fn examine() -> Vec<Finding> {
    vec![engines(), docker(), tools()]
}

fn engines() -> Finding {
    let found: Vec<_> = ENGINES.into_iter().filter(|name| on_path(name).is_some()).collect();
    if found.is_empty() {
        return Finding::poorer(
            "engines",
            "none found on the PATH",
            "the pages that show the same in Docker can only be read",
            "sudo apt install docker.io, or podman",
        );
    }
    Finding::fine("engines", found.join(" "))
}

fn docker() -> Finding {
    match UnixStream::connect(DOCKER_SOCKET) {
        Ok(_) => Finding::fine("docker engine", format!("answers on {DOCKER_SOCKET}")),
        Err(error) => Finding::poorer(
            "docker engine",
            format!("{DOCKER_SOCKET}: {}", crate::error::lower(&error.to_string())),
            "docker commands in the book do not work for you",
            match error.kind() {
                std::io::ErrorKind::PermissionDenied => "use sudo, or join the group docker",
                _ => "start the engine: sudo systemctl start docker",
            },
        ),
    }
}

fn tools() -> Finding {
    let missing: Vec<_> = TOOLS.into_iter().filter(|(name, _)| on_path(name).is_none()).collect();
    if missing.is_empty() {
        let names: Vec<_> = TOOLS.into_iter().map(|(name, _)| name).collect();
        return Finding::fine("tools", names.join(" "));
    }
    let names: Vec<_> = missing.iter().map(|(name, _)| *name).collect();
    let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    Finding::poorer(
        "tools",
        format!("not found: {}", names.join(" ")),
        "some commands in the book do not work",
        format!("sudo apt install {}", packages.join(" ")),
    )
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}
