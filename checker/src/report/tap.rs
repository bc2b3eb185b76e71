//! Test Anything Protocol, version 14: one test point a check.

use crate::judge::{CheckOutcome, CheckResult, Judgement};

use super::{Report, printable};

/// The whole report. What could not be judged is a skip: a fault of the environment is never a
/// failure of the learner. What waits for a failed check is not ok.
pub fn report(report: &Report) -> String {
    let total: usize = report.exercises.iter().map(|judged| judged.checks.len()).sum();
    let mut text = format!("TAP version 14\n1..{total}\n");
    let checks = report
        .exercises
        .iter()
        .flat_map(|judged| judged.checks.iter().map(move |check| (judged, check)));
    for (number, (judged, check)) in (1..).zip(checks) {
        text += &point(number, judged, check);
    }
    text
}

fn point(number: usize, judged: &Judgement, check: &CheckResult) -> String {
    let name = escape(&format!("{} {}: {}", judged.exercise, check.id, check.claim));
    match &check.result {
        CheckOutcome::Holds { saw } => format!("ok {number} - {name}\n{}", yaml(&[("saw", saw)])),
        CheckOutcome::Blocked { by } => {
            format!("not ok {number} - {name}\n{}", yaml(&[("needs", by)]))
        }
        CheckOutcome::CannotTell { why } => {
            format!("ok {number} - {name} # SKIP cannot tell: {}\n", escape(why))
        }
        CheckOutcome::Fails { saw, expected, mistake } => {
            let mut fields = vec![("saw", saw.as_str()), ("expected", expected)];
            if let Some(mistake) = mistake {
                fields.push(("mistake", &mistake.id));
                fields.push(("hint", &mistake.hint));
            }
            format!("not ok {number} - {name}\n{}", yaml(&fields))
        }
    }
}

/// `\` and `#` have a meaning of their own in TAP.
fn escape(text: &str) -> String {
    printable(text).replace('\\', "\\\\").replace('#', "\\#")
}

/// A diagnostic block. JSON strings are YAML strings.
fn yaml(fields: &[(&str, &str)]) -> String {
    let mut text = "  ---\n".to_owned();
    for (name, value) in fields {
        text += &format!("  {name}: {}\n", serde_json::Value::from(*value));
    }
    text + "  ...\n"
}
