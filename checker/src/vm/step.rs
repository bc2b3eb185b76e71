//! One command of a tool's, and how it is getting on, in one line.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, IsTerminal, PipeReader, Write as _};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use ratatui::crossterm::terminal;

use crate::error::Error;
use crate::report::printable;

/// What a tool is started for.
#[derive(Debug)]
pub struct Step {
    /// As `booting`.
    doing: &'static str,
    command: Command,
}

/// How many of its last lines are shown when it fails.
const LAST: usize = 20;

/// How long a tool that has ended may leave its output open.
const LAST_WORDS: Duration = Duration::from_millis(200);

enum Event {
    Line(String),
    Ended(std::io::Result<ExitStatus>),
}

impl Step {
    pub(super) fn new(doing: &'static str, command: Command) -> Step {
        Step { doing, command }
    }

    /// Runs it to its end and shows how it is getting on: on a terminal in one line, elsewhere by all
    /// that it says. `began`: since when the seconds are counted.
    ///
    /// # Errors
    ///
    /// When it fails; what it said last is shown before.
    pub fn run(self, name: &str, began: Instant) -> Result<(), Error> {
        let mut line = Line { doing: format!("{} {name}", self.doing), began, said: Vec::new() };
        // Ctrl-C is the tool's, which has things to put away; its end is ours.
        let interrupt = SigSet::from(Signal::SIGINT);
        let _ = interrupt.thread_block();
        let status = follow(self.command, &mut line);
        line.clear();
        let _ = interrupt.thread_unblock();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(line.failure(status)),
            Err(error) => Err(Error::new(format!("{}: {error}", line.doing))),
        }
    }

    /// What a script of the course's said was wrong: its last line that is no hint, and the hint.
    pub(super) fn error_of(said: &str) -> Error {
        let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        let (hints, rest): (Vec<&str>, Vec<&str>) =
            lines.into_iter().partition(|line| line.starts_with("hint: "));
        let error = Error::new(*rest.last().unwrap_or(&"it failed and did not say why"));
        let hint = hints.last().and_then(|hint| hint.strip_prefix("hint: "));
        hint.into_iter().fold(error, Error::hint)
    }
}

/// Runs `command`, telling `line` what it says.
fn follow(mut command: Command, line: &mut Line) -> std::io::Result<ExitStatus> {
    let (output, writer) = std::io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer);
    let child = command.spawn()?;
    // It holds writing ends.
    drop(command);
    let (sender, events) = channel();
    let ends = sender.clone();
    std::thread::spawn(move || read(output, &sender));
    std::thread::spawn(move || wait(child, &ends));
    line.follow(&events)
}

fn read(output: PipeReader, events: &Sender<Event>) {
    let mut output = BufReader::new(output);
    let mut bytes = Vec::new();
    // A line that is written over ends by a carriage return.
    while output.read_until(b'\n', &mut bytes).is_ok_and(|length| length > 0) {
        for part in bytes.split(|byte| matches!(byte, b'\r' | b'\n')) {
            let text = printable(String::from_utf8_lossy(part).trim_end());
            if !text.is_empty() && events.send(Event::Line(text)).is_err() {
                return;
            }
        }
        bytes.clear();
    }
}

fn wait(mut child: Child, events: &Sender<Event>) {
    let _ = events.send(Event::Ended(child.wait()));
}

/// The one line that is shown, and what came before.
struct Line {
    doing: String,
    began: Instant,
    said: Vec<String>,
}

impl Line {
    fn follow(&mut self, events: &Receiver<Event>) -> std::io::Result<ExitStatus> {
        let mut ended = None;
        loop {
            self.draw();
            let patience = if ended.is_some() { LAST_WORDS } else { Duration::from_secs(1) };
            match events.recv_timeout(patience) {
                Ok(Event::Line(text)) => self.say(text),
                Ok(Event::Ended(status)) => ended = Some(status),
                Err(error) => match ended {
                    Some(status) => return status,
                    None if error == RecvTimeoutError::Timeout => {}
                    None => unreachable!("the thread that waits says so first"),
                },
            }
        }
    }

    fn say(&mut self, text: String) {
        if !is_terminal() {
            eprintln!("{:>4} s  {text}", self.began.elapsed().as_secs());
        }
        self.said.push(text);
    }

    fn draw(&self) {
        if !is_terminal() {
            return;
        }
        let mut shown = format!("{}  {} s", self.doing, self.began.elapsed().as_secs());
        if let Some(last) = self.said.last() {
            let _ = write!(shown, "  {last}");
        }
        // A terminal that does not know its width says 0.
        let width = terminal::size().ok().map(|(width, _)| width).filter(|width| *width > 0);
        let width = usize::from(width.unwrap_or(80));
        let shown: String = shown.chars().take(width - 1).collect();
        eprint!("\r\u{1b}[K{shown}");
        let _ = std::io::stderr().flush();
    }

    fn clear(&self) {
        if is_terminal() {
            eprint!("\r\u{1b}[K");
        }
    }

    /// Shows what was said last, unless it was all shown.
    fn failure(&self, status: ExitStatus) -> Error {
        if is_terminal() {
            let first = self.said.len().saturating_sub(LAST);
            self.said[first..].iter().for_each(|line| eprintln!("{line}"));
        }
        let text = self.said.join("\n");
        // The scripts of the course end with what was wrong.
        match self.said.iter().rev().find(|line| !line.starts_with("hint: ")) {
            Some(line) if line.starts_with("vm/") => Step::error_of(&text),
            _ => Error::new(format!("{}: it ended with {status}", self.doing)),
        }
    }
}

fn is_terminal() -> bool {
    std::io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_script_said_was_wrong_is_its_last_line_and_the_hint_below() {
        let error = Step::error_of("[ 1.0] console\nvm/qemu: it is broken\nhint: mend it\n");
        assert_eq!(error.to_string(), "vm/qemu: it is broken\nhint: mend it");
        assert_eq!(Step::error_of("vm/qemu: broken").to_string(), "vm/qemu: broken");
    }

    #[test]
    fn a_tool_that_fails_is_an_error_and_one_that_succeeds_is_not() {
        let shell = |script| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            Step::new("trying", command).run("it", Instant::now())
        };
        assert_eq!(shell("echo fine"), Ok(()));
        let error = shell("echo some; echo 'vm/x: no'; echo 'hint: yes' >&2; exit 3").unwrap_err();
        assert_eq!(error.to_string(), "vm/x: no\nhint: yes");
        let error = shell("exit 3").unwrap_err();
        assert_eq!(error.to_string(), "trying it: it ended with exit status: 3");
    }
}
