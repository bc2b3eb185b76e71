//! A value that could be read, could not, or is not there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What came of reading one field. Serialises as the value, as `{"denied": true}`, or as `null`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Reading<T> {
    /// The kernel refused (EACCES, EPERM): the field may be there.
    Denied(Denied),
    /// The value.
    Known(T),
    /// The kernel has no such thing here (ENOENT, ESRCH, an old kernel).
    Absent,
}

/// The mark of a refused reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Denied {
    /// Always true.
    pub denied: bool,
}

impl<T> Reading<T> {
    /// A refused reading.
    pub const DENIED: Reading<T> = Reading::Denied(Denied { denied: true });

    /// The value, where there is one.
    pub fn known(&self) -> Option<&T> {
        match self {
            Reading::Known(value) => Some(value),
            Reading::Denied(_) | Reading::Absent => None,
        }
    }

    /// Whether the kernel refused.
    pub fn is_denied(&self) -> bool {
        matches!(self, Reading::Denied(_))
    }

    /// The same reading of something made from the value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Reading<U> {
        match self {
            Reading::Known(value) => Reading::Known(change(value)),
            Reading::Denied(mark) => Reading::Denied(mark),
            Reading::Absent => Reading::Absent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_outcomes_are_told_apart_in_json() {
        let readings: [Reading<u64>; 3] = [Reading::Known(7), Reading::DENIED, Reading::Absent];
        let text = serde_json::to_string(&readings).unwrap();
        assert_eq!(text, r#"[7,{"denied":true},null]"#);
        assert_eq!(serde_json::from_str::<[Reading<u64>; 3]>(&text).unwrap(), readings);
    }

    #[test]
    fn something_else_is_not_taken_for_a_reading() {
        assert!(serde_json::from_str::<Reading<u64>>(r#"{"denied":true,"x":1}"#).is_err());
        assert!(serde_json::from_str::<Reading<u64>>(r#""seven""#).is_err());
    }
}
