//! The terminal: raw mode and the alternate screen, given back whatever happens.

use std::collections::VecDeque;
use std::io::{IsTerminal, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use ratatui::DefaultTerminal;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::Error;

use super::screen::{self, View};

const ESCAPE: u8 = 0x1b;

/// The terminal while the live screen has it.
pub(super) struct Terminal {
    inner: DefaultTerminal,
    signals: SignalFd,
    /// When to look next at what nobody tells.
    next_look: Instant,
    size: ratatui::layout::Size,
    /// Keys that came in one go with another.
    keys: VecDeque<u8>,
}

/// Why waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// A key.
    Key(u8),
    /// A signal, or the terminal is gone.
    Quit,
    /// The window has another size.
    Resized,
    /// The kernel told of a change.
    Told,
    /// An experiment has ended.
    ExperimentDone,
    /// Time to look at what nobody tells.
    TimeToLook,
    /// What was due is due.
    Due,
}

impl Terminal {
    /// Takes the terminal.
    ///
    /// # Errors
    ///
    /// When standard input or output is none.
    pub(super) fn open() -> Result<Terminal, Error> {
        if !(stdin().is_terminal() && stdout().is_terminal()) {
            return Err(Error::new("watch: standard input and output are not a terminal")
                .hint("podlab check judges once, anywhere"));
        }
        let failed = |error: std::io::Error| Error::new(format!("terminal: {error}"));
        let signals = block_signals().map_err(|errno| failed(errno.into()))?;
        let inner = ratatui::try_init().map_err(failed)?;
        let size = inner.size().map_err(failed)?;
        Ok(Terminal { inner, signals, next_look: Instant::now(), size, keys: VecDeque::new() })
    }

    /// Draws.
    ///
    /// # Errors
    ///
    /// When the terminal cannot be written to.
    pub(super) fn draw(&mut self, view: &View) -> Result<(), Error> {
        let drawn = self.inner.draw(|frame| screen::draw(frame, view));
        drawn.map(|_| ()).map_err(|error| Error::new(format!("terminal: {error}")))
    }

    /// Waits until something happens, or it is time to look again, or `due`.
    ///
    /// # Errors
    ///
    /// As poll(2).
    pub(super) fn wait(
        &mut self,
        told: &[BorrowedFd],
        experiment: &OwnedFd,
        look_every: Duration,
        due: Option<Instant>,
    ) -> Result<Wake, Error> {
        loop {
            if let Some(key) = self.keys.pop_front() {
                return Ok(Wake::Key(key));
            }
            let now = Instant::now();
            if due.is_some_and(|due| now >= due) {
                return Ok(Wake::Due);
            }
            if now >= self.next_look {
                self.next_look = now + look_every;
                return Ok(if self.was_resized() { Wake::Resized } else { Wake::TimeToLook });
            }
            let until = due.map_or(self.next_look, |due| due.min(self.next_look));
            if let Some(wake) = self.wait_once(told, experiment, until - now)? {
                return Ok(wake);
            }
        }
    }

    fn wait_once(
        &mut self,
        told: &[BorrowedFd],
        experiment: &OwnedFd,
        timeout: Duration,
    ) -> Result<Option<Wake>, Error> {
        let input = stdin();
        let first = [input.as_fd(), self.signals.as_fd(), experiment.as_fd()];
        let files = first.into_iter().chain(told.iter().copied());
        let mut files: Vec<PollFd> =
            files.map(|file| PollFd::from_borrowed_fd(file, PollFlags::IN)).collect();
        wait_for(&mut files, Some(timeout))?;
        let ready = |at: usize| !files[at].revents().is_empty();
        Ok(match () {
            () if ready(0) => self.read_keys(),
            () if ready(1) => Some(Wake::Quit),
            () if ready(2) => Some(Wake::ExperimentDone),
            () if (3..files.len()).any(ready) => Some(Wake::Told),
            () => None,
        })
    }

    /// Waits for a key or a signal.
    ///
    /// # Errors
    ///
    /// As poll(2).
    pub(super) fn wait_for_key(&mut self) -> Result<Wake, Error> {
        loop {
            if let Some(key) = self.keys.pop_front() {
                return Ok(Wake::Key(key));
            }
            let input = stdin();
            let mut files = [input.as_fd(), self.signals.as_fd()]
                .map(|file| PollFd::from_borrowed_fd(file, PollFlags::IN));
            wait_for(&mut files, None)?;
            let [typed, signalled] = files.map(|file| !file.revents().is_empty());
            match () {
                () if signalled => return Ok(Wake::Quit),
                () if typed && self.read_keys().is_some() => return Ok(Wake::Quit),
                () => {}
            }
        }
    }

    /// Takes in what was typed. Says when there will be no more.
    fn read_keys(&mut self) -> Option<Wake> {
        let mut bytes = [0; 64];
        match rustix::io::read(stdin(), &mut bytes) {
            Ok(0) | Err(_) => return Some(Wake::Quit),
            Ok(length) => self.keys.extend(keys(&bytes[..length])),
        }
        None
    }

    fn was_resized(&mut self) -> bool {
        let size = self.inner.size().unwrap_or(self.size);
        std::mem::replace(&mut self.size, size) != size
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// The keys among these bytes: one byte is one key. A sequence such as an arrow's, escape `[` and on
/// to a letter, is none of ours.
fn keys(bytes: &[u8]) -> Vec<u8> {
    let mut keys = Vec::new();
    let mut rest = bytes.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != ESCAPE {
            keys.push(byte);
        } else if matches!(rest.next(), Some(b'[' | b'O')) {
            rest.by_ref().find(u8::is_ascii_alphabetic);
        }
    }
    keys
}

/// From now on these signals are read, not suffered, so that the terminal is given back first.
fn block_signals() -> nix::Result<SignalFd> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block()?;
    SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

fn wait_for(files: &mut [PollFd], timeout: Option<Duration>) -> Result<(), Error> {
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    match poll(files, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(Error::new(format!("poll: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::keys;

    #[test]
    fn an_arrow_is_no_key_and_those_around_it_are() {
        assert_eq!(keys(b"h\x1b[Aq"), b"hq");
        assert_eq!(keys(b"\x1b[1;5Bn"), b"n");
        assert_eq!(keys(b"\x1b"), b"");
    }
}
