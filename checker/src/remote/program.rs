//! The podlab that is sent: static, so that it needs nothing of the machine but its kernel.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use crate::caller::Caller;
use crate::checkout::Checkout;
use crate::error::Error;

/// A static podlab.
pub(super) struct Program {
    /// The program file.
    pub(super) content: Vec<u8>,
    /// Its SHA-256, in hexadecimal.
    pub(super) digest: String,
}

/// A type of machine: its name in uname(2), in ELF (elf(5), `e_machine`) and in Rust's targets.
struct MachineType {
    name: &'static str,
    elf: u16,
}

const MACHINE_TYPES: [MachineType; 2] =
    [MachineType { name: "x86_64", elf: 62 }, MachineType { name: "aarch64", elf: 183 }];

/// The machine type that podlab itself was built for.
pub(super) const OWN: &str = std::env::consts::ARCH;

/// The running podlab, whatever has become of its file since.
const OWN_PROGRAM: &str = "/proc/self/exe";

impl Program {
    /// For a machine of the type that uname(2) calls `machine`: podlab itself if it is static and of
    /// that type, else one built in the checkout.
    ///
    /// # Errors
    ///
    /// When there is none and none can be built.
    pub(super) fn for_machine(machine: &str, caller: &Caller) -> Result<Program, Error> {
        let kind = MACHINE_TYPES.iter().find(|kind| kind.name == machine).ok_or_else(|| {
            Error::new(format!("there is no podlab for machines of type {machine}"))
                .hint("it is made for x86_64 and aarch64")
        })?;
        let own = PathBuf::from(OWN_PROGRAM);
        let path = if has_static(&own, kind.elf)? { own } else { built(kind, caller)? };
        if !has_static(&path, kind.elf)? {
            return Err(Error::file(&path, format!("not a static program for {machine}")));
        }
        let content = fs::read(&path).map_err(|error| Error::file(&path, error))?;
        let digest = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Program { content, digest })
    }
}

/// Whether a file is a static program for `machine`. Linkers put the headers first.
fn has_static(path: &Path, machine: u16) -> Result<bool, Error> {
    let mut head = Vec::new();
    File::open(path)
        .and_then(|file| file.take(4096).read_to_end(&mut head))
        .map_err(|error| Error::file(path, error))?;
    Ok(is_static(&head, machine))
}

/// Whether a file is a 64-bit little-endian ELF program for `machine` that asks for no interpreter
/// (elf(5)).
fn is_static(file: &[u8], machine: u16) -> bool {
    const INTERPRETER: u64 = 3;
    const LITTLE_64: [u8; 6] = [0x7f, b'E', b'L', b'F', 2, 1];
    let word = |at: usize, length: usize| {
        let bytes = file.get(at..at.checked_add(length)?)?;
        Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    let headers = || {
        let (first, size, count) = (word(32, 8)?, word(54, 2)?, word(56, 2)?);
        (0..count).map(|n| word(usize::try_from(first + n * size).ok()?, 4)).collect()
    };
    let kinds: Option<Vec<u64>> = headers();
    file.starts_with(&LITTLE_64)
        && word(18, 2) == Some(u64::from(machine))
        && kinds.is_some_and(|kinds| !kinds.is_empty() && !kinds.contains(&INTERPRETER))
}

/// The static podlab in the checkout, built if it is older than the one that runs.
fn built(kind: &MachineType, caller: &Caller) -> Result<PathBuf, Error> {
    let checkout = Checkout::of_this_program().ok_or_else(|| {
        Error::new(format!("this podlab is no static program for {}", kind.name)).hint(
            "a release of podlab is one, and in a checkout of the course podlab builds one itself",
        )
    })?;
    let triples = ["musl", "gnu"].map(|library| format!("{}-unknown-linux-{library}", kind.name));
    let program = |triple: &String| checkout.target.join(triple).join("release/podlab");
    let own = modified(Path::new(OWN_PROGRAM));
    let is_current = |path: &PathBuf| modified(path) >= own && path.is_file();
    if let Some(current) = triples.iter().map(program).find(is_current) {
        return Ok(current);
    }
    let triple = triples.iter().find(|triple| is_installed(triple, caller)).ok_or_else(|| {
        Error::new(format!("building podlab for {} needs Rust's library for it", kind.name))
            .hint(format!("rustup target add {}", triples[0]))
    })?;
    build(triple, kind, &checkout, caller)?;
    let program = program(triple);
    // Cargo leaves what needs no building as old as it was.
    caller
        .with_rights(|| {
            File::options().append(true).open(&program)?.set_modified(SystemTime::now())
        })
        .map_err(|error| Error::file(&program, error))?;
    Ok(program)
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|status| status.modified()).ok()
}

/// Whether rustc has the standard library for a target.
fn is_installed(triple: &str, caller: &Caller) -> bool {
    let mut rustc = caller.command("rustc");
    let answer = rustc.args(["--print", "target-libdir", "--target", triple]).output();
    answer.is_ok_and(|answer| {
        let folder = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
        answer.status.success() && Path::new(&folder).is_dir()
    })
}

fn build(
    triple: &str,
    kind: &MachineType,
    checkout: &Checkout,
    caller: &Caller,
) -> Result<(), Error> {
    let mut cargo = caller.command("cargo");
    cargo.current_dir(&checkout.root).args([
        "build",
        "--release",
        "--locked",
        "--package",
        "podlab",
    ]);
    cargo.args(["--bin", "podlab", "--target", triple, "--target-dir"]).arg(&checkout.target);
    let flags = r#"["-C","target-feature=+crt-static"]"#;
    cargo.arg("--config").arg(format!("target.{triple}.rustflags={flags}"));
    if kind.name != OWN {
        // This machine's own linker knows no other.
        cargo.arg("--config").arg(format!("target.{triple}.linker=\"rust-lld\""));
    }
    eprintln!("podlab: building the podlab that looks at other machines, {triple}");
    let status = cargo.stdin(Stdio::null()).stdout(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Error::new(format!("cargo could not build podlab for {triple}"))),
        Err(error) => Err(Error::new(format!("cargo: {error}")).hint(
            "to look at another machine, podlab must be built for it: cargo must be on the PATH",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF header and program headers of these types.
    fn elf(machine: u16, kinds: &[u32]) -> Vec<u8> {
        let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1];
        file.resize(64 + 56 * kinds.len(), 0);
        file[18..20].copy_from_slice(&machine.to_le_bytes());
        file[32] = 64;
        file[54] = 56;
        file[56] = kinds.len() as u8;
        for (n, kind) in kinds.iter().enumerate() {
            file[64 + 56 * n..][..4].copy_from_slice(&kind.to_le_bytes());
        }
        file
    }

    #[test]
    fn a_static_program_asks_for_no_interpreter() {
        assert!(is_static(&elf(62, &[6, 1, 2]), 62));
        assert!(!is_static(&elf(62, &[6, 3, 1]), 62));
    }

    #[test]
    fn a_program_for_another_machine_or_none_at_all_is_not_taken() {
        assert!(!is_static(&elf(183, &[1]), 62));
        assert!(!is_static(&elf(62, &[]), 62));
        assert!(!is_static(b"#!/bin/sh\n", 62));
        let whole = elf(62, &[1, 2]);
        assert!((0..whole.len() - 56).all(|end| !is_static(&whole[..end], 62)));
        let mut far = elf(62, &[1]);
        far[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(!is_static(&far, 62));
    }
}
