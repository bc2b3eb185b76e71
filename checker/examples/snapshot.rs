//! Reads this machine into one JSON document: `cargo run -p podlab --example snapshot`.

use std::process::ExitCode;

use podlab::observe::{Options, snapshot};

fn main() -> ExitCode {
    let facts = match snapshot(&Options { mark: true, ..Options::default() }) {
        Ok(facts) => facts,
        Err(error) => {
            eprintln!("snapshot: {error}");
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            return ExitCode::from(2);
        }
    };
    match serde_json::to_writer(std::io::stdout().lock(), &facts) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("snapshot: standard output: {error}");
            ExitCode::from(2)
        }
    }
}
