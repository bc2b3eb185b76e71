//! The command podlab, run on the real kernel.

#[path = "../support/check.rs"]
#[allow(dead_code, unreachable_pub, reason = "what the tests of several exercises share")]
mod check;
#[path = "../support/means.rs"]
#[allow(dead_code, unreachable_pub, reason = "what the tests of several exercises share")]
mod means;
mod observe;
#[path = "../support/outside.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the virtual machine's tests")]
mod outside;
#[path = "../support/screen.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with a benchmark")]
mod screen;
#[path = "../support/mod.rs"]
mod support;

mod cli;
mod fake_init;
mod formats;
mod locked_room;
mod memory_group;
mod oom_once;
mod recover_the_program;
mod remote;
mod room;
mod three_deep;
mod tour;
mod two_lives;
mod vm_command;
mod watch;
