//! The book: its links, its quoted code, its transcripts.

#[path = "../support/mod.rs"]
mod support;

mod chapters;
mod links;
mod pictures;
mod quotes;
mod serving;
mod sources;
mod transcript;
