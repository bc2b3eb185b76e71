//! Runs an exercise's checks over evidence. Pure but for the experiments, which the caller makes:
//! live ones on a kernel, recorded ones from a document.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::exercise::{Check, Exercise, Facts, How, Scene, Subject, Verdict};
use crate::facts::{Evidence, Learner, Observation, Observed, Request};
use crate::params::Params;

/// What was judged, and what of it holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Judgement {
    /// The exercise's id.
    pub exercise: String,
    /// Its title.
    pub title: String,
    /// The chapter it belongs to.
    pub chapter: String,
    /// Whose parameters it was judged with.
    pub learner: Learner,
    /// What was judged, in words; nothing where there was nothing to judge.
    pub subject: Option<String>,
    /// Everything asked for holds, something fails, or something could not be judged.
    pub outcome: Outcome,
    /// Points gained.
    pub points: u32,
    /// Points there are.
    pub points_possible: u32,
    /// Each check.
    pub checks: Vec<CheckResult>,
}

/// The outcome of a whole exercise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Everything holds.
    Holds,
    /// Something fails.
    Fails,
    /// Nothing fails, but something could not be judged.
    CannotTell,
}

/// The outcome of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CheckResult {
    /// Its id.
    pub id: String,
    /// What would hold.
    pub claim: String,
    /// Points gained.
    pub points: u32,
    /// Points there are.
    pub points_possible: u32,
    /// What came out.
    #[serde(flatten)]
    pub result: CheckOutcome,
}

/// The four outcomes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum CheckOutcome {
    /// It holds.
    Holds {
        /// What was seen.
        saw: String,
    },
    /// It does not.
    Fails {
        /// What was seen.
        saw: String,
        /// What would hold.
        expected: String,
        /// The misconception that the facts give away.
        mistake: Option<MistakeMade>,
    },
    /// A check that it needs does not hold.
    Blocked {
        /// Which.
        by: String,
    },
    /// It could not be judged.
    CannotTell {
        /// What stood in the way.
        why: String,
    },
}

/// A misconception that the facts give away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MistakeMade {
    /// Its id.
    pub id: String,
    /// What is so, and why.
    pub explanation: String,
    /// What to look at or try.
    pub hint: String,
}

impl Judgement {
    /// The mistakes that were recognised, in the order of the checks.
    pub fn mistakes(&self) -> impl Iterator<Item = &MistakeMade> {
        self.checks.iter().filter_map(|check| match &check.result {
            CheckOutcome::Fails { mistake, .. } => mistake.as_ref(),
            _ => None,
        })
    }
}

/// How many candidates are weighed before one is judged in full.
const MOST_SUBJECTS: usize = 64;

/// How many candidates are judged in full where facts do not tell them apart.
const MOST_TRIED: usize = 4;

/// Judges `exercise` over `evidence`. `experiment` answers the requests that the evidence does not
/// hold yet, or declines; what it answers is added to the evidence.
pub fn judge(
    exercise: &'static Exercise,
    evidence: &mut Evidence,
    experiment: &mut dyn FnMut(&Request) -> Option<Observation>,
) -> Judgement {
    let params = Params::new(&evidence.learner, exercise.id);
    let facts = Facts {
        snapshot: &evidence.snapshot,
        params: &params,
        start: evidence
            .start
            .as_ref()
            .filter(|start| start.boot_id == evidence.snapshot.machine.boot_id),
        pid: evidence.pid,
    };
    let observations = &mut evidence.observations;
    let mut best: Option<(u32, Subject, Vec<Verdict>)> = None;
    for candidate in worth_trying(exercise, &facts) {
        let verdicts = run_checks(exercise, &facts, &candidate, observations, experiment);
        let points = gained(exercise, &verdicts);
        if best.as_ref().is_none_or(|(most, ..)| points > *most) {
            best = Some((points, candidate, verdicts));
        }
        if points == exercise.points() {
            break;
        }
    }
    let (_, chosen, verdicts) = best.expect("there is always a candidate");
    summarise(exercise, &facts, &chosen, observations, &verdicts, &evidence.learner)
}

/// Whom to judge in full: the one that facts favour. Where every check is an experiment, facts favour
/// nobody, and the first few are tried.
fn worth_trying(exercise: &'static Exercise, facts: &Facts) -> Vec<Subject> {
    if exercise.checks.iter().any(|check| matches!(check.how, How::Facts(_))) {
        return vec![subject(exercise, facts)];
    }
    let mut candidates = (exercise.subjects)(facts);
    candidates.truncate(MOST_TRIED);
    candidates
}

/// Answers nothing: only what was recorded counts.
pub fn recorded_only(_request: &Request) -> Option<Observation> {
    None
}

/// What the checks are about: the candidate for which most holds by facts alone; of equals, the
/// first.
pub fn subject(exercise: &'static Exercise, facts: &Facts) -> Subject {
    let mut best = (Subject::Nothing, None);
    for candidate in (exercise.subjects)(facts).into_iter().take(MOST_SUBJECTS) {
        let mut none = Vec::new();
        let verdicts = run_checks(exercise, facts, &candidate, &mut none, &mut recorded_only);
        let points = Some(gained(exercise, &verdicts));
        if points > best.1 {
            best = (candidate, points);
        }
    }
    best.0
}

fn gained(exercise: &Exercise, verdicts: &[Verdict]) -> u32 {
    let scored = exercise.checks.iter().zip(verdicts);
    scored.map(|(check, verdict)| points(check, verdict)).sum()
}

fn points(check: &Check, verdict: &Verdict) -> u32 {
    if matches!(verdict, Verdict::Holds { .. }) { check.points } else { 0 }
}

fn run_checks(
    exercise: &'static Exercise,
    facts: &Facts,
    subject: &Subject,
    observations: &mut Vec<Observed>,
    experiment: &mut dyn FnMut(&Request) -> Option<Observation>,
) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = Vec::new();
    for check in exercise.checks {
        let verdict = match unmet(exercise, check, &verdicts) {
            Some(by) => Verdict::Blocked { by },
            None => run_check(exercise, check, facts, subject, observations, experiment),
        };
        verdicts.push(verdict);
    }
    verdicts
}

/// The first need of `check` that does not hold. A check comes after those that it needs.
fn unmet(exercise: &Exercise, check: &Check, verdicts: &[Verdict]) -> Option<&'static str> {
    check.needs.iter().copied().find(|need| {
        let held = exercise.checks.iter().zip(verdicts).any(|(earlier, verdict)| {
            earlier.id == *need && matches!(verdict, Verdict::Holds { .. })
        });
        !held
    })
}

fn run_check(
    exercise: &Exercise,
    check: &Check,
    facts: &Facts,
    subject: &Subject,
    observations: &mut Vec<Observed>,
    experiment: &mut dyn FnMut(&Request) -> Option<Observation>,
) -> Verdict {
    let scene = Scene { facts, subject, observations };
    let (ask, judge) = match check.how {
        How::Facts(judge) => return judge(&scene),
        How::Probe(ask, judge) => (ask, judge),
    };
    let Some(request) = ask(&scene) else {
        return nothing_to_ask_about(exercise, check, &scene);
    };
    if scene.seen(&request).is_none() {
        let Some(observation) = experiment(&request) else {
            return Verdict::cannot_tell(not_tried(&request));
        };
        observations.push(Observed { request: request.clone(), observation });
    }
    let scene = Scene { facts, subject, observations };
    match scene.seen(&request) {
        Some(Observation::Nothing { why }) => Verdict::cannot_tell(why.clone()),
        Some(observation) => judge(&scene, observation),
        None => Verdict::cannot_tell(not_tried(&request)),
    }
}

/// Where nothing comes near, nothing can be found out, but nothing holds either. What podlab has yet
/// to prepare is not the learner's fault.
fn nothing_to_ask_about(exercise: &Exercise, check: &Check, scene: &Scene) -> Verdict {
    let is_prepared = scene.facts.start.is_some_and(|start| start.room.is_some());
    match scene.subject {
        _ if exercise.target.is_some() && !is_prepared => Verdict::cannot_tell(format!(
            "nothing is prepared yet: podlab start {} does it",
            exercise.id
        )),
        Subject::Nothing => Verdict::fails("nothing that comes near", check.claim),
        _ => Verdict::cannot_tell("there is nothing to try it on"),
    }
}

fn not_tried(request: &Request) -> String {
    if request.disturbs() {
        "not tried: it would end or change what you made. podlab check tries it, and the key c"
            .to_owned()
    } else {
        "not tried yet".to_owned()
    }
}

fn summarise(
    exercise: &'static Exercise,
    facts: &Facts,
    subject: &Subject,
    observations: &[Observed],
    verdicts: &[Verdict],
    learner: &Learner,
) -> Judgement {
    let scene = Scene { facts, subject, observations };
    let results = exercise.checks.iter().zip(verdicts).map(|(check, verdict)| CheckResult {
        id: check.id.to_owned(),
        claim: check.claim.to_owned(),
        points: points(check, verdict),
        points_possible: check.points,
        result: outcome_of(exercise, check, verdict, &scene),
    });
    Judgement {
        exercise: exercise.id.to_owned(),
        title: exercise.title.to_owned(),
        chapter: exercise.chapter.to_owned(),
        learner: learner.clone(),
        subject: describe(&scene),
        outcome: overall(verdicts),
        points: gained(exercise, verdicts),
        points_possible: exercise.points(),
        checks: results.collect(),
    }
}

fn outcome_of(
    exercise: &'static Exercise,
    check: &Check,
    verdict: &Verdict,
    scene: &Scene,
) -> CheckOutcome {
    match verdict.clone() {
        Verdict::Holds { saw } => CheckOutcome::Holds { saw },
        Verdict::Blocked { by } => CheckOutcome::Blocked { by: by.to_owned() },
        Verdict::CannotTell { why } => CheckOutcome::CannotTell { why },
        Verdict::Fails { saw, expected } => {
            let mut explaining = exercise.mistakes.iter().filter(|made| made.check == check.id);
            let mistake = explaining.find(|made| (made.recognise)(scene)).map(|made| MistakeMade {
                id: made.id.to_owned(),
                explanation: made.explain.to_owned(),
                hint: made.hint.to_owned(),
            });
            CheckOutcome::Fails { saw, expected, mistake }
        }
    }
}

fn overall(verdicts: &[Verdict]) -> Outcome {
    if verdicts.iter().any(|verdict| matches!(verdict, Verdict::Fails { .. })) {
        Outcome::Fails
    } else if verdicts.iter().all(|verdict| matches!(verdict, Verdict::Holds { .. })) {
        Outcome::Holds
    } else {
        Outcome::CannotTell
    }
}

fn describe(scene: &Scene) -> Option<String> {
    let snapshot = scene.snapshot();
    let named = |process: &crate::facts::Process| match snapshot.process(process.parent) {
        Some(parent) => format!("{process}, child of {parent}"),
        None => process.to_string(),
    };
    match scene.subject {
        Subject::Nothing => None,
        Subject::Process(id) => snapshot.life(*id).map(named),
        Subject::Pair(one, other) => {
            Some(format!("{}; {}", named(snapshot.life(*one)?), named(snapshot.life(*other)?)))
        }
        Subject::Cgroup(at) => {
            let hierarchy = snapshot.cgroups.hierarchies.get(at.hierarchy)?;
            Some(format!("cgroup {} (v{})", at.path, hierarchy.version))
        }
    }
}
