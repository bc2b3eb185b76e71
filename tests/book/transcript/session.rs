//! Running a transcript's commands: one bash, in an empty folder that nobody else has.

use std::fs;
use std::io::{PipeReader, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, OnceLock};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use regex::Regex;

use super::parse::Transcript;
use crate::support::footprint::Mark;
use crate::support::need::Need;
use crate::support::user::{as_ordinary, folder};

/// How long a session may take, and one in which a machine is started, under emulation perhaps.
const DEADLINE: Duration = Duration::from_secs(60);
const DEADLINE_WITH_MACHINE: Duration = Duration::from_secs(900);

/// What the reader's home is called in the book; the test's is a temporary folder.
const HOME: &str = "/home/you";

/// What the reader's cgroup is called in the book; the test's is that of whoever runs the tests.
const CGROUP: &str = "/user.slice";

/// Names the folder with the image of the course's machine.
const IMAGE: &str = "PODLAB_VM_IMAGE";

/// Where the introduction has the reader build podlab and the labs.
const PROGRAMS: &str = "podlab/target/release";

/// Runs the commands of the transcripts of one session, and says what each command printed. Whatever
/// they leave running is ended.
pub(crate) fn run(session: &[Transcript]) -> Result<Vec<String>, String> {
    let home = folder();
    let programs = home.path().join(PROGRAMS);
    fs::create_dir_all(&programs).expect("a folder");
    if starts_machine(session) {
        checkout_with_static_podlab(&programs);
    } else {
        let text: String = session.iter().map(Transcript::text).collect();
        for program in programs_named_in(&text) {
            let name = program.file_name().expect("a program has a name");
            fs::copy(&program, programs.join(name)).expect("copy a program");
        }
    }
    let work = home.path().join("work");
    fs::create_dir(&work).expect("a folder");
    if session[0].ordinary {
        std::os::unix::fs::chown(&work, owner_of(home.path()), None).expect("chown");
    }
    let end = format!("end-of-step-{}\n", home.path().display());
    let shown = terminal(session, home.path(), &end)?;
    Ok(outputs(&shown, &end, home.path()))
}

fn starts_machine(session: &[Transcript]) -> bool {
    session[0].needs.iter().any(|need| need == Need::VmImage.name())
}

/// What podlab needs to start a machine and to send itself there: the checkout around it, and to be
/// static, as it is where an image was made.
fn checkout_with_static_podlab(programs: &Path) {
    let root = crate::sources::root();
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let podlab = root.join("target").join(target).join("release/podlab");
    fs::copy(&podlab, programs.join("podlab"))
        .unwrap_or_else(|error| panic!("{}: {error}", podlab.display()));
    let checkout = programs.ancestors().nth(2).expect("target/release is in the checkout");
    for name in ["Cargo.toml", "labs", "vm"] {
        std::os::unix::fs::symlink(root.join(name), checkout.join(name)).expect("a link");
    }
}

/// Everything that the commands print, with the line `end` after what each of them printed.
fn terminal(session: &[Transcript], home: &Path, end: &str) -> Result<String, String> {
    let mark = Mark::new("transcript");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let mut bash = bash(session, home, end);
    mark.put_on(&mut bash).stdout(writer.try_clone().expect("a descriptor")).stderr(writer);
    let mut child = bash.spawn().expect("bash");
    // The command holds the writing end, which would keep the pipe open.
    drop(bash);
    let steps = session.iter().map(|transcript| transcript.steps.len()).sum();
    let deadline = if starts_machine(session) { DEADLINE_WITH_MACHINE } else { DEADLINE };
    let shown = read_until(reader, end, steps, deadline);
    mark.end_all();
    // One that threw its environment away is still in the group.
    let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
    child.wait().expect("bash");
    shown
}

fn bash(session: &[Transcript], home: &Path, end: &str) -> Command {
    // The status of a step is that which the next one reads as $?.
    let driver = format!(
        r#"for __step; do eval "$__step"; __status=$?; printf %s '{end}'; (exit $__status); done"#
    );
    let mut bash = Command::new("bash");
    if session[0].ordinary {
        as_ordinary(&mut bash);
    }
    bash.args(["--noprofile", "--norc", "-c", &driver, "bash"])
        .args(session.iter().flat_map(|transcript| &transcript.steps).map(|step| &step.command))
        .env_clear()
        .env("PATH", path_with(&home.join(PROGRAMS)))
        .env("HOME", home)
        .env("PODLAB_HOME", home.join(".local/state/podlab"))
        .env("PODLAB_LEARNER", "you")
        .env("LC_ALL", "C")
        .env("TERM", "dumb")
        .envs(std::env::var_os(IMAGE).map(|image| (IMAGE, image)))
        .current_dir(home.join("work"))
        .stdin(Stdio::null())
        .process_group(0);
    bash
}

fn path_with(programs: &Path) -> std::ffi::OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(programs.to_owned()).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).expect("no folder on the PATH has a colon in its name")
}

fn owner_of(home: &Path) -> Option<u32> {
    std::os::unix::fs::MetadataExt::uid(&fs::metadata(home).expect("the folder")).into()
}

/// Reads until `end` has come `times` times, or nobody can write any more.
fn read_until(
    mut reader: PipeReader,
    end: &str,
    times: usize,
    deadline: Duration,
) -> Result<String, String> {
    let until = Instant::now() + deadline;
    let mut shown = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&shown);
        if text.matches(end).count() == times {
            return Ok(text.into_owned());
        }
        let left = PollTimeout::try_from(until.saturating_duration_since(Instant::now()));
        let mut ready = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, left.expect("it fits")).expect("poll") == 0 {
            return Err(format!("not done after {deadline:?}; it showed:\n{text}"));
        }
        match reader.read(&mut buffer).expect("read the pipe") {
            0 => return Err(format!("bash ended early; it showed:\n{text}")),
            n => shown.extend_from_slice(&buffer[..n]),
        }
    }
}

/// What each step printed, with the test's own folder and cgroup named as the reader's, and in the
/// words of a bash that reads a terminal.
fn outputs(shown: &str, end: &str, home: &Path) -> Vec<String> {
    let outputs = shown.split_terminator(end).map(|output| {
        let output = output.replace(&home.display().to_string(), HOME);
        let output = own_cgroups().iter().fold(output, |text, own| text.replace(own, CGROUP));
        let output = as_interactive(&output);
        if output.is_empty() || output.ends_with('\n') { output } else { output + "\n" }
    });
    outputs.collect()
}

/// The cgroups that this test is in, but for a root: the longer first, since one may begin another.
fn own_cgroups() -> Vec<String> {
    let lines = fs::read_to_string("/proc/self/cgroup").expect("/proc/self/cgroup");
    let paths = lines.lines().filter_map(|line| line.splitn(3, ':').nth(2)).map(str::to_owned);
    let mut own: Vec<_> = paths.filter(|path| path.len() > 1).collect();
    own.sort_by_key(|path| std::cmp::Reverse(path.len()));
    own
}

/// A bash that reads no terminal puts a line number before its messages, and tells of a command that
/// was killed which one it was.
fn as_interactive(output: &str) -> String {
    static NUMBERED: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"(?m)^bash: line \d+: ").expect("a pattern"));
    static KILLED: LazyLock<Regex> = LazyLock::new(|| {
        let signals = "Killed|Terminated|Aborted|Segmentation fault|Bus error";
        Regex::new(&format!(r"(?m)^bash: +\d+ ({signals}) .*$")).expect("a pattern")
    });
    KILLED.replace_all(&NUMBERED.replace_all(output, "bash: "), "$1").into_owned()
}

/// podlab and the labs, as far as `text` names them.
fn programs_named_in(text: &str) -> impl Iterator<Item = PathBuf> {
    programs()
        .iter()
        .filter(|p| p.file_name().is_some_and(|n| text.contains(&*n.to_string_lossy())))
        .cloned()
}

/// podlab, and every lab, built when it is absent or older than its source.
fn programs() -> &'static [PathBuf] {
    static PROGRAMS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let podlab = PathBuf::from(env!("CARGO_BIN_EXE_podlab"));
        let built = podlab.parent().expect("a program is in a folder");
        let labs: Vec<_> = crate::sources::labs()
            .into_iter()
            .map(|lab| (built.join(lab.file_stem().expect("a lab has a name")), lab))
            .collect();
        if labs.iter().any(|(program, source)| modified(program) < modified(source)) {
            build_labs(built);
        }
        labs.into_iter().map(|(program, _)| program).chain([podlab]).collect()
    })
}

fn modified(path: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn build_labs(built: &Path) {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", "podlab-labs", "--manifest-path"]);
    cargo.arg(crate::sources::root().join("Cargo.toml"));
    cargo.arg("--target-dir").arg(built.parent().expect("a build folder is in the target folder"));
    if built.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("cargo").success(), "the labs do not build");
}
