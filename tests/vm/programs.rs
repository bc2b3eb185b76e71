//! What runs in the machine: podlab, the labs and the test programs, compiled here without any library
//! that they would have to find in there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// The test programs that run in the machine.
const TESTS: [&str; 2] = ["checker", "labs"];

/// Static programs.
pub(crate) struct Programs {
    tests: Vec<Program>,
    /// What one of them runs.
    example: Vec<Program>,
    /// podlab and the labs, optimized: emulated, they are slow enough.
    commands: Vec<Program>,
}

/// A program that cargo made.
pub(crate) struct Program {
    name: String,
    /// Where it is.
    pub(crate) file: PathBuf,
    /// Where the tests look for it.
    pub(crate) place: PathBuf,
}

impl Programs {
    /// Those of this checkout, compiled if need be.
    pub(crate) fn built() -> &'static Programs {
        static BUILT: OnceLock<Programs> = OnceLock::new();
        BUILT.get_or_init(|| {
            let mut tests = vec!["test", "--no-run"];
            TESTS.iter().for_each(|test| tests.extend(["--test", test]));
            let (tests, expected): (Vec<_>, Vec<_>) =
                cargo(&tests).into_iter().partition(|made| TESTS.contains(&made.name.as_str()));
            let mut commands = cargo(&["build", "--release", "--bins"]);
            for command in &mut commands {
                let place = expected.iter().find(|program| program.name == command.name);
                command.place.clone_from(&place.expect("the tests need it").place);
            }
            let example = cargo(&["build", "--package", "podlab", "--example", "snapshot"]);
            Programs { tests, example, commands }
        })
    }

    /// The test program of that name.
    pub(crate) fn test(&self, name: &str) -> &Path {
        &named(&self.tests, name).place
    }

    /// podlab itself.
    pub(crate) fn podlab(&self) -> &Path {
        &named(&self.commands, "podlab").file
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Program> {
        self.tests.iter().chain(&self.example).chain(&self.commands)
    }
}

fn named<'p>(programs: &'p [Program], name: &str) -> &'p Program {
    let found = programs.iter().find(|program| program.name == name);
    found.unwrap_or_else(|| panic!("cargo made no {name}"))
}

/// What cargo makes by these arguments, static.
fn cargo(arguments: &[&str]) -> Vec<Program> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(checkout()).args(arguments);
    cargo.args(["--locked", "--quiet", "--message-format=json"]);
    // With a target of its own: procedural macros are shared libraries and cannot be static.
    cargo.args(["--target", &target, "--config"]);
    cargo.arg(format!(r#"target.{target}.rustflags=["-C","target-feature=+crt-static"]"#));
    let output = cargo.stderr(Stdio::inherit()).output().expect("cargo");
    assert!(output.status.success(), "{cargo:?}: {}", output.status);
    let lines = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .filter_map(|line| made(&serde_json::from_slice(line).expect("cargo writes JSON")))
        .collect()
}

/// The program that a message of cargo's is about, if it is about one.
fn made(message: &Value) -> Option<Program> {
    let file = PathBuf::from(message["executable"].as_str()?);
    let name = message["target"]["name"].as_str()?.to_owned();
    Some(Program { name, place: file.clone(), file })
}

/// The folder of this checkout.
pub(crate) fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in a checkout")
}
