//! The course: one table of chapters and labs. Exercises name their chapter themselves.

use crate::exercise::Exercise;
use crate::exercises;

/// A chapter of the book.
#[derive(Debug, PartialEq, Eq)]
pub struct Chapter {
    /// Its number in the course.
    pub number: u8,
    /// Its file in `book/src`, without `.md`.
    pub stem: &'static str,
    /// Its title.
    pub title: &'static str,
    /// The labs that it runs.
    pub labs: &'static [Lab],
}

/// A lab: one experiment, one program.
#[derive(Debug, PartialEq, Eq)]
pub struct Lab {
    /// The program's name.
    pub name: &'static str,
    /// What it shows.
    pub shows: &'static str,
}

/// The chapters there are, in their order.
pub const CHAPTERS: &[Chapter] = &[
    Chapter {
        number: 1,
        stem: "program-and-process",
        title: "A program is a file, a process is a life",
        labs: &[Lab {
            name: "program-and-process",
            shows: "one program file, two processes; then the file is deleted",
        }],
    },
    Chapter {
        number: 5,
        stem: "fake-init",
        title: "A fake init",
        labs: &[Lab { name: "fake-init", shows: "PID 1 inside, an ordinary PID outside" }],
    },
    Chapter {
        number: 11,
        stem: "joining",
        title: "Joining: what docker exec does",
        labs: &[Lab { name: "setns-join", shows: "entering the namespaces of another process" }],
    },
    Chapter {
        number: 14,
        stem: "memory-limit",
        title: "Memory, and the end of it",
        labs: &[Lab { name: "memory-limit", shows: "a limit, an allocation, a kill" }],
    },
];

impl Chapter {
    /// Its exercises.
    pub fn exercises(&self) -> impl Iterator<Item = &'static Exercise> {
        exercises::ALL.iter().filter(|exercise| exercise.chapter == self.stem)
    }
}

/// The chapter with this stem.
pub fn chapter(stem: &str) -> Option<&'static Chapter> {
    CHAPTERS.iter().find(|chapter| chapter.stem == stem)
}

/// Every lab, in the order of the course.
pub fn labs() -> impl Iterator<Item = &'static Lab> + Clone {
    CHAPTERS.iter().flat_map(|chapter| chapter.labs)
}
