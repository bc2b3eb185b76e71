//! Plain QEMU, by `vm/qemu`, with the image of `vm/image/build`.

use std::path::Path;
use std::process::Command;

use crate::error::Error;
use crate::remote::Target;

use super::{Backend, Condition, Host, Obstacle, Plan, Step, accel};

pub(super) const BACKEND: Backend = Backend {
    name: "qemu",
    program: "qemu-system-x86_64",
    install: "sudo apt install qemu-system-x86 qemu-utils",
    obstacle,
    condition,
    up,
    down,
    target: |name| Target::Qemu(Some(name)),
};

/// An image is made by root alone; root has it made by `podlab vm up`.
fn obstacle(host: &Host) -> Option<Obstacle> {
    let build = host.vm().ok()?.join("image/build");
    if nix::unistd::geteuid().is_root() || has_image(host) {
        return None;
    }
    Some(Obstacle {
        what: "no image yet".to_owned(),
        hint: format!("sudo {} makes one, in a few minutes", build.display()),
    })
}

fn has_image(host: &Host) -> bool {
    host.image().is_some_and(|folder| folder.join("disk.qcow2").is_file())
}

fn condition(host: &Host, name: &str) -> Result<Condition, Error> {
    let mut status = vm_qemu(host)?;
    let output = status.args(["status", name]).output();
    let output = output.map_err(|error| Error::file(Path::new("vm/qemu"), error))?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let how = printed.trim().strip_prefix(name).and_then(|rest| rest.strip_prefix(": "));
    match how {
        Some("none") => Ok(Condition::None),
        Some("stopped") => Ok(Condition::Stopped),
        Some(how) if how.starts_with("up") => Ok(Condition::Up(how.to_owned())),
        Some(how) => Ok(Condition::Half(how.to_owned())),
        None => Err(Step::error_of(&String::from_utf8_lossy(&output.stderr))),
    }
}

fn up(host: &Host, name: &str) -> Result<Plan, Error> {
    let mut steps = Vec::new();
    if !has_image(host) {
        steps.extend(make_image(host)?);
    }
    let mut up = vm_qemu(host)?;
    up.args(["up", name]);
    steps.push(Step::new("booting", up));
    Ok(Plan { steps, accel: Some(accel(host)?) })
}

/// Root installs Debian; what is in the checkout stays the caller's.
fn make_image(host: &Host) -> Result<[Step; 2], Error> {
    let vm = host.vm()?;
    let checkout = host.checkout.as_ref().expect("vm/ is in it");
    let target = "x86_64-unknown-linux-gnu";
    let mut cargo = host.command("cargo");
    cargo.current_dir(&checkout.root).args(["build", "--release", "--locked", "--target", target]);
    cargo.args([
        "--config",
        &format!(r#"target.{target}.rustflags=["-C","target-feature=+crt-static"]"#),
    ]);
    cargo.arg("--target-dir").arg(&checkout.target);
    let mut build = Command::new("setpriv");
    build.args(["--pdeathsig", "TERM", "--"]).arg(vm.join("image/build"));
    build.arg("--binaries").arg(checkout.target.join(target).join("release")).args(host.image());
    Ok([Step::new("compiling for", cargo), Step::new("building the image of", build)])
}

fn down(host: &Host, name: &str) -> Result<Step, Error> {
    let mut down = vm_qemu(host)?;
    down.args(["down", name]);
    Ok(Step::new("ending", down))
}

fn vm_qemu(host: &Host) -> Result<Command, Error> {
    Ok(host.command(host.vm()?.join("qemu")))
}
