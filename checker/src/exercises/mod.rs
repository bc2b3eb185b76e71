//! The exercises, in the order of the course: one table, from which list, help, check, report, the
//! book's tests and completion are read.

mod fake_init;
mod locked_room;
mod memory_group;
mod oom_once;
mod pid_view;
mod recover_the_program;
mod three_deep;
mod two_lives;

pub use fake_init::mark as fake_init_mark;

use crate::exercise::Exercise;

/// Every exercise.
pub const ALL: &[Exercise] = &[
    two_lives::EXERCISE,
    recover_the_program::EXERCISE,
    fake_init::EXERCISE,
    three_deep::EXERCISE,
    locked_room::EXERCISE,
    oom_once::EXERCISE,
];

/// The exercise with this id.
pub fn by_id(id: &str) -> Option<&'static Exercise> {
    ALL.iter().find(|exercise| exercise.id == id)
}
