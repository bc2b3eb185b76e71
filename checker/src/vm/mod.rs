//! The course's virtual machine, by whichever tool runs it here: Lima, Vagrant, or plain QEMU.
//!
//! podlab starts the tools and never talks to a hypervisor itself; what each is told is one row of
//! [`BACKENDS`].

mod accel;
mod choose;
mod lima;
mod qemu;
mod step;
mod vagrant;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

pub use accel::{Accel, accel};
pub use choose::{Choice, Seen, choose, overview, with_machine};
pub use step::Step;

use crate::caller::Caller;
use crate::checkout::Checkout;
use crate::error::Error;
use crate::remote::Target;

/// A tool that runs virtual machines, and what it is told.
#[derive(Debug)]
pub struct Backend {
    /// As `--backend` takes it.
    pub name: &'static str,
    /// The program that must be on the PATH.
    pub program: &'static str,
    /// How to get it.
    pub install: &'static str,
    /// What else is missing, although the program is there.
    pub obstacle: fn(&Host) -> Option<Obstacle>,
    /// How the machine of this name is.
    pub condition: fn(&Host, &str) -> Result<Condition, Error>,
    /// What starts it.
    pub up: fn(&Host, &str) -> Result<Plan, Error>,
    /// What ends it and removes all that belongs to it.
    pub down: fn(&Host, &str) -> Result<Step, Error>,
    /// How `--on` names it.
    pub target: fn(String) -> Target,
}

/// All of them, in the order in which they are chosen: Lima knows most about the learner's machine,
/// plain QEMU least.
pub const BACKENDS: [Backend; 3] = [lima::BACKEND, vagrant::BACKEND, qemu::BACKEND];

/// Why a tool that is installed cannot be used, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// A few words.
    pub what: String,
    /// What would remove it.
    pub hint: String,
}

/// How a machine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// There is none of this name.
    None,
    /// It was started, and is off now.
    Stopped,
    /// It runs, but did not come up yet, or not as it should; in the tool's own words.
    Half(String),
    /// It runs; in the tool's own words, where it has any.
    Up(String),
}

/// How a machine is started.
#[derive(Debug)]
pub struct Plan {
    /// In this order.
    pub steps: Vec<Step>,
    /// What it will run on, where that is up to `vm/accel`.
    pub accel: Option<Accel>,
}

/// The machine that virtual machines are started on.
#[derive(Clone, Debug)]
pub struct Host {
    /// Whose virtual machines they are.
    pub caller: Caller,
    /// What holds `vm/`.
    pub checkout: Option<Checkout>,
}

impl Host {
    /// This one.
    pub fn new(caller: &Caller) -> Host {
        Host { caller: caller.clone(), checkout: Checkout::of_this_program() }
    }

    /// The folder `vm/` of the course.
    ///
    /// # Errors
    ///
    /// When podlab was not built in a checkout.
    pub fn vm(&self) -> Result<PathBuf, Error> {
        let checkout = self.checkout.as_ref().ok_or_else(|| {
            Error::new("podlab is not in a checkout of the course, which says what the machine is")
                .hint("run it from a checkout: cargo run --release -- vm up")
        })?;
        Ok(checkout.root.join("vm"))
    }

    /// The folder that `vm/image/build` fills.
    pub fn image(&self) -> Option<PathBuf> {
        let named = std::env::var_os("PODLAB_VM_IMAGE").filter(|folder| !folder.is_empty());
        named.map(PathBuf::from).or_else(|| Some(self.checkout.as_ref()?.root.join("target/vm")))
    }

    /// A command of the caller's, which ends when podlab does.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM"]);
        self.caller.become_by(&mut command);
        command.arg("--").arg(program).stdin(Stdio::null());
        command
    }

    /// What a command printed, if it succeeded.
    fn printed(&self, command: &mut Command) -> Option<String> {
        let output = command.stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Whether a program is on the PATH.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
