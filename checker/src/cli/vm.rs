//! `podlab vm`: the course's virtual machine, started and ended with what is installed.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::time::Instant;

use crate::caller::Caller;
use crate::error::Error;
use crate::remote;
use crate::vm::{self, BACKENDS, Backend, Condition, Host};

use super::{Common, Done, print};

#[derive(clap::Subcommand)]
pub(super) enum Vm {
    /// Start it, and wait until it is up
    Up(Which),
    /// A shell in it, or a command after --
    Ssh {
        #[command(flatten)]
        which: Which,
        /// What to run there, in place of a shell; as ssh takes it
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    /// How it is, by each tool that could run it
    Status(Which),
    /// End it, and remove all that belongs to it
    Down(Which),
}

/// Which machine.
#[derive(clap::Args)]
pub(super) struct Which {
    /// Its name
    #[arg(default_value = remote::DEFAULT_NAME, value_parser = remote::machine_name)]
    name: String,
    /// What runs it; what is installed, if not said
    #[arg(long, value_name = "TOOL", value_parser = tools())]
    backend: Option<String>,
}

impl Which {
    fn backend(&self) -> Option<&str> {
        self.backend.as_deref()
    }

    /// ` NAME` where it has to be said.
    fn argument(&self, before: &str) -> String {
        if self.name == remote::DEFAULT_NAME {
            String::new()
        } else {
            format!("{before}{}", self.name)
        }
    }
}

fn tools() -> clap::builder::PossibleValuesParser {
    BACKENDS.iter().map(|backend| backend.name).collect::<Vec<_>>().into()
}

pub(super) fn run(vm: &Vm, common: &Common, caller: &Caller) -> Result<Done, Error> {
    let host = Host::new(caller);
    match vm {
        Vm::Up(which) => up(&host, which),
        Vm::Ssh { which, command } => ssh(&host, which, command, common),
        Vm::Status(which) => status(&host, which),
        Vm::Down(which) => down(&host, which),
    }
}

fn up(host: &Host, which: &Which) -> Result<Done, Error> {
    let vm::Choice { backend, why, condition } = vm::choose(host, which.backend(), &which.name)?;
    if let Condition::Up(_) = condition {
        eprintln!("{} is up already, by {}", which.name, backend.name);
        return next(backend, which);
    }
    eprintln!("{}: {why}", backend.name);
    let plan = (backend.up)(host, &which.name)?;
    if let Some(accel) = plan.accel.filter(|accel| accel.is_emulated) {
        eprintln!("{}", accel.why);
    }
    let began = Instant::now();
    for step in plan.steps {
        step.run(&which.name, began)?;
    }
    eprintln!("{} is up, after {} s", which.name, began.elapsed().as_secs());
    next(backend, which)
}

/// What to type now.
fn next(backend: &Backend, which: &Which) -> Result<Done, Error> {
    let (tool, name, target) = (backend.name, which.argument(" "), which.argument(":"));
    eprintln!("next: podlab vm ssh{name}; from out here, podlab check --on {tool}{target}");
    Ok(Done::Holds)
}

fn ssh(host: &Host, which: &Which, command: &[OsString], common: &Common) -> Result<Done, Error> {
    let found = vm::with_machine(host, which.backend(), &which.name)?;
    let start = format!("podlab vm up --backend {}{}", found.backend.name, which.argument(" "));
    match found.condition {
        Condition::Up(_) => {}
        Condition::Half(how) => {
            let error = Error::new(format!("the machine {} is not up: {how}", which.name));
            return Err(error.hint("wait for podlab vm up to return, or end it: podlab vm down"));
        }
        Condition::None | Condition::Stopped => {
            return Err(Error::new(format!("the machine {} is off", which.name)).hint(start));
        }
    }
    let target = (found.backend.target)(which.name.clone());
    let mut ssh = remote::login(&target, &host.caller)?;
    ssh.env("PODLAB_SEED", &common.seed);
    ssh.envs(common.learner.as_ref().map(|learner| ("PODLAB_LEARNER", learner)));
    // From here on it is ssh, its signals and its exit status included.
    let error = ssh.args(command).exec();
    Err(Error::new(format!("ssh: {error}")).hint("sudo apt install openssh-client"))
}

fn status(host: &Host, which: &Which) -> Result<Done, Error> {
    let mut done = Done::Fails;
    let mut text = String::new();
    for (backend, how) in vm::overview(host, which.backend(), &which.name)? {
        let how = match how {
            Some(Condition::Up(words)) => {
                done = Done::Holds;
                if words.is_empty() { "up".to_owned() } else { words }
            }
            Some(Condition::Half(words)) => words,
            Some(Condition::Stopped) => "off".to_owned(),
            Some(Condition::None) => "there is none".to_owned(),
            None => format!("no {} on the PATH", backend.program),
        };
        text += &format!("{:<8} {}  {how}\n", backend.name, which.name);
    }
    print(&text)?;
    Ok(done)
}

fn down(host: &Host, which: &Which) -> Result<Done, Error> {
    let found = vm::with_machine(host, which.backend(), &which.name)?;
    let backend = found.backend;
    remote::hang_up(&(backend.target)(which.name.clone()), &host.caller);
    (backend.down)(host, &which.name)?.run(&which.name, Instant::now())?;
    eprintln!("{} is gone, and all that {} had of it", which.name, backend.name);
    Ok(Done::Holds)
}
