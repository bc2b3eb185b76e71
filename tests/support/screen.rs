//! A real terminal (a pty) around a command, and what its screen shows.

use std::io::{Read, Write};
use std::num::NonZero;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use pty_process::Size;
use pty_process::blocking::{Pty, open};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Far longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command in a terminal. It is ended when this is dropped.
pub struct Screen {
    child: Child,
    pty: Pty,
    terminal: vt100::Parser,
}

impl Screen {
    /// Starts `command` in a terminal of this size.
    pub fn new(mut command: Command, rows: u16, columns: u16) -> Screen {
        let (pty, inner) = open().expect("a pty");
        pty.resize(Size::new(rows, columns)).expect("the size of a pty");
        command.env("TERM", "xterm-256color").env_remove("NO_COLOR");
        let child = pty_process::blocking::Command::from(command).spawn(inner).expect("a child");
        Screen { child, pty, terminal: vt100::Parser::new(count(rows), count(columns), 0) }
    }

    /// The PID of the command.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the screen shows now.
    pub fn text(&self) -> String {
        self.terminal.screen().contents()
    }

    /// Whether the command drew on the alternate screen and has not given it back.
    pub fn is_alternate(&self) -> bool {
        self.terminal.screen().alternate_screen()
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.pty.write_all(keys.as_bytes()).expect("write to the terminal");
    }

    /// Gives the window another size.
    pub fn resize(&mut self, rows: u16, columns: u16) {
        self.pty.resize(Size::new(rows, columns)).expect("the size of a pty");
        self.terminal.screen_mut().set_size(count(rows), count(columns));
    }

    /// Waits until the screen shows what is wanted; the time that took.
    #[track_caller]
    pub fn until(&mut self, wanted: impl Fn(&str) -> bool) -> Duration {
        let began = Instant::now();
        while !wanted(&self.text()) {
            let left = PATIENCE.saturating_sub(began.elapsed());
            assert!(self.take_in(left), "the screen never showed it:\n{}", self.text());
        }
        began.elapsed()
    }

    /// Waits until the screen shows these words.
    #[track_caller]
    pub fn until_shows(&mut self, words: &str) -> Duration {
        self.until(|text| text.contains(words))
    }

    /// Takes in what is shown for this long.
    pub fn look_on(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.take_in(until.saturating_duration_since(Instant::now()));
        }
    }

    /// Waits for the command to end.
    pub fn ended(&mut self) -> ExitStatus {
        while self.take_in(PATIENCE) {}
        self.child.wait().expect("wait for the child")
    }

    /// Waits for output, at most this long, and shows it; false when there is none or no more.
    fn take_in(&mut self, patience: Duration) -> bool {
        let timeout = Timespec::try_from(patience).expect("a short time");
        let ready = poll(&mut [PollFd::new(&self.pty, PollFlags::IN)], Some(&timeout));
        if ready.expect("poll") == 0 {
            return false;
        }
        let mut bytes = [0; 16384];
        match self.pty.read(&mut bytes) {
            // A terminal without a process on the other side gives EIO.
            Ok(0) | Err(_) => false,
            Ok(length) => {
                self.terminal.process(&bytes[..length]);
                true
            }
        }
    }
}

fn count(cells: u16) -> NonZero<u16> {
    NonZero::new(cells).expect("a screen has cells")
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
