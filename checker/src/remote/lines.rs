//! Lines of bounded length from a pipe, waited for with patience of bounded length.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Reads a pipe line by line.
pub(super) struct Lines<F> {
    file: F,
    longest: usize,
    read: Vec<u8>,
    /// No line ends before this.
    searched: usize,
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A line, without its end.
    Line(Vec<u8>),
    /// Nothing yet.
    Silence,
    /// No more will come: the end, an error, or a line longer than any that is expected.
    End,
}

impl<F: AsFd> Lines<F> {
    /// Of this pipe.
    pub(super) fn of(file: F, longest: usize) -> Lines<F> {
        Lines { file, longest, read: Vec::new(), searched: 0 }
    }

    /// The next line; waits at most so long for a part of it to come.
    pub(super) fn next(&mut self, patience: Duration) -> Next {
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.read[self.searched..]) {
                let mut line: Vec<u8> = self.read.drain(..=self.searched + at).collect();
                line.pop();
                self.searched = 0;
                return Next::Line(line);
            }
            self.searched = self.read.len();
            if self.searched > self.longest {
                return Next::End;
            }
            match self.read_more(patience) {
                Ok(0) => return Next::End,
                Ok(_) => {}
                Err(Errno::TIMEDOUT) => return Next::Silence,
                Err(_) => return Next::End,
            }
        }
    }

    fn read_more(&mut self, patience: Duration) -> rustix::io::Result<usize> {
        wait_readable(&self.file, patience)?;
        let mut part = [0; 64 << 10];
        let length = rustix::io::read(&self.file, &mut part)?;
        self.read.extend_from_slice(&part[..length]);
        Ok(length)
    }
}

fn wait_readable(file: &impl AsFd, patience: Duration) -> rustix::io::Result<()> {
    let until = Instant::now() + patience;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        match poll(&mut [PollFd::new(file, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Err(Errno::TIMEDOUT),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const AT_ONCE: Duration = Duration::ZERO;

    #[test]
    fn a_line_comes_whole_however_it_was_written() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut lines = Lines::of(reader, 100);
        writer.write_all(b"one\n\ntw").unwrap();
        assert_eq!(lines.next(AT_ONCE), Next::Line(b"one".to_vec()));
        assert_eq!(lines.next(AT_ONCE), Next::Line(b"".to_vec()));
        assert_eq!(lines.next(AT_ONCE), Next::Silence);
        writer.write_all(b"o\nrest").unwrap();
        assert_eq!(lines.next(AT_ONCE), Next::Line(b"two".to_vec()));
        drop(writer);
        assert_eq!(lines.next(AT_ONCE), Next::End);
    }

    #[test]
    fn a_line_that_does_not_end_is_the_end() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let mut lines = Lines::of(reader, 100);
        writer.write_all(&[b'x'; 101]).unwrap();
        assert_eq!(lines.next(AT_ONCE), Next::End);
    }
}
