//! podlab: reads the kernel and says what of an exercise holds, what does not, and why.
//!
//! Facts flow one way: [`observe`] and `probe` read the kernel into [`facts`], here or, through
//! [`remote`], on another machine; the exercises and the judge look at nothing but facts; `report` prints
//! what the judge said.

pub mod book;
pub mod caller;
pub mod checkout;
pub mod cli;
pub mod course;
pub mod doctor;
pub mod error;
pub mod exercise;
pub mod exercises;
pub mod facts;
pub mod judge;
pub mod machine;
pub mod observe;
pub mod params;
pub mod probe;
pub mod progress;
pub mod remote;
pub mod report;
pub mod room;
pub mod session;
pub mod tour;
pub mod vm;
pub mod watch;
