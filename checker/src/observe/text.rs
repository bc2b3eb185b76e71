//! What the parsers of the kernel's text files have in common. No I/O.

/// A line that does not look as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Its number, from 1.
    pub line: usize,
    /// What should have been there.
    pub wanted: &'static str,
    /// What was there: the line, or the part of it in question, cut to a readable length.
    pub found: String,
}

impl Malformed {
    pub(super) fn new(line: usize, wanted: &'static str, found: &[u8]) -> Malformed {
        const READABLE: usize = 200;
        let found = &found[..found.len().min(READABLE)];
        Malformed { line, wanted, found: found.escape_ascii().to_string() }
    }
}

/// The lines of a file with their numbers, from 1. The newline at the end makes no empty line.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut rest = text;
    let mut number = 0;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        number += 1;
        let (line, after) = match memchr::memchr(b'\n', rest) {
            Some(end) => (&rest[..end], &rest[end + 1..]),
            None => (rest, &rest[rest.len()..]),
        };
        rest = after;
        Some((number, line))
    })
}

/// The words of a line: what is between blanks and tabs.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty())
}

/// A number in decimal digits, nothing else.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    in_base(digits, 10)
}

/// A number in hexadecimal digits, nothing else.
pub(super) fn hexadecimal(digits: &[u8]) -> Option<u64> {
    in_base(digits, 16)
}

fn in_base(digits: &[u8], base: u32) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u64, |number, byte| {
        let digit = char::from(*byte).to_digit(base)?;
        number.checked_mul(u64::from(base))?.checked_add(u64::from(digit))
    })
}

/// A number with or without a minus sign.
pub(super) fn signed(digits: &[u8]) -> Option<i64> {
    match digits.strip_prefix(b"-") {
        Some(digits) => 0i64.checked_sub_unsigned(decimal(digits)?),
        None => i64::try_from(decimal(digits)?).ok(),
    }
}

/// The text of the kernel's bytes; what is not UTF-8 becomes U+FFFD.
pub(super) fn lossy(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// A file that is one line with one value.
pub(super) fn parse_value<T>(
    text: &[u8],
    wanted: &'static str,
    parse: impl Fn(&[u8]) -> Option<T>,
) -> Result<T, Malformed> {
    let value = text.trim_ascii();
    parse(value).ok_or_else(|| Malformed::new(1, wanted, value))
}

/// The value of `key` in a file of lines `key value` (cgroup-v2.rst calls it flat keyed).
pub(super) fn parse_keyed(text: &[u8], key: &str) -> Result<Option<u64>, Malformed> {
    for (number, line) in lines(text) {
        let Some(value) = line.strip_prefix(key.as_bytes()).and_then(|l| l.strip_prefix(b" "))
        else {
            continue;
        };
        let value = decimal(value.trim_ascii());
        return value.map(Some).ok_or_else(|| Malformed::new(number, "a key and a number", line));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_numbered_from_one_and_may_lack_the_last_newline() {
        let expected: Vec<(usize, &[u8])> = vec![(1, b"a"), (2, b""), (3, b"b")];
        assert_eq!(lines(b"a\n\nb\n").collect::<Vec<_>>(), expected);
        assert_eq!(lines(b"a\n\nb").collect::<Vec<_>>(), expected);
        assert_eq!(lines(b"").count(), 0);
    }

    #[test]
    fn numbers_are_read_up_to_the_largest() {
        assert_eq!(decimal(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(hexadecimal(b"000001fffeffffff"), Some(0x1ff_feff_ffff));
        assert_eq!(signed(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(signed(b"7"), Some(7));
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in [&b""[..], b"-", b"+1", b" 1", b"1a", b"18446744073709551616"] {
            assert_eq!(decimal(text), None, "{}", text.escape_ascii());
        }
        assert_eq!(hexadecimal(b"fg"), None);
        assert_eq!(signed(b"--1"), None);
        assert_eq!(signed(b"9223372036854775808"), None);
    }

    #[test]
    fn a_key_is_found_only_as_a_whole_word() {
        let text = b"oom 1\noom_kill 2\n";
        assert_eq!(parse_keyed(text, "oom_kill"), Ok(Some(2)));
        assert_eq!(parse_keyed(text, "oom"), Ok(Some(1)));
        assert_eq!(parse_keyed(text, "kill"), Ok(None));
    }

    #[test]
    fn a_key_without_a_number_is_malformed() {
        let fault = parse_keyed(b"low 0\noom_kill x\n", "oom_kill").unwrap_err();
        assert_eq!((fault.line, fault.found.as_str()), (2, "oom_kill x"));
    }

    #[test]
    fn odd_bytes_become_text() {
        assert_eq!(lossy(b"a\xffb"), "a\u{fffd}b");
        assert_eq!(Malformed::new(1, "x", b"\x1b[2J\n").found, "\\x1b[2J\\n");
    }
}
