//! `/proc/PID/stat` (proc_pid_stat(5)).

use super::text::{Malformed, decimal, lossy, signed};
use crate::facts::State;

/// The fields of `/proc/PID/stat` that are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Field 2, without its brackets.
    pub comm: String,
    /// Field 3.
    pub state: State,
    /// Field 4: the PID of the parent.
    pub parent: i32,
    /// Field 22: start time in clock ticks since boot.
    pub start: u64,
}

/// Parses the text of `/proc/PID/stat`. A name may itself contain brackets, blanks and newlines, so
/// the fields behind it are counted from the last bracket.
pub fn parse_stat(text: &[u8]) -> Result<Stat, Malformed> {
    parse(text)
        .ok_or_else(|| Malformed::new(1, "'pid (comm) state ppid …' with at least 22 fields", text))
}

fn parse(text: &[u8]) -> Option<Stat> {
    let open = memchr::memchr(b'(', text)?;
    let close = memchr::memrchr(b')', text)?;
    let comm = lossy(text.get(open + 1..close)?);
    let mut fields = text[close + 1..].trim_ascii().split(|byte| *byte == b' ');
    let &[letter] = fields.next()? else { return None };
    let state = State::from_letter(char::from(letter));
    let parent = i32::try_from(signed(fields.next()?)?).ok()?;
    // Field 5 is next.
    let start = decimal(fields.nth(22 - 5)?)?;
    Some(Stat { comm, state, parent, start })
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "S 1 4 4 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 98765 3136 419 18";

    #[test]
    fn the_fields_are_those_of_the_manual_page() {
        let stat = parse_stat(format!("4 (sleep) {REST}\n").as_bytes()).unwrap();
        let expected =
            Stat { comm: "sleep".to_owned(), state: State::Sleeping, parent: 1, start: 98765 };
        assert_eq!(stat, expected);
    }

    #[test]
    fn a_name_that_looks_like_the_rest_of_the_line_is_still_a_name() {
        for comm in [") Z (", "a) Z 9 (b", "", "(", ")", "two\nlines", " ", "((((("] {
            let stat = parse_stat(format!("4 ({comm}) {REST}\n").as_bytes()).unwrap();
            assert_eq!((stat.comm.as_str(), stat.state, stat.parent), (comm, State::Sleeping, 1));
        }
    }

    #[test]
    fn a_name_cut_within_a_letter_is_still_text() {
        let text = [b"4 (\xc3) ".as_slice(), REST.as_bytes()].concat();
        assert_eq!(parse_stat(&text).unwrap().comm, "\u{fffd}");
    }

    #[test]
    fn a_line_that_ends_early_is_malformed() {
        for text in ["", "4", "4 (sleep", "4 (sleep)", "4 (sleep) S", "4 (sleep) S 1 4 4 0 -1"] {
            let fault = parse_stat(text.as_bytes()).unwrap_err();
            assert_eq!(fault.line, 1, "{text}");
        }
    }

    #[test]
    fn a_field_of_another_kind_is_malformed() {
        assert!(
            parse_stat(format!("4 (sleep) {}", REST.replacen('1', "x", 1)).as_bytes()).is_err()
        );
        assert!(
            parse_stat(format!("4 (sleep) {}", REST.replace("98765", "-1")).as_bytes()).is_err()
        );
        assert!(parse_stat(format!("4 (sleep) {}", REST.replace('S', "SS")).as_bytes()).is_err());
    }
}
