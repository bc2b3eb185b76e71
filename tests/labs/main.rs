//! The labs, run on the real kernel.

#[path = "../support/mod.rs"]
mod support;

mod ending;
mod fake_init;
mod memory_limit;
mod program_and_process;
mod setns_join;
mod who;
