//! What the live screen shows, drawn from data alone.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style as Look};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Wrap};

use crate::judge::{CheckOutcome, CheckResult, Judgement};
use crate::report::fold;
use crate::report::style::Style;

use super::tree::Branch;

/// Everything on the screen.
pub(super) struct View<'a> {
    /// `2 of 6 done · cgroup hybrid · root`
    pub(super) status: String,
    /// The exercise's id and title.
    pub(super) title: String,
    /// Its task.
    pub(super) task: &'a str,
    /// What holds of it.
    pub(super) judgement: &'a Judgement,
    /// The learner's processes.
    pub(super) tree: &'a [Branch],
    /// A remark, such as a hint that was asked for.
    pub(super) notice: &'a str,
    /// Colour and marks, or neither.
    pub(super) style: Style,
}

/// Narrower than this, the processes stand below the checks.
const SIDE_BY_SIDE: u16 = 100;

/// The keys.
pub(super) const KEYS: &str = " h hint   c check now   n next exercise   q quit";

/// Draws it.
pub(super) fn draw(frame: &mut Frame, view: &View) {
    let notice_lines = wrapped_height(view.notice, frame.area().width);
    let rows = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(5),
        Constraint::Length(notice_lines),
        Constraint::Length(1),
    ]);
    let [head, body, notice, keys] = rows.areas(frame.area());
    let strong = Look::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Paragraph::new(format!(" podlab | {}", view.status)).style(strong), head);
    draw_body(frame, view, body);
    let remark = Paragraph::new(view.notice).wrap(Wrap { trim: true });
    frame.render_widget(remark.style(paint(view.style, Color::Yellow)), notice);
    frame.render_widget(Paragraph::new(KEYS).style(Look::new().add_modifier(Modifier::DIM)), keys);
}

fn draw_body(frame: &mut Frame, view: &View, area: Rect) {
    let [exercise, processes] = if area.width >= SIDE_BY_SIDE {
        Layout::horizontal([Constraint::Percentage(62), Constraint::Percentage(38)]).areas(area)
    } else {
        let branches = u16::try_from(view.tree.len()).unwrap_or(u16::MAX);
        Layout::vertical([Constraint::Min(3), Constraint::Length(branches.clamp(1, 4) + 2)])
            .areas(area)
    };
    let block = Block::bordered().title(format!(" {} ", view.title));
    let inner = block.inner(exercise);
    let lines = fitting_lines(view, usize::from(inner.width).max(1), usize::from(inner.height));
    let block = if lines.len() > usize::from(inner.height) {
        block.title_bottom(" there is more: make the window larger, or podlab check ")
    } else {
        block
    };
    frame.render_widget(Paragraph::new(lines).block(block), exercise);
    let block = Block::bordered().title(" what was started since ");
    frame.render_widget(Paragraph::new(tree_lines(view)).block(block), processes);
}

/// All lines; where that is too much, without what was seen of checks that hold or wait; where that
/// is too much still, without the task.
fn fitting_lines(view: &View, width: usize, height: usize) -> Vec<Line<'static>> {
    let all = [(true, true), (true, false), (false, false)]
        .map(|(has_task, has_all)| exercise_lines(view, width, has_task, has_all));
    let [whole, brief, briefest] = all;
    [whole, brief].into_iter().find(|lines| lines.len() <= height).unwrap_or(briefest)
}

fn exercise_lines(view: &View, width: usize, has_task: bool, has_all: bool) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if has_task {
        lines.extend(task_lines(view.task, width));
        lines.push(Line::default());
    }
    for check in &view.judgement.checks {
        let details = check_lines(check, view, width);
        let is_open =
            matches!(check.result, CheckOutcome::Fails { .. } | CheckOutcome::CannotTell { .. });
        let shown = if has_all || is_open { details.len() } else { 1 };
        lines.extend(details.into_iter().take(shown));
    }
    lines.push(Line::default());
    let Judgement { points, points_possible, .. } = view.judgement;
    lines.push(Line::from(format!("{points} of {points_possible} points")));
    lines
}

/// The task's paragraphs, folded to the width. A line that is set in stands for itself.
fn task_lines(task: &str, width: usize) -> Vec<Line<'static>> {
    let mut paragraphs: Vec<String> = Vec::new();
    for line in task.lines() {
        match paragraphs.last_mut() {
            Some(last) if !last.is_empty() && !line.is_empty() && !line.starts_with(' ') => {
                *last += &format!(" {line}");
            }
            _ => paragraphs.push(line.to_owned()),
        }
    }
    paragraphs.iter().flat_map(|text| fold(text, width, "", "")).map(Line::from).collect()
}

fn check_lines(check: &CheckResult, view: &View, width: usize) -> Vec<Line<'static>> {
    let style = view.style;
    let (mark, color) = match &check.result {
        CheckOutcome::Holds { .. } => (style.mark("✔", "ok"), Color::Green),
        CheckOutcome::Fails { .. } => (style.mark("✘", "NO"), Color::Red),
        CheckOutcome::Blocked { .. } => (style.mark("·", "--"), Color::DarkGray),
        CheckOutcome::CannotTell { .. } => (style.mark("?", "??"), Color::DarkGray),
    };
    let points = format!("  {}/{}", check.points, check.points_possible);
    let mut lines = vec![Line::from(vec![
        Span::styled(format!("{mark} "), paint(style, color)),
        Span::raw(check.claim.clone()),
        Span::styled(points, Look::new().add_modifier(Modifier::DIM)),
    ])];
    let dim = Look::new().add_modifier(Modifier::DIM);
    let mut detail = |name: &str, text: &str| lines.extend(folded(name, dim, text, width));
    match &check.result {
        CheckOutcome::Holds { saw } => detail("saw", saw),
        CheckOutcome::Blocked { by } => detail("waits for:", claim_of(view.judgement, by)),
        CheckOutcome::CannotTell { why } => detail("cannot tell:", why),
        CheckOutcome::Fails { saw, expected, mistake: None } => {
            detail("saw", saw);
            detail("expected", expected);
        }
        CheckOutcome::Fails { saw, mistake: Some(mistake), .. } => {
            detail("saw", saw);
            let yellow = paint(style, Color::Yellow);
            lines.extend(folded("mistake:", yellow, &mistake.explanation, width));
            lines.extend(folded("hint:", yellow, &mistake.hint, width));
        }
    }
    lines
}

fn claim_of<'j>(judged: &'j Judgement, id: &'j str) -> &'j str {
    judged.checks.iter().find(|check| check.id == id).map_or(id, |check| &check.claim)
}

/// `text` after `name`, folded to the width, set in below the check that it belongs to.
fn folded(name: &str, look: Look, text: &str, width: usize) -> Vec<Line<'static>> {
    let head = format!("    {name} ");
    let lines = fold(text, width, &head, "      ").into_iter();
    let painted = lines.map(|line| match line.strip_prefix(&head) {
        Some(rest) => {
            Line::from(vec![Span::styled(head.clone(), look), Span::raw(rest.to_owned())])
        }
        None => Line::from(line),
    });
    painted.collect()
}

fn tree_lines(view: &View) -> Vec<Line<'static>> {
    let mut lines: Vec<Line> =
        view.tree.iter().map(|branch| branch_line(branch, view.style)).collect();
    if lines.is_empty() {
        lines.push(Line::from("nothing yet: work in another terminal"));
    }
    if view.tree.iter().any(|branch| !branch.differs.is_empty()) {
        lines.push(Line::default());
        lines.push(Line::from("after →, its PID inside; then the"));
        lines.push(Line::from("namespaces that are not yours"));
    }
    lines
}

fn branch_line(branch: &Branch, style: Style) -> Line<'static> {
    let look =
        if branch.is_subject { Look::new().add_modifier(Modifier::BOLD) } else { Look::new() };
    let kinds = branch.differs.iter().map(|kind| format!(" {kind}")).collect::<String>();
    Line::from(vec![
        Span::styled(branch.name.clone(), look),
        Span::styled(format!(" {kinds}"), paint(style, Color::Cyan)),
    ])
}

fn paint(style: Style, color: Color) -> Look {
    if style.is_colored() { Look::new().fg(color) } else { Look::new() }
}

fn wrapped_height(text: &str, width: u16) -> u16 {
    let width = usize::from(width.max(1));
    let lines = text.lines().map(|line| line.chars().count().div_ceil(width).max(1));
    u16::try_from(lines.sum::<usize>()).unwrap_or(u16::MAX).min(6)
}
