//! The book: its links, its quoted code, its transcripts.

#[path = "../support/mod.rs"]
mod support;

mod sources;
mod transcript;
