//! Colour and marks, or neither.

use std::io::IsTerminal;

/// When to use colour (`--color`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set or the terminal is dumb.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never; marks are words of ASCII then.
    Never,
}

/// How to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    colored: bool,
}

/// What a word means, from which its colour follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// It holds.
    Good,
    /// It fails.
    Bad,
    /// It could not be judged, or is only by the way.
    Dim,
    /// A heading.
    Strong,
}

impl Style {
    /// Neither colour nor marks outside ASCII.
    pub const PLAIN: Style = Style { colored: false };

    /// As asked for, for what goes to standard output.
    pub fn new(color: Color) -> Style {
        let set = |name| {
            std::env::var_os(name).is_some_and(|value: std::ffi::OsString| !value.is_empty())
        };
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let auto = std::io::stdout().is_terminal() && !set("NO_COLOR") && !dumb;
        Style {
            colored: match color {
                Color::Auto => auto,
                Color::Always => true,
                Color::Never => false,
            },
        }
    }

    /// Whether to use colour.
    pub fn is_colored(self) -> bool {
        self.colored
    }

    /// `text` in the colour of `tone`.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        if !self.colored {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Dim => "2",
            Tone::Strong => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// `fancy` where marks can be shown, else `plain`.
    pub fn mark(self, fancy: &'static str, plain: &'static str) -> &'static str {
        if self.colored { fancy } else { plain }
    }
}
