//! `/proc/PID/uid_map` and `gid_map` (user_namespaces(7)).

use super::text::{Malformed, decimal, lines, words};
use crate::facts::IdMap;

/// Parses the text of `/proc/PID/uid_map` or `gid_map`. A namespace without a map gives no lines.
pub fn parse_id_map(text: &[u8]) -> Result<Vec<IdMap>, Malformed> {
    lines(text)
        .map(|(number, line)| {
            parse_line(line).ok_or_else(|| Malformed::new(number, "three numbers", line))
        })
        .collect()
}

fn parse_line(line: &[u8]) -> Option<IdMap> {
    let mut words = words(line).map(|word| u32::try_from(decimal(word)?).ok());
    let map = IdMap { inside: words.next()??, outside: words.next()??, count: words.next()?? };
    words.next().is_none().then_some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_range() {
        let text = b"         0       1000          1\n         1     100000      65536\n";
        let expected = [
            IdMap { inside: 0, outside: 1000, count: 1 },
            IdMap { inside: 1, outside: 100_000, count: 65536 },
        ];
        assert_eq!(parse_id_map(text).unwrap(), expected);
    }

    #[test]
    fn the_whole_range_of_the_initial_namespace_fits() {
        let map = parse_id_map(b"0 0 4294967295\n").unwrap();
        assert_eq!(map, [IdMap { inside: 0, outside: 0, count: u32::MAX }]);
    }

    #[test]
    fn no_map_yet_is_an_empty_list() {
        assert_eq!(parse_id_map(b"").unwrap(), []);
    }

    #[test]
    fn a_line_that_is_not_three_numbers_is_malformed() {
        for line in ["0 0", "0 0 1 1", "0 x 1", "-1 0 1", "0 0 4294967296", " "] {
            let fault = parse_id_map(format!("0 0 1\n{line}\n").as_bytes()).unwrap_err();
            assert_eq!(fault.line, 2, "{line}");
        }
    }
}
