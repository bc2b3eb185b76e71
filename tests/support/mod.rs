//! What the integration tests of all packages share.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(unreachable_pub, reason = "included by path into several test binaries")]

pub mod docker;
pub mod footprint;
pub mod memory;
pub mod need;
pub mod running;
pub mod user;
