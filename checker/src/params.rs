//! Personal parameters: what differs from one learner's exercise to another's.

use sha2::{Digest, Sha256};

use crate::facts::Learner;

/// Draws the parameters of one exercise for one learner. The same seed, learner, exercise and label
/// give the same value for ever: results of past years are judged again with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    learner: Learner,
    exercise: &'static str,
}

impl Params {
    /// The parameters of `exercise` for `learner`.
    pub fn new(learner: &Learner, exercise: &'static str) -> Params {
        Params { learner: learner.clone(), exercise }
    }

    /// A name such as `heron-274`: lower-case letters, a dash and three digits.
    pub fn name(&self, label: &str) -> String {
        let drawn = self.draw(label);
        let word = WORDS[(drawn % WORDS.len() as u64) as usize];
        let number = 100 + (drawn >> 32) % 900;
        format!("{word}-{number}")
    }

    /// A number from `least` to `most`, both included.
    pub fn number(&self, label: &str, least: u64, most: u64) -> u64 {
        least + self.draw(label) % (most - least + 1)
    }

    fn draw(&self, label: &str) -> u64 {
        let mut hash = Sha256::new();
        for part in [&self.learner.seed, &self.learner.name, self.exercise, label] {
            // The length keeps ("ab", "c") apart from ("a", "bc").
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        u64::from_be_bytes(digest[..8].try_into().expect("a SHA-256 has 32 bytes"))
    }
}

/// Short, distinct, easily typed. The order is part of every parameter ever handed out.
pub const WORDS: [&str; 64] = [
    "acorn", "alder", "amber", "aspen", "badger", "basil", "beech", "birch", "bison", "bramble",
    "cedar", "clover", "cobalt", "condor", "coral", "crane", "cypress", "dahlia", "elder",
    "ermine", "falcon", "fennel", "fern", "finch", "garnet", "ginger", "hazel", "heron", "hickory",
    "indigo", "iris", "jasper", "juniper", "kestrel", "laurel", "lemon", "lichen", "linden",
    "lotus", "lynx", "maple", "marten", "mint", "myrtle", "olive", "onyx", "opal", "orchid",
    "osprey", "otter", "poplar", "quartz", "quince", "raven", "robin", "rowan", "sage", "sorrel",
    "spruce", "thistle", "topaz", "walnut", "willow", "yarrow",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn params(seed: &str, name: &str, exercise: &'static str) -> Params {
        Params::new(&Learner { seed: seed.into(), name: name.into() }, exercise)
    }

    #[test]
    fn parameters_stay_what_they_were_when_first_handed_out() {
        let ada = params("2026", "ada", "two-lives");
        assert_eq!(ada.name("a"), "basil-903");
        assert_eq!(ada.number("limit", 16, 48), 45);
    }

    #[test]
    fn another_learner_exercise_seed_or_label_draws_something_else() {
        let ada = params("2026", "ada", "two-lives").name("a");
        assert_ne!(ada, params("2026", "bob", "two-lives").name("a"));
        assert_ne!(ada, params("2027", "ada", "two-lives").name("a"));
        assert_ne!(ada, params("2026", "ada", "oom-once").name("a"));
        assert_ne!(ada, params("2026", "ada", "two-lives").name("b"));
        assert_ne!(params("20", "26ada", "x").name("a"), params("2026", "ada", "x").name("a"));
    }

    #[test]
    fn a_number_lies_within_its_bounds() {
        for learner in 0..200 {
            let drawn = params("s", &learner.to_string(), "x").number("n", 5, 9);
            assert!((5..=9).contains(&drawn));
        }
    }
}
