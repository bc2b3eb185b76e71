//! Lima, by `vm/lima.yaml`.

use std::path::PathBuf;

use crate::error::Error;
use crate::remote::Target;

use super::{Backend, Condition, Host, Obstacle, Plan, Step, accel};

pub(super) const BACKEND: Backend = Backend {
    name: "lima",
    program: "limactl",
    install: "Lima 2: https://lima-vm.io/docs/installation",
    obstacle,
    condition,
    up,
    down,
    target: |name| Target::Lima(Some(name)),
};

/// Lima takes KVM wherever `/dev/kvm` is; this is how it is told otherwise.
const EMULATED: &str =
    "qemu-system-x86_64 -machine q35,vmport=off -accel tcg,thread=multi,tb-size=512 -cpu max";

fn obstacle(host: &Host) -> Option<Obstacle> {
    let is_root = host.caller.uid() == 0;
    is_root.then(|| Obstacle {
        what: "it refuses to run as root".to_owned(),
        hint: "run podlab vm as an ordinary user".to_owned(),
    })
}

fn condition(host: &Host, name: &str) -> Result<Condition, Error> {
    let mut list = host.command("limactl");
    let printed = host.printed(list.args(["list", "--format", "{{.Status}}", name]));
    // It fails where there is none of this name.
    Ok(match printed.as_deref().map(str::trim) {
        None | Some("") => Condition::None,
        Some("Stopped") => Condition::Stopped,
        Some("Running") => Condition::Up(String::new()),
        Some(other) => Condition::Half(other.to_lowercase()),
    })
}

fn up(host: &Host, name: &str) -> Result<Plan, Error> {
    let mut start = host.command("limactl");
    start.args(["start", "--tty=false", "--timeout=40m"]);
    if condition(host, name)? == Condition::None {
        let (file, expression) = template(host)?;
        start.args(["--name", name, "--set", &expression]).arg(file);
    } else {
        start.arg(name);
    }
    let accel = accel(host)?;
    if accel.is_emulated && std::env::var_os("QEMU_SYSTEM_X86_64").is_none() {
        start.env("QEMU_SYSTEM_X86_64", EMULATED);
    }
    Ok(Plan { steps: vec![Step::new("starting", start)], accel: Some(accel) })
}

/// What the machine is, and an expression of yq's that says where its parts are: with the image that is
/// here nothing is downloaded.
fn template(host: &Host) -> Result<(PathBuf, String), Error> {
    let vm = host.vm()?;
    let image = host.image().map(|folder| folder.join("disk.qcow2")).filter(|file| file.is_file());
    let (file, field, value) = match image {
        Some(disk) => ("lima-image.yaml", ".images[0].location", disk),
        None => ("lima.yaml", ".param.checkout", vm.join("..")),
    };
    let value = value.canonicalize().unwrap_or(value);
    // A string of JSON is one of yq's, too.
    let value = serde_json::Value::from(value.to_string_lossy());
    Ok((vm.join(file), format!("{field} = {value}")))
}

fn down(host: &Host, name: &str) -> Result<Step, Error> {
    let mut delete = host.command("limactl");
    delete.args(["delete", "--force", name]);
    Ok(Step::new("deleting", delete))
}
