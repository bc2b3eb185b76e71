//! The command line: what is asked for, and who does it.

mod author;
mod check;
mod course;
mod generate;
mod lab;
mod learner;
mod lookup;
mod vm;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use crate::caller::Caller;
use crate::error::Error;
use crate::judge::Outcome;
use crate::machine::Machine;
use crate::progress::Home;
use crate::remote::{self, Target};
use crate::report::style::{Color, Style};
use crate::session::Session;
use crate::{doctor, probe, room};

/// Reads the kernel and says what of an exercise holds, what does not, and why.
#[derive(Parser)]
#[command(name = "podlab", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What every command takes.
#[derive(clap::Args)]
struct Common {
    /// When to use colour
    #[arg(long, global = true, value_enum, default_value_t)]
    color: Color,
    /// Whose parameters an exercise has
    #[arg(long, global = true, env = "PODLAB_LEARNER", value_name = "NAME")]
    learner: Option<String>,
    /// What an instructor chose to draw the parameters from
    #[arg(long, global = true, env = "PODLAB_SEED", value_name = "SEED", default_value = "podlab")]
    seed: String,
}

/// Which machine is looked at.
#[derive(clap::Args)]
struct On {
    /// Look at another machine: vagrant[:NAME], lima[:NAME], qemu[:NAME], ssh://[USER@]HOST[:PORT]
    #[arg(long, value_name = "TARGET", value_parser = lookup::TARGET)]
    on: Option<Target>,
}

#[derive(Subcommand)]
enum Command {
    /// The course: chapters, labs, exercises, and what is done
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a lab
    // --help after its name is the lab's own.
    #[command(disable_help_flag = true)]
    Run {
        /// Its name
        #[arg(value_parser = lookup::LAB)]
        lab: String,
        /// What it is given, such as --help, or -- and a command
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// The task of an exercise, with your parameters
    Show {
        /// The exercise; the next unfinished one if none is named
        #[arg(value_parser = lookup::EXERCISE)]
        exercise: Option<String>,
    },
    /// Prepare what an exercise needs, and note how things are before you begin
    Start {
        /// The exercise; the next unfinished one if none is named
        #[arg(value_parser = lookup::EXERCISE)]
        exercise: Option<String>,
    },
    /// One more hint each time; after a failed check, the one for your mistake
    Hint {
        /// The exercise; the next unfinished one if none is named
        #[arg(value_parser = lookup::EXERCISE)]
        exercise: Option<String>,
    },
    /// Judge now
    Check(check::CheckArgs),
    /// Judge whenever the kernel changes, live in the terminal
    Watch {
        /// The exercise; the next unfinished one if none is named
        #[arg(value_parser = lookup::EXERCISE)]
        exercise: Option<String>,
        /// Judge this process
        #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
        pid: Option<i32>,
        #[command(flatten)]
        on: On,
    },
    /// Judge again from recorded evidence
    Judge {
        /// What podlab check --evidence wrote; - for standard input
        file: PathBuf,
        /// How to write the result
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Remove what an exercise left behind, and only that
    Reset {
        /// The exercise; all of them if none is named
        #[arg(value_parser = lookup::EXERCISE)]
        exercise: Option<String>,
    },
    /// What this machine can and cannot do, and what to do about it
    Doctor {
        #[command(flatten)]
        on: On,
    },
    /// The book, built in and served on loopback
    Book {
        /// Port to serve on
        #[arg(long, value_name = "PORT")]
        port: Option<u16>,
        /// Write the pages to this folder instead of serving them
        #[arg(long, value_name = "FOLDER", conflicts_with = "port")]
        build: Option<PathBuf>,
    },
    /// Two minutes, hands off: a lab, then an exercise done wrong and done right
    Tour,
    /// A virtual machine for the course: the same Linux on any laptop
    #[command(subcommand)]
    Vm(vm::Vm),
    /// For those who write the course
    #[command(subcommand)]
    Author(Author),
    /// Completions for a shell, on standard output
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// The manual page, on standard output
    Man,
}

impl Command {
    /// The machine that is named.
    fn on(&self) -> Option<&Target> {
        match self {
            Command::Check(check::CheckArgs { on, .. })
            | Command::Watch { on, .. }
            | Command::Doctor { on } => on.on.as_ref(),
            _ => None,
        }
    }
}

/// For those who write the course.
#[derive(Subcommand)]
enum Author {
    /// The course's own lint
    Check,
}

/// How to write a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// podlab/report/v1
    Json,
    /// Test Anything Protocol 14
    Tap,
}

/// What a command did, and so the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    /// Everything asked for holds: 0.
    Holds,
    /// Something fails: 1.
    Fails,
    /// It could not be judged: 2.
    CannotTell,
}

impl From<Outcome> for Done {
    fn from(outcome: Outcome) -> Done {
        match outcome {
            Outcome::Holds => Done::Holds,
            Outcome::Fails => Done::Fails,
            Outcome::CannotTell => Done::CannotTell,
        }
    }
}

/// Exit status of an error, and of bad usage.
const COULD_NOT: u8 = 2;

/// Reads the command line, does what it says, and tells how it went.
pub fn main() -> ExitCode {
    // These are podlab calling itself.
    let first = std::env::args_os().nth(1);
    if first.as_deref() == Some(probe::ARGUMENT.as_ref()) {
        return if probe::child().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    if first.as_deref() == Some(room::ARGUMENT.as_ref()) {
        return room::keeper();
    }
    if first.as_deref() == Some(remote::ARGUMENT.as_ref()) {
        return remote::agent();
    }
    if first.as_deref() == Some(doctor::ARGUMENT.as_ref()) {
        return finish(generate::findings());
    }
    match Cli::try_parse() {
        Ok(cli) => finish(run(cli)),
        Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(COULD_NOT)
        }
        Err(error) if error.use_stderr() => finish(Err(usage(&error))),
        Err(help) => {
            let _ = help.print();
            ExitCode::SUCCESS
        }
    }
}

fn finish(result: Result<Done, Error>) -> ExitCode {
    match result {
        Ok(Done::Holds) => ExitCode::SUCCESS,
        Ok(Done::Fails) => ExitCode::from(1),
        Ok(Done::CannotTell) => ExitCode::from(COULD_NOT),
        Err(error) => {
            eprintln!("podlab: {error}");
            ExitCode::from(COULD_NOT)
        }
    }
}

/// clap's message as this program's one line and one hint.
fn usage(error: &clap::Error) -> Error {
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default().trim_start_matches("error: ");
    // A list of what is missing stands on lines of its own.
    let listed: Vec<&str> = lines.by_ref().take_while(|line| line.starts_with('<')).collect();
    let after = |head| text.lines().find_map(move |line| line.trim().strip_prefix(head));
    let allowed = after("[possible values: ").map(|values| values.trim_end_matches(']'));
    let allowed = allowed.map(|values| format!("it can be {values}"));
    let tip = after("tip: ").map(str::to_owned).or(allowed);
    Error::new([first].into_iter().chain(listed).collect::<Vec<_>>().join(" "))
        .hint(tip.unwrap_or_else(|| "podlab --help shows all commands".to_owned()))
}

fn run(cli: Cli) -> Result<Done, Error> {
    let style = Style::new(cli.common.color);
    let caller = Caller::new();
    let machine = Machine::on(cli.command.as_ref().and_then(Command::on), &caller)?;
    let learner = learner::name(&cli.common, &machine, &caller);
    let session = Session { learner, home: Home::of(&caller)?, machine };
    match cli.command {
        None => learner::next_or_list(&session, style),
        Some(Command::List { json }) => learner::list(&session, json, style),
        Some(Command::Run { lab, .. }) => lab::run(&lab, &lab::arguments(&lab), &caller),
        Some(Command::Show { exercise }) => learner::show(&session, exercise.as_deref()),
        Some(Command::Start { exercise }) => learner::start(&session, exercise.as_deref()),
        Some(Command::Hint { exercise }) => learner::hint(&session, exercise.as_deref()),
        Some(Command::Check(args)) => check::check(&session, &args, style),
        Some(Command::Watch { exercise, pid, .. }) => {
            learner::watch(&session, exercise.as_deref(), pid, style)
        }
        Some(Command::Judge { file, format }) => check::judge_file(&file, &caller, format, style),
        Some(Command::Reset { exercise }) => learner::reset(&session, exercise.as_deref()),
        Some(Command::Doctor { .. }) => generate::doctor(&session, style),
        Some(Command::Book { port, build }) => generate::book(port, build.as_deref(), &caller),
        Some(Command::Tour) => generate::tour(&session.learner, &caller, style),
        Some(Command::Vm(command)) => vm::run(&command, &cli.common, &caller),
        Some(Command::Author(Author::Check)) => author::check(),
        Some(Command::Completions { shell }) => generate::completions(shell, Cli::command()),
        Some(Command::Man) => generate::man(Cli::command()),
    }
}

/// Writes to standard output. A reader that has gone, such as `head`, is no error.
fn print(text: &str) -> Result<(), Error> {
    use std::io::{ErrorKind, Write};
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Error::new(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}
