//! `tests/vm/vagrant-alone` with a shell in it that is told what to run, one script after the other.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::programs::checkout;
use crate::support::footprint::Mark;

/// A world that Vagrant and libvirt have to themselves, and a shell in it. It ends with this value, and
/// also when the test is killed.
pub(crate) struct World {
    shell: Child,
    scripts: Option<ChildStdin>,
    statuses: BufReader<ChildStdout>,
    folder: TempDir,
    pub(crate) mark: Mark,
}

/// What a script said in there.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit status {}\n{}\n{}", self.code, self.stdout, self.stderr)
    }
}

/// `tests/vm/vagrant-alone`
pub(crate) fn vagrant_alone() -> Command {
    Command::new(checkout().join("tests/vm/vagrant-alone"))
}

impl World {
    /// A new one, whose scripts find these variables in their environment.
    pub(crate) fn with<V: AsRef<OsStr>>(test: &str, variables: &[(&str, V)]) -> World {
        let mark = Mark::new(test);
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = vagrant_alone();
        // A line is a script's file, and the answer its exit status.
        command.args([
            "sh",
            "-c",
            r#"while read -r f; do sh "$f" >"$f.out" 2>"$f.err" </dev/null; echo $?; done"#,
        ]);
        command.env_remove("VAGRANT_CWD");
        command.envs(variables.iter().map(|(name, value)| (name, value.as_ref())));
        mark.put_on(&mut command).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut shell = command.spawn().expect("vagrant-alone starts");
        let statuses = BufReader::new(shell.stdout.take().expect("a pipe"));
        World { scripts: shell.stdin.take(), shell, statuses, folder, mark }
    }

    /// Runs a shell script to its end.
    pub(crate) fn run(&mut self, script: &str) -> Said {
        let file = self.folder.path().join("script");
        fs::write(&file, script).expect("write");
        let scripts = self.scripts.as_mut().expect("the world is there");
        writeln!(scripts, "{}", file.display()).expect("the shell reads");
        let mut status = String::new();
        self.statuses.read_line(&mut status).expect("the shell answers");
        let read = |end| fs::read_to_string(file.with_extension(end)).expect("what it said");
        let code = status.trim().parse().unwrap_or_else(|_| panic!("the world ended: {status:?}"));
        Said { code, stdout: read("out"), stderr: read("err") }
    }

    /// Runs a script that must succeed, and returns what it printed.
    #[track_caller]
    pub(crate) fn must(&mut self, script: &str) -> String {
        let said = self.run(script);
        assert_eq!(said.code, 0, "{script}: {said}");
        said.stdout
    }

    /// Sends a signal to `vagrant-alone` and waits for its end: its exit code as a shell has it.
    pub(crate) fn signal(&mut self, signal: Signal) -> i32 {
        let pid = Pid::from_raw(self.shell.id().try_into().expect("a PID"));
        kill(pid, signal).expect("it is there");
        let status = self.shell.wait().expect("wait");
        // The last of its family holds the writing end of this pipe.
        while self.statuses.read_line(&mut String::new()).is_ok_and(|read| read > 0) {}
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.scripts.take());
        let _ = self.shell.wait();
        self.mark.end_all();
    }
}
