//! Running the command podlab, and reading what it says.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};

use podlab::facts::Learner;
use podlab::judge::{CheckOutcome, CheckResult, Judgement};
use podlab::params::Params;
use podlab::report::Report;
use tempfile::TempDir;

use crate::outside::{Answer, Outside, Request, Said};
use crate::support::need::Need;
use crate::support::user;

/// A learner with a name and a state folder that no other test has, and the user who calls.
pub struct Podlab {
    home: TempDir,
    program: PathBuf,
    is_ordinary: bool,
    /// Who judges instead.
    outside: Option<Outside>,
    learner: Learner,
}

/// One with a name, and so with parameters, that no other test has.
fn learner() -> Learner {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    Learner { seed: "tests".to_owned(), name: format!("learner {n} of {}", std::process::id()) }
}

impl Podlab {
    /// Called by the user who runs the tests. Where there is an outside, that judges.
    pub fn new() -> Podlab {
        Podlab {
            home: user::folder(),
            program: PathBuf::from(env!("CARGO_BIN_EXE_podlab")),
            is_ordinary: false,
            outside: Outside::named(),
            learner: learner(),
        }
    }

    /// Called by a user without privileges.
    pub fn ordinary() -> Podlab {
        let home = user::folder();
        let program = user::copy_of(Path::new(env!("CARGO_BIN_EXE_podlab")), home.path());
        Podlab { home, program, is_ordinary: true, outside: None, learner: learner() }
    }

    /// Judged from outside, if there is one, whoever calls.
    pub fn judged_from_outside(mut self) -> Podlab {
        self.outside = Outside::named();
        self
    }

    /// With another name, one that gives them the parameters that are wanted.
    pub fn renamed_until(mut self, wanted: impl Fn(&Podlab) -> bool) -> Podlab {
        while !wanted(&self) {
            self.learner = learner();
        }
        self
    }

    /// The same learner on another machine, where nothing of theirs is known yet.
    pub fn elsewhere(&self) -> Podlab {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_podlab"));
        let learner = self.learner.clone();
        Podlab { home: user::folder(), program, is_ordinary: false, learner, outside: None }
    }

    /// A folder of this learner's, gone with them.
    pub fn folder(&self) -> &Path {
        self.home.path()
    }

    /// `podlab ARGS…`
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .env("PODLAB_HOME", self.state())
            .env("PODLAB_SEED", &self.learner.seed)
            .env("PODLAB_LEARNER", &self.learner.name);
        // From outside, what `start` notes is read with the rights of the user who called sudo(8).
        if self.outside.is_none() {
            command.env_remove("SUDO_UID");
        }
        if self.is_ordinary {
            user::as_ordinary(&mut command);
        }
        command
    }

    /// Runs `podlab ARGS…` to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("podlab")
    }

    /// A lab's program, built if need be.
    pub fn lab(&self, name: &str) -> PathBuf {
        let built = self.run(&["run", name, "--help"]);
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        self.program.with_file_name(name)
    }

    /// `podlab start EXERCISE`
    pub fn start(&self, exercise: &str) {
        let output = self.run(&["start", exercise]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// `podlab check EXERCISE ARGS…`. What is judged is judged once more from the evidence alone, and
    /// must come out the same.
    pub fn check(&self, exercise: &str, args: &[&str]) -> Checked {
        let arguments = [&[exercise], args].concat();
        let Answer { checked, judged_again } = match &self.outside {
            Some(outside) => self.ask(outside, &arguments),
            None => self.judge(&arguments),
        };
        let (checked, again) = (Checked::from(checked), Checked::from(judged_again));
        assert_eq!(checked.judgement, again.judgement, "judged again from its evidence");
        assert_eq!(checked.code, again.code);
        checked
    }

    fn ask(&self, outside: &Outside, arguments: &[&str]) -> Answer {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        outside.ask(&Request { arguments, learner: self.learner.clone() }, &self.state())
    }

    fn judge(&self, arguments: &[&str]) -> Answer {
        let evidence = self.evidence();
        let path = evidence.to_str().expect("a path in UTF-8");
        let check = [&["check", "--format", "json", "--evidence", path], arguments].concat();
        Answer {
            checked: self.run(&check).into(),
            judged_again: self.run(&["judge", path, "--format", "json"]).into(),
        }
    }

    /// `podlab check EXERCISE --pid PID`
    pub fn check_pid(&self, exercise: &str, pid: i32) -> Checked {
        self.check(exercise, &["--pid", &pid.to_string()])
    }

    /// What `podlab run LAB` needs: nothing where the lab is built, else cargo.
    pub fn lab_needs(lab: &str) -> Vec<Need> {
        let is_built = Path::new(env!("CARGO_BIN_EXE_podlab")).with_file_name(lab).exists();
        if is_built { Vec::new() } else { vec![Need::Program("cargo")] }
    }

    /// Where its state is, if there is any.
    fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }

    /// A path for evidence that is not there yet.
    fn evidence(&self) -> PathBuf {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        self.home.path().join(format!("evidence-{n}.json"))
    }

    /// This learner's parameters for an exercise.
    pub fn params(&self, exercise: &'static str) -> Params {
        Params::new(&self.learner, exercise)
    }
}

/// What one `podlab check` said of one exercise.
pub struct Checked {
    /// The exit status.
    pub code: i32,
    /// The verdicts.
    pub judgement: Judgement,
}

impl From<Output> for Checked {
    fn from(output: Output) -> Checked {
        Said::from(output).into()
    }
}

impl From<Said> for Checked {
    fn from(said: Said) -> Checked {
        let report: Report = serde_json::from_str(&said.printed)
            .unwrap_or_else(|error| panic!("{error}: exit status {} {}", said.code, said.remarks));
        assert_eq!(report.schema, Report::SCHEMA);
        let [judgement] = <[Judgement; 1]>::try_from(report.exercises).expect("one exercise");
        Checked { code: said.code, judgement }
    }
}

impl Checked {
    /// The result of one check.
    pub fn result(&self, check: &str) -> &CheckResult {
        let result = self.judgement.checks.iter().find(|result| result.id == check);
        result.unwrap_or_else(|| panic!("{} has no check {check}", self.judgement.exercise))
    }

    /// The ids of the checks that fail.
    pub fn failing(&self) -> Vec<&str> {
        self.those(|result| matches!(result, CheckOutcome::Fails { .. }))
    }

    /// The ids of the checks that could not be judged.
    pub fn untold(&self) -> Vec<&str> {
        self.those(|result| matches!(result, CheckOutcome::CannotTell { .. }))
    }

    fn those(&self, wanted: impl Fn(&CheckOutcome) -> bool) -> Vec<&str> {
        let checks = self.judgement.checks.iter().filter(|check| wanted(&check.result));
        checks.map(|check| check.id.as_str()).collect()
    }

    /// The ids of the mistakes that were named.
    pub fn mistakes(&self) -> Vec<&str> {
        self.judgement.mistakes().map(|mistake| mistake.id.as_str()).collect()
    }

    /// Everything asked for holds.
    #[track_caller]
    pub fn holds(&self) {
        let Judgement { points, points_possible, .. } = self.judgement;
        assert_eq!((self.code, points), (0, points_possible), "{:#?}", self.judgement);
    }

    /// Exactly this check fails, for this reason.
    #[track_caller]
    pub fn fails_by(&self, check: &str, mistake: &str) {
        assert_eq!(self.failing(), [check], "{:#?}", self.judgement);
        assert_eq!(self.mistakes(), [mistake], "{:#?}", self.judgement);
        assert_eq!(self.code, 1);
    }

    /// Exactly this check fails, and no reason is known.
    #[track_caller]
    pub fn fails_only(&self, check: &str) {
        assert_eq!(self.failing(), [check], "{:#?}", self.judgement);
        assert_eq!(self.mistakes(), [""; 0], "{:#?}", self.judgement);
        assert_eq!(self.code, 1);
    }

    /// Nothing fails, but these checks could not be judged.
    #[track_caller]
    pub fn cannot_tell(&self, checks: &[&str]) {
        assert_eq!(
            (self.failing(), self.untold()),
            (vec![], checks.to_vec()),
            "{:#?}",
            self.judgement
        );
        assert_eq!(self.code, 2);
    }
}
