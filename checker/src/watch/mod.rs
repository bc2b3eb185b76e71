//! `podlab watch`: judges whenever the kernel changes, live in the terminal.

mod changes;
mod connector;
mod experiments;
mod following;
mod screen;
mod terminal;
mod tree;

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::exercise::{Exercise, Facts, Subject};
use crate::exercises;
use crate::facts::{Evidence, Request, Start};
use crate::judge::{self, Judgement, Outcome};
use crate::machine::Machine;
use crate::params::Params;
use crate::report::style::Style;
use crate::session::Session;

use experiments::Experiments;
use following::Following;
use screen::View;
use terminal::{Terminal, Wake};
use tree::Branch;

pub(crate) use changes::Changes;

/// How often to look at what the kernel does not tell: often enough for a verdict within 100 ms.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(60);

/// How long to wait for what belongs to a change: a fork is followed by an exec.
const SETTLING: Duration = Duration::from_millis(4);

/// Shows `exercise` live until the learner quits.
///
/// # Errors
///
/// Outside a terminal, or when the machine cannot be read.
pub fn run(
    session: &Session,
    exercise: &'static Exercise,
    pid: Option<i32>,
    style: Style,
) -> Result<(), Error> {
    let mut terminal = Terminal::open()?;
    let mut live = Live::begin(session, exercise, pid, style)?;
    loop {
        live.draw(&mut terminal)?;
        // What came out is kept only when it has been shown: a disk may take its time.
        live.record()?;
        if live.wait(&mut terminal)? == Next::Quit {
            return Ok(());
        }
    }
}

/// Whether the kernel reports the births and deaths of processes to us.
///
/// # Errors
///
/// Why it does not.
pub fn process_events_work() -> std::io::Result<()> {
    connector::Connector::open().map(|_| ())
}

/// Whether to go on.
#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    Quit,
}

/// The state of the screen.
struct Live<'s> {
    session: &'s Session,
    style: Style,
    exercise: &'static Exercise,
    pid: Option<i32>,
    task: String,
    evidence: Evidence,
    judgement: Judgement,
    tree: Vec<Branch>,
    notice: String,
    changes: Following,
    experiments: Experiments,
    /// Counts the changes seen, so that experiments know what is out of date.
    change: u64,
    /// When the machine may be read again: on a busy one, half of the time is left to others.
    rested: Instant,
    /// When to read it again, if something has changed.
    due: Option<Instant>,
    /// Whether the judgement has been kept.
    is_recorded: bool,
}

impl<'s> Live<'s> {
    fn begin(
        session: &'s Session,
        exercise: &'static Exercise,
        pid: Option<i32>,
        style: Style,
    ) -> Result<Live<'s>, Error> {
        // Before anything is read, so that no change is missed.
        let changes = Following::new(&session.machine)?;
        let mut evidence = begin_once(session, exercise, pid)?;
        let judgement = judge::judge(exercise, &mut evidence, &mut judge::recorded_only);
        let failed = |error: std::io::Error| Error::new(format!("eventfd: {error}"));
        let mut live = Live {
            session,
            style,
            exercise,
            pid,
            task: session.task(exercise)?,
            evidence,
            judgement,
            tree: Vec::new(),
            notice: String::new(),
            changes,
            experiments: Experiments::new(&session.machine).map_err(failed)?,
            change: 0,
            rested: Instant::now(),
            due: None,
            is_recorded: false,
        };
        live.judge()?;
        Ok(live)
    }

    /// Waits for a key or a change, and does what it asks for.
    fn wait(&mut self, terminal: &mut Terminal) -> Result<Next, Error> {
        loop {
            let told = self.changes.files();
            match terminal.wait(&told, self.experiments.done(), LOOK_EVERY, self.due)? {
                Wake::Quit | Wake::Key(b'q' | CONTROL_C) => return Ok(Next::Quit),
                Wake::Key(key) => return self.press(key, terminal),
                Wake::Resized => return Ok(Next::GoOn),
                Wake::ExperimentDone if self.experiments.collect() => {
                    self.judge()?;
                    return Ok(Next::GoOn);
                }
                Wake::ExperimentDone => {}
                Wake::Told if self.changes.drain()? => self.note_change(),
                Wake::Told => {}
                Wake::TimeToLook if self.look()? => self.note_change(),
                Wake::TimeToLook => {}
                Wake::Due => {
                    self.read_again()?;
                    return Ok(Next::GoOn);
                }
            }
        }
    }

    fn note_change(&mut self) {
        let soonest = (Instant::now() + SETTLING).max(self.rested);
        self.due.get_or_insert(soonest);
    }

    fn look(&mut self) -> Result<bool, Error> {
        let params = Params::new(&self.evidence.learner, self.exercise.id);
        self.changes.look(&facts(&self.evidence, &params))
    }

    /// Reads the machine anew and judges.
    fn read_again(&mut self) -> Result<(), Error> {
        let began = Instant::now();
        self.due = None;
        self.change += 1;
        // The process named with --pid may have ended: what is left is judged without it.
        let evidence = self.session.gather(self.exercise, None)?;
        self.evidence = Evidence { pid: self.pid, start: self.start_for(&evidence), ..evidence };
        self.judge()?;
        self.rested = Instant::now() + began.elapsed();
        Ok(())
    }

    /// After podlab reset, and where podlab start was never called, what was noted when this screen was
    /// opened counts.
    fn start_for(&self, evidence: &Evidence) -> Option<Start> {
        evidence.start.clone().or_else(|| self.evidence.start.clone())
    }

    /// Judges over what was read and what experiments have shown; starts those that are missing.
    fn judge(&mut self) -> Result<(), Error> {
        let mut asked = Vec::new();
        self.evidence.observations.clear();
        let experiments = &self.experiments;
        let judgement =
            judge::judge(self.exercise, &mut self.evidence, &mut |request: &Request| {
                asked.push(request.clone());
                if request.disturbs() { None } else { experiments.answer(request) }
            });
        asked.retain(|request| !request.disturbs());
        self.experiments.refresh(&asked, &self.evidence.snapshot, self.change);
        self.follow(&asked)?;
        self.tree = self.branches();
        self.is_recorded &= judgement == self.judgement;
        if judgement.points != self.judgement.points {
            // A remark is about what was.
            self.notice.clear();
        }
        self.judgement = judgement;
        Ok(())
    }

    fn record(&mut self) -> Result<(), Error> {
        if !std::mem::replace(&mut self.is_recorded, true) {
            self.session.record(&self.judgement)?;
        }
        Ok(())
    }

    /// Has the kernel tell of changes to the files that the verdicts rest on.
    fn follow(&mut self, asked: &[Request]) -> Result<(), Error> {
        let experiments = &self.experiments;
        let folders = asked.iter().filter_map(|request| {
            following::folders_behind(request, experiments.answer(request).as_ref())
        });
        self.changes.watch_folders(folders)?;
        if self.exercise.reads_cgroups {
            self.changes.watch_folders(following::memory_groups(&self.evidence.snapshot))?;
        }
        Ok(())
    }

    fn branches(&self) -> Vec<Branch> {
        let params = Params::new(&self.evidence.learner, self.exercise.id);
        let facts = facts(&self.evidence, &params);
        let subjects = match judge::subject(self.exercise, &facts) {
            Subject::Process(id) => vec![id.pid],
            Subject::Pair(one, other) => vec![one.pid, other.pid],
            Subject::Nothing | Subject::Cgroup(_) => Vec::new(),
        };
        tree::branches(&facts, &subjects)
    }

    fn press(&mut self, key: u8, terminal: &mut Terminal) -> Result<Next, Error> {
        match key {
            b'h' => self.notice = self.session.next_hint(self.exercise)?.trim_end().to_owned(),
            b'c' => return self.check_now(terminal),
            b'n' => self.go_on()?,
            _ => self.notice.clear(),
        }
        Ok(Next::GoOn)
    }

    /// The whole check, with what disturbs, as `podlab check` makes it.
    fn check_now(&mut self, terminal: &mut Terminal) -> Result<Next, Error> {
        "checking; what you made may be asked to end".clone_into(&mut self.notice);
        self.draw(terminal)?;
        let evidence = self.session.gather(self.exercise, self.pid)?;
        let mut evidence = Evidence { start: self.start_for(&evidence), ..evidence };
        let judged = self.session.judge(self.exercise, &mut evidence, &mut |_| {})?;
        self.notice = match judged.outcome {
            Outcome::Holds => {
                "checked: everything holds. n goes on to the next exercise".to_owned()
            }
            _ => format!("checked: {} of {} points", judged.points, judged.points_possible),
        };
        self.judgement = judged;
        self.draw(terminal)?;
        self.session.record(&self.judgement)?;
        let wake = terminal.wait_for_key()?;
        self.notice.clear();
        self.experiments.forget();
        self.note_change();
        match wake {
            Wake::Key(b'n') => self.go_on()?,
            Wake::Key(key) if key != b'q' && key != CONTROL_C => {}
            _ => return Ok(Next::Quit),
        }
        Ok(Next::GoOn)
    }

    fn go_on(&mut self) -> Result<(), Error> {
        let at = exercises::ALL.iter().position(|exercise| exercise.id == self.exercise.id);
        let next = at.map_or(0, |at| (at + 1) % exercises::ALL.len());
        *self = Live::begin(self.session, &exercises::ALL[next], None, self.style)?;
        Ok(())
    }

    fn draw(&self, terminal: &mut Terminal) -> Result<(), Error> {
        terminal.draw(&View {
            status: self.status()?,
            title: format!("{}: {}", self.exercise.id, self.exercise.title),
            task: &self.task,
            judgement: &self.judgement,
            tree: &self.tree,
            notice: &self.notice,
            style: self.style,
        })
    }

    /// Who looks, and where.
    fn whose(&self) -> String {
        match &self.session.machine {
            Machine::Here => self.session.home.caller().name.clone(),
            Machine::There(remote) => format!("{} on {}", remote.user(), remote.target()),
        }
    }

    fn status(&self) -> Result<String, Error> {
        let state = self.session.home.load()?;
        let done = exercises::ALL.iter().filter(|exercise| state.of(exercise.id).done).count();
        Ok(format!(
            "{done} of {} done | cgroup {} | {} | {}",
            exercises::ALL.len(),
            self.evidence.snapshot.cgroups.mode,
            self.whose(),
            if self.changes.are_told() { "process events" } else { "polling" },
        ))
    }
}

const CONTROL_C: u8 = 3;

fn facts<'a>(evidence: &'a Evidence, params: &'a Params) -> Facts<'a> {
    Facts {
        snapshot: &evidence.snapshot,
        params,
        start: evidence.start.as_ref(),
        pid: evidence.pid,
    }
}

/// Reads the machine; notes how things are, unless that was done on this boot already. On another
/// machine nothing is noted or prepared: that is podlab's to do there.
fn begin_once(
    session: &Session,
    exercise: &'static Exercise,
    pid: Option<i32>,
) -> Result<Evidence, Error> {
    let has_begun = |evidence: &Evidence| {
        let boot_id = &evidence.snapshot.machine.boot_id;
        evidence.start.as_ref().is_some_and(|start| start.boot_id == *boot_id)
    };
    let evidence = session.gather(exercise, pid)?;
    match &session.machine {
        _ if has_begun(&evidence) => Ok(evidence),
        Machine::Here => {
            session.begin(exercise)?;
            session.gather(exercise, pid)
        }
        Machine::There(_) => {
            Ok(Evidence { start: Some(Start::at(&evidence.snapshot)), ..evidence })
        }
    }
}
