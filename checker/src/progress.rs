//! What is done, kept in one state file.
