//! The kinds of files in a cgroup directory.

use std::ffi::CStr;

use crate::facts::{Limit, Reading};
use crate::observe::Error;
use crate::observe::read::{Buffer, Folder};
use crate::observe::text::{
    Malformed, decimal, lines, lossy, parse_keyed, parse_value, signed, words,
};

/// The files of one group.
pub(super) struct Files<'g> {
    pub(super) folder: &'g Folder,
    buffer: &'g mut Buffer,
}

impl<'g> Files<'g> {
    pub(super) fn new(folder: &'g Folder, buffer: &'g mut Buffer) -> Files<'g> {
        Files { folder, buffer }
    }

    /// A file of one number.
    pub(super) fn number(&mut self, name: &CStr) -> Result<Reading<u64>, Error> {
        self.parsed(name, |text| parse_value(text, "a number", decimal))
    }

    /// A file of 0 or 1.
    pub(super) fn flag(&mut self, name: &CStr) -> Result<Reading<bool>, Error> {
        self.parsed(name, |text| parse_value(text, "0 or 1", flag))
    }

    /// A file of one limit: a number or `max`.
    pub(super) fn limit(&mut self, name: &CStr) -> Result<Reading<Limit>, Error> {
        self.parsed(name, |text| parse_value(text, "a number or 'max'", limit))
    }

    /// A file of names on one line; none where it is not there.
    pub(super) fn names(&mut self, name: &CStr) -> Result<Vec<String>, Error> {
        let names = self.parsed(name, |text| Ok(words(text.trim_ascii()).map(lossy).collect()))?;
        Ok(match names {
            Reading::Known(names) => names,
            Reading::Denied(_) | Reading::Absent => Vec::new(),
        })
    }

    /// The values of these keys in a file of lines `key value`.
    pub(super) fn keyed<const N: usize>(
        &mut self,
        name: &CStr,
        keys: [&str; N],
    ) -> Result<[Reading<u64>; N], Error> {
        let values = self.parsed(name, |text| {
            let mut values = [Reading::Absent; N];
            for (value, key) in values.iter_mut().zip(keys) {
                *value = parse_keyed(text, key)?.map_or(Reading::Absent, Reading::Known);
            }
            Ok(values)
        })?;
        Ok(match values {
            Reading::Known(values) => values,
            Reading::Denied(mark) => [Reading::Denied(mark); N],
            Reading::Absent => [Reading::Absent; N],
        })
    }

    /// `cgroup.procs`
    pub(super) fn procs(&mut self) -> Result<Reading<Vec<i32>>, Error> {
        self.parsed(c"cgroup.procs", parse_procs)
    }

    pub(super) fn parsed<T>(
        &mut self,
        name: &CStr,
        parse: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Result<Reading<T>, Error> {
        self.folder.whole(name, self.buffer, parse)
    }
}

fn flag(value: &[u8]) -> Option<bool> {
    match value {
        b"0" => Some(false),
        b"1" => Some(true),
        _ => None,
    }
}

/// A number or `max`. Version 1 of the memory controller knows no word for none: there it is the
/// largest signed number, rounded down to a page of at most 64 KiB. Its cpu controller says -1.
pub(super) fn limit(value: &[u8]) -> Option<Limit> {
    const LARGEST: u64 = i64::MAX as u64 & !0xffff;
    if value == b"max" {
        return Some(Limit::MAX);
    }
    match signed(value)? {
        -1 => Some(Limit::MAX),
        number => match u64::try_from(number).ok()? {
            LARGEST.. => Some(Limit::MAX),
            number => Some(Limit::At(number)),
        },
    }
}

/// Parses `cgroup.procs`: a PID a line, in no order and perhaps twice.
fn parse_procs(text: &[u8]) -> Result<Vec<i32>, Malformed> {
    let mut pids = lines(text)
        .map(|(number, line)| {
            decimal(line)
                .and_then(|pid| i32::try_from(pid).ok())
                .ok_or_else(|| Malformed::new(number, "a PID", line))
        })
        .collect::<Result<Vec<i32>, Malformed>>()?;
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_limit_has_many_spellings() {
        for text in ["max", "-1", "9223372036854771712", "9223372036854710272"] {
            assert_eq!(limit(text.as_bytes()), Some(Limit::MAX), "{text}");
        }
        assert_eq!(limit(b"67108864"), Some(Limit::At(67_108_864)));
        assert_eq!(limit(b"0"), Some(Limit::At(0)));
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for text in ["", "-2", "maximum", "1k"] {
            assert_eq!(limit(text.as_bytes()), None, "{text}");
        }
        assert_eq!(flag(b"2"), None);
    }

    #[test]
    fn pids_are_sorted_and_each_is_named_once() {
        assert_eq!(parse_procs(b"9\n7\n9\n"), Ok(vec![7, 9]));
        assert_eq!(parse_procs(b""), Ok(vec![]));
    }

    #[test]
    fn what_is_no_pid_is_malformed() {
        assert_eq!(parse_procs(b"9\nx\n").unwrap_err().line, 2);
        assert!(parse_procs(b"4294967296\n").is_err());
    }
}
