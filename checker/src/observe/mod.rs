//! Reads this machine into facts.
