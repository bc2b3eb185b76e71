//! The virtual machine: the foundation's labs and exercises on pure cgroup v2 with systemd, judged from
//! outside; and the tools that run it.

mod accel;
mod checker;
mod command;
mod foundation;
mod image;
mod inside;
mod judge;
mod lima;
mod machine;
mod node;
#[path = "../support/outside.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the tests that run in the machine")]
mod outside;
mod programs;
mod qemu;
#[path = "../support/mod.rs"]
mod support;
mod vagrant;
mod world;
