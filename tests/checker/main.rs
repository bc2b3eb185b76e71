//! The command podlab, run on the real kernel.

#[path = "../support/mod.rs"]
mod support;
