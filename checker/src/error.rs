//! What a learner is told when podlab cannot do what was asked.

use std::fmt;
use std::path::Path;

/// One lower-case line that names what is wrong, and where there is one, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    message: String,
    hint: Option<String>,
}

impl Error {
    /// An error of one line.
    pub fn new(message: impl Into<String>) -> Error {
        Error { message: one_line(&message.into()), hint: None }
    }

    /// An error about a file.
    pub fn file(path: &Path, error: impl fmt::Display) -> Error {
        Error::new(format!("{}: {}", path.display(), lower(&error.to_string())))
    }

    /// Its message and its hint.
    pub fn parts(self) -> (String, Option<String>) {
        (self.message, self.hint)
    }

    /// The same error with advice.
    pub fn hint(self, hint: impl Into<String>) -> Error {
        Error { hint: Some(one_line(&hint.into())), ..self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

fn one_line(text: &str) -> String {
    crate::report::printable(text.lines().next().unwrap_or_default())
}

/// `No such file or directory (os error 2)` as this program says it.
pub(crate) fn lower(text: &str) -> String {
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    let Some(first) = letters.next() else { return String::new() };
    // An abbreviation such as EOF stays one.
    if letters.clone().next().is_some_and(char::is_uppercase) {
        return text.to_owned();
    }
    first.to_lowercase().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_lower_case_line_and_a_hint() {
        let error = std::io::Error::from_raw_os_error(libc::ENOENT);
        let error = Error::file(Path::new("/no/such"), error).hint("look elsewhere");
        assert_eq!(error.to_string(), "/no/such: no such file or directory\nhint: look elsewhere");
    }

    #[test]
    fn what_others_wrote_cannot_steer_the_terminal() {
        assert_eq!(Error::new("a\u{1b}[2Jb\nc").to_string(), "a\\u{1b}[2Jb");
    }
}
