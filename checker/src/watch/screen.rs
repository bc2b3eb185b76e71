//! What the live screen shows, drawn from data alone.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style as Look};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Wrap};

use crate::judge::{CheckOutcome, CheckResult, Judgement, MistakeMade};
use crate::report::printable;
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
    pub(super) judgement: Option<&'a Judgement>,
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
        Layout::vertical([Constraint::Percentage(75), Constraint::Percentage(25)]).areas(area)
    };
    let block = Block::bordered().title(format!(" {} ", view.title));
    let lines = Paragraph::new(exercise_lines(view)).block(block).wrap(Wrap { trim: false });
    frame.render_widget(lines, exercise);
    let block = Block::bordered().title(" what you started ");
    frame.render_widget(Paragraph::new(tree_lines(view)).block(block), processes);
}

fn exercise_lines<'a>(view: &View<'a>) -> Vec<Line<'a>> {
    let mut lines: Vec<Line> = view.task.lines().map(Line::from).collect();
    lines.push(Line::default());
    let Some(judged) = view.judgement else {
        lines.push(Line::from("reading the kernel"));
        return lines;
    };
    for check in &judged.checks {
        lines.extend(check_lines(check, view.style));
    }
    lines.push(Line::default());
    lines.push(Line::from(format!("{} of {} points", judged.points, judged.points_possible)));
    lines
}

fn check_lines(check: &CheckResult, style: Style) -> Vec<Line<'static>> {
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
    match &check.result {
        CheckOutcome::Holds { saw } => lines.push(detail("saw", saw)),
        CheckOutcome::Blocked { by } => lines.push(detail("needs", by)),
        CheckOutcome::CannotTell { why } => lines.push(detail("cannot tell", why)),
        CheckOutcome::Fails { saw, expected, mistake } => {
            lines.push(detail("saw", saw));
            match mistake {
                Some(mistake) => lines.extend(mistake_lines(mistake, style)),
                None => lines.push(detail("expected", expected)),
            }
        }
    }
    lines
}

fn detail(name: &str, text: &str) -> Line<'static> {
    let dim = Look::new().add_modifier(Modifier::DIM);
    Line::from(vec![Span::styled(format!("    {name} "), dim), Span::raw(printable(text))])
}

fn mistake_lines(mistake: &MistakeMade, style: Style) -> [Line<'static>; 2] {
    let line = |name: &str, text: &str| {
        let look = paint(style, Color::Yellow);
        Line::from(vec![Span::styled(format!("    {name} "), look), Span::raw(text.to_owned())])
    };
    [line("mistake:", &mistake.explanation), line("hint:", &mistake.hint)]
}

fn tree_lines(view: &View) -> Vec<Line<'static>> {
    let mut lines: Vec<Line> =
        view.tree.iter().map(|branch| branch_line(branch, view.style)).collect();
    if lines.is_empty() {
        lines.push(Line::from("nothing yet: work in another terminal"));
    } else {
        lines.push(Line::default());
        lines.push(Line::from("beside a name: namespaces that are not yours"));
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
