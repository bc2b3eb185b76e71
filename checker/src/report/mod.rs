//! Renders what the judge said. Never reads the kernel.

pub mod style;
pub mod tap;
pub mod text;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::judge::Judgement;

/// The document that `podlab check --format json` writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Always [`Report::SCHEMA`].
    pub schema: String,
    /// The version of podlab that judged.
    pub podlab: String,
    /// The machine that was looked at, as `--on` named it; absent where podlab looked at its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// What was judged.
    pub exercises: Vec<Judgement>,
}

impl Report {
    /// Name and version of this document's schema.
    pub const SCHEMA: &'static str = "podlab/report/v1";

    /// A report by this version of podlab.
    pub fn new(exercises: Vec<Judgement>) -> Report {
        Report {
            schema: Report::SCHEMA.to_owned(),
            podlab: env!("CARGO_PKG_VERSION").to_owned(),
            on: None,
            exercises,
        }
    }
}

/// `text` with control characters made visible: names of processes and files are other people's
/// words, and a terminal obeys them.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_harmless(letter) {
            shown.push(letter);
        } else {
            shown.extend(letter.escape_default());
        }
    }
    shown
}

/// `text`, printable, folded to `width` columns; `first` before the first line, `rest` before the
/// others. Only at spaces: paths and options stay whole.
pub fn fold(text: &str, width: usize, first: &str, rest: &str) -> Vec<String> {
    let options = textwrap::Options::new(width)
        .initial_indent(first)
        .subsequent_indent(rest)
        .word_separator(textwrap::WordSeparator::AsciiSpace)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::wrap(&printable(text), options).into_iter().map(String::from).collect()
}

/// Neither a control character nor one that turns the direction of writing.
fn is_harmless(letter: char) -> bool {
    !letter.is_control()
        && !matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
