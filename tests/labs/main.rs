//! The labs, run on the real kernel.

#[path = "../support/mod.rs"]
mod support;

mod fake_init;
mod memory_limit;
