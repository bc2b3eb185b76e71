//! One learner at work: begins an exercise, gathers evidence, keeps what came out.

use crate::error::Error;
use crate::exercise::{Exercise, Target};
use crate::exercises;
use crate::facts::{Evidence, Learner, Request, Start};
use crate::judge::{self, Judgement, Outcome};
use crate::machine::Machine;
use crate::params::Params;
use crate::progress::{Home, Progress};
use crate::room::{self, Prepared};

/// One learner, where their progress is kept, and the machine that they work on.
pub struct Session {
    /// Whose parameters.
    pub learner: Learner,
    /// Where progress is kept.
    pub home: Home,
    /// The machine that is looked at.
    pub machine: Machine,
}

impl Session {
    /// The first exercise that is not done.
    ///
    /// # Errors
    ///
    /// When progress cannot be read.
    pub fn next(&self) -> Result<Option<&'static Exercise>, Error> {
        let state = self.home.load()?;
        Ok(exercises::ALL.iter().find(|exercise| !state.of(exercise.id).done))
    }

    /// Notes how things are before the learner begins, and prepares what the exercise needs, on this
    /// machine.
    ///
    /// # Errors
    ///
    /// When the machine cannot be read, or what is needed not be prepared.
    pub fn begin(&self, exercise: &'static Exercise) -> Result<Progress, Error> {
        let earlier = self.home.load()?.of(exercise.id);
        self.clear(&earlier)?;
        let snapshot = Machine::Here.snapshot()?;
        let prepared = self.prepare(exercise, &earlier)?;
        let room = prepared.as_ref().map(|prepared| prepared.room().clone());
        let start = Start { room, ..Start::at(&snapshot) };
        let progress = self.home.update(|state| {
            let progress = state.exercises.entry(exercise.id.to_owned()).or_default();
            progress.start = Some(start);
            progress.mistake = None;
            progress.clone()
        })?;
        // Only what is recorded stays: whenever podlab is ended, nothing is left that reset misses.
        prepared.map(Prepared::release).transpose()?;
        Ok(progress)
    }

    /// Removes what was prepared for `exercise`, and forgets that it was begun. Whether it was.
    ///
    /// # Errors
    ///
    /// When what was prepared cannot be removed.
    pub fn reset(&self, exercise: &'static Exercise) -> Result<bool, Error> {
        let progress = self.home.load()?.of(exercise.id);
        self.clear(&progress)?;
        if exercise.target == Some(Target::LockedRoom) {
            room::forget(&self.home.exercise_folder(exercise.id)?, self.home.caller());
        }
        self.home.update(|state| {
            if let Some(progress) = state.exercises.get_mut(exercise.id) {
                *progress = Progress {
                    points: progress.points,
                    done: progress.done,
                    ..Progress::default()
                };
            }
        })?;
        Ok(progress.start.is_some())
    }

    /// Reads the machine for one exercise; no experiments yet.
    ///
    /// # Errors
    ///
    /// As [`gather`], or when what was noted at the start cannot be read.
    pub fn gather(&self, exercise: &Exercise, pid: Option<i32>) -> Result<Evidence, Error> {
        gather(&self.machine, &self.learner, exercise, self.start(exercise)?, pid)
    }

    /// What `podlab start` noted, on the machine that is looked at.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn start(&self, exercise: &Exercise) -> Result<Option<Start>, Error> {
        match &self.machine {
            Machine::Here => Ok(self.home.load()?.of(exercise.id).start),
            Machine::There(remote) => remote.start(exercise.id),
        }
    }

    /// Judges `exercise` with every experiment it asks for; `announce` hears of each before it is
    /// made.
    ///
    /// # Errors
    ///
    /// As [`Session::gather`].
    pub fn check(
        &self,
        exercise: &'static Exercise,
        pid: Option<i32>,
        announce: &mut dyn FnMut(&Request),
    ) -> Result<(Judgement, Evidence), Error> {
        let mut evidence = self.gather(exercise, pid)?;
        let judgement = self.judge(exercise, &mut evidence, announce)?;
        Ok((judgement, evidence))
    }

    /// The same over what was gathered before.
    ///
    /// # Errors
    ///
    /// When the machine hangs up: then nothing is judged.
    pub fn judge(
        &self,
        exercise: &'static Exercise,
        evidence: &mut Evidence,
        announce: &mut dyn FnMut(&Request),
    ) -> Result<Judgement, Error> {
        let mut cut = None;
        let judgement = judge::judge(exercise, evidence, &mut |request| {
            announce(request);
            self.machine.experiment(request).map_err(|error| cut = Some(error)).ok()
        });
        cut.map_or(Ok(judgement), Err)
    }

    /// The task with this learner's parameters, and what was prepared for it.
    ///
    /// # Errors
    ///
    /// When progress cannot be read.
    pub fn task(&self, exercise: &'static Exercise) -> Result<String, Error> {
        let text = (exercise.task)(&Params::new(&self.learner, exercise.id));
        let start = self.start(exercise)?;
        Ok(match (exercise.target, start.and_then(|start| start.room)) {
            (Some(Target::LockedRoom), Some(room)) => {
                format!("{text}\n\n{}", room::describe(&room))
            }
            (Some(Target::LockedRoom), None) => {
                format!("{text}\n\nprepare it first: podlab start {}", exercise.id)
            }
            (None, _) => text,
        })
    }

    /// The same under a title, as `podlab show` prints it.
    ///
    /// # Errors
    ///
    /// When progress cannot be read.
    pub fn headed_task(&self, exercise: &'static Exercise) -> Result<String, Error> {
        Ok(format!("{}: {}\n\n{}\n", exercise.id, exercise.title, self.task(exercise)?))
    }

    /// The hint for the mistake of the last check, once; then one more of the exercise's own each
    /// time.
    ///
    /// # Errors
    ///
    /// When progress cannot be kept.
    pub fn next_hint(&self, exercise: &'static Exercise) -> Result<String, Error> {
        self.home.update(|state| {
            let progress = state.exercises.entry(exercise.id.to_owned()).or_default();
            hint_after(exercise, progress)
        })
    }

    /// Keeps what came out, for the list and for the next hint.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn record(&self, judged: &Judgement) -> Result<(), Error> {
        let mistake = judged.mistakes().next().map(|mistake| mistake.id.clone());
        self.home.update(|state| {
            let progress = state.exercises.entry(judged.exercise.clone()).or_default();
            progress.points = progress.points.max(judged.points);
            progress.done |= judged.outcome == Outcome::Holds;
            progress.mistake = mistake;
        })
    }

    fn prepare(&self, exercise: &Exercise, earlier: &Progress) -> Result<Option<Prepared>, Error> {
        match exercise.target {
            None => Ok(None),
            Some(Target::LockedRoom) => {
                let folder = self.home.exercise_folder(exercise.id)?;
                let past = earlier.start.as_ref().and_then(|start| start.room.as_ref());
                room::prepare(&folder, past, self.home.caller()).map(Some)
            }
        }
    }

    fn clear(&self, progress: &Progress) -> Result<(), Error> {
        match progress.start.as_ref().and_then(|start| start.room.as_ref()) {
            Some(room) => room::clear(room, self.home.caller()),
            None => Ok(()),
        }
    }
}

/// Reads a machine for one exercise of one learner; no experiments yet.
///
/// # Errors
///
/// When the machine cannot be read, or there is no process with this PID.
pub fn gather(
    machine: &Machine,
    learner: &Learner,
    exercise: &Exercise,
    start: Option<Start>,
    pid: Option<i32>,
) -> Result<Evidence, Error> {
    let snapshot = machine.snapshot()?;
    if let Some(pid) = pid.filter(|pid| snapshot.process(*pid).is_none()) {
        let place = machine.name().map(|name| format!(" on {name}")).unwrap_or_default();
        return Err(Error::new(format!("no process has PID {pid}{place}"))
            .hint("ps shows those there are; a PID inside a namespace is not the one outside"));
    }
    Ok(Evidence {
        schema: Evidence::SCHEMA.to_owned(),
        exercise: exercise.id.to_owned(),
        learner: learner.clone(),
        start,
        pid,
        snapshot,
        observations: Vec::new(),
    })
}

fn hint_after(exercise: &'static Exercise, progress: &mut Progress) -> String {
    let made = progress.mistake.take();
    let mistake = made.and_then(|id| exercise.mistakes.iter().find(|mistake| mistake.id == id));
    if let Some(mistake) = mistake {
        return format!("{}\nhint: {}\n", mistake.explain, mistake.hint);
    }
    let last = exercise.hints.len();
    progress.hints = (progress.hints + 1).min(last);
    format!("{} of {last}: {}\n", progress.hints, exercise.hints[progress.hints - 1])
}
