//! For people.

use crate::judge::{CheckOutcome, CheckResult, Judgement, MistakeMade};

use super::style::{Style, Tone};
use super::{fold, printable};

/// Columns of a line.
const WIDTH: usize = 78;

/// One exercise, as a learner reads it; `on` is the machine that was looked at, where it is another.
pub fn judgement(judged: &Judgement, on: Option<&str>, style: Style) -> String {
    let mut lines = vec![headline(judged, style)];
    let place = on.map(|on| format!("on {on}"));
    let subject: Vec<String> = judged.subject.iter().cloned().chain(place).collect();
    if !subject.is_empty() {
        lines.push(format!("judged: {}", printable(&subject.join(" "))));
    }
    lines.push(String::new());
    for check in &judged.checks {
        lines.extend(check_lines(check, style));
    }
    lines.push(String::new());
    lines.push(footer(judged, on));
    lines.join("\n") + "\n"
}

fn headline(judged: &Judgement, style: Style) -> String {
    let left = format!("{} {} {}", judged.exercise, style.mark("·", "-"), judged.title);
    let right = format!("{} of {} points", judged.points, judged.points_possible);
    let gap = WIDTH.saturating_sub(left.chars().count() + right.chars().count()).max(2);
    format!("{}{}{right}", style.paint(Tone::Strong, &left), " ".repeat(gap))
}

fn footer(judged: &Judgement, on: Option<&str>) -> String {
    let id = &judged.exercise;
    let chapter = crate::course::chapter(&judged.chapter).map_or_else(String::new, |chapter| {
        format!("book: podlab book, chapter {}", chapter.number)
    });
    match judged.outcome {
        crate::judge::Outcome::Holds => format!("{chapter} | next: podlab"),
        _ => {
            let on = on.map(|on| format!(" --on {on}")).unwrap_or_default();
            format!("{chapter} | again, live: podlab watch {id}{on}")
        }
    }
}

/// The mark of an outcome.
pub fn mark(outcome: &CheckOutcome, style: Style) -> String {
    let (tone, mark) = match outcome {
        CheckOutcome::Holds { .. } => (Tone::Good, style.mark("✔", "ok")),
        CheckOutcome::Fails { .. } => (Tone::Bad, style.mark("✘", "NO")),
        CheckOutcome::Blocked { .. } => (Tone::Dim, style.mark("·", "--")),
        CheckOutcome::CannotTell { .. } => (Tone::Dim, style.mark("?", "??")),
    };
    style.paint(tone, mark)
}

fn check_lines(check: &CheckResult, style: Style) -> Vec<String> {
    let points = match &check.result {
        CheckOutcome::CannotTell { .. } => format!("-/{}", check.points_possible),
        _ => format!("{}/{}", check.points, check.points_possible),
    };
    let claim = format!("  {} {:<15} {:<50}", mark(&check.result, style), check.id, check.claim);
    let mut lines = vec![format!("{claim} {points}")];
    match &check.result {
        CheckOutcome::Holds { saw } => lines.extend(field("saw", saw)),
        CheckOutcome::Blocked { by } => lines.extend(field("needs", by)),
        CheckOutcome::CannotTell { why } => lines.extend(field("cannot tell:", why)),
        CheckOutcome::Fails { saw, expected, mistake } => {
            lines.extend(field("saw", saw));
            lines.extend(field("expected", expected));
            lines.extend(mistake.iter().flat_map(mistake_lines));
        }
    }
    lines
}

fn mistake_lines(mistake: &MistakeMade) -> Vec<String> {
    let mut lines = block("    mistake: ", &mistake.explanation);
    lines.extend(block("    hint:    ", &mistake.hint));
    lines
}

fn field(name: &str, text: &str) -> Vec<String> {
    block(&format!("{:21}{name} ", ""), text)
}

/// `text` folded to the width, its first line after `head`, the others below its beginning.
fn block(head: &str, text: &str) -> Vec<String> {
    let indent = " ".repeat(head.chars().count());
    fold(text, WIDTH, head, &indent)
}
