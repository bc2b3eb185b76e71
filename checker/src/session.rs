//! One learner at work: begins an exercise, gathers evidence, keeps what came out.

use crate::error::Error;
use crate::exercise::{Exercise, Target};
use crate::exercises;
use crate::facts::{Evidence, Learner, OomBaseline, Start};
use crate::judge::{Judgement, Outcome};
use crate::observe;
use crate::progress::{Home, Progress};
use crate::room::{self, Prepared};

/// One learner, and where their progress is kept.
pub struct Session {
    /// Whose parameters.
    pub learner: Learner,
    /// Where progress is kept.
    pub home: Home,
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

    /// Notes how things are before the learner begins, and prepares what the exercise needs.
    ///
    /// # Errors
    ///
    /// When the machine cannot be read, or what is needed not be prepared.
    pub fn begin(&self, exercise: &'static Exercise) -> Result<Progress, Error> {
        let earlier = self.home.load()?.of(exercise.id);
        self.clear(&earlier)?;
        let snapshot = observe::snapshot(&observe::Options::default())?;
        let prepared = self.prepare(exercise, &earlier)?;
        let start = Start {
            boot_id: snapshot.machine.boot_id,
            ticks: snapshot.machine.ticks_since_boot,
            oom_kills: OomBaseline::all(&snapshot.cgroups),
            room: prepared.as_ref().map(|prepared| prepared.room().clone()),
        };
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

    /// Removes what was prepared for `exercise`, and forgets that it was begun.
    ///
    /// # Errors
    ///
    /// When what was prepared cannot be removed.
    pub fn reset(&self, exercise: &'static Exercise) -> Result<(), Error> {
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
        })
    }

    /// Reads the machine for one exercise; no experiments yet.
    ///
    /// # Errors
    ///
    /// When the machine cannot be read, or there is no process with this PID.
    pub fn gather(&self, exercise: &Exercise, pid: Option<i32>) -> Result<Evidence, Error> {
        let snapshot = observe::snapshot(&observe::Options { mark: true, ..Default::default() })?;
        if let Some(pid) = pid.filter(|pid| snapshot.process(*pid).is_none()) {
            return Err(Error::new(format!("no process has PID {pid}")).hint(
                "ps shows those there are; a PID inside a namespace is not the one outside",
            ));
        }
        Ok(Evidence {
            schema: Evidence::SCHEMA.to_owned(),
            exercise: exercise.id.to_owned(),
            learner: self.learner.clone(),
            start: self.home.load()?.of(exercise.id).start,
            pid,
            snapshot,
            observations: Vec::new(),
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
