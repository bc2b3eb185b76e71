//! Putting podlab into a machine, where only root there can change it, and starting it.
//!
//! What the user's login shell there gets is one constant line, whatever shell it is; what differs is
//! read from standard input.

use std::io::Write;
use std::time::Duration;

use crate::error::Error;

use super::command::Words;
use super::faults;
use super::lines::{Lines, Next};
use super::program::Program;
use super::ssh::Connection;
use super::target::Target;

/// Exit status where the user is not root and there is no sudo(8).
pub(super) const NO_SUDO: i32 = 91;

/// Starts the podlab of the digest that it reads, as root. Every step takes its time under emulation,
/// so there is one shell and no more.
///
/// It is in /run, or where nothing can be run from there, as on Debian, in /dev. Only root may put
/// anything into either. A link is not followed, and nothing of the user's own is run.
pub(super) const START: &str = r#"exec /bin/sh -c 'IFS= read -r hash; if [ -w /run ]; then s=; elif command -v sudo >/dev/null 2>&1; then s="sudo -n"; else exit 91; fi; for base in /run /dev; do f=$base/podlab-$hash; if [ -d $f ] && [ ! -L $f ] && { if [ -z "$s" ]; then [ -O $f ]; else [ ! -O $f ]; fi; }; then LC_ALL=C exec $s $f/podlab __agent; fi; done; echo podlab-missing $(uname -m)'"#;

/// Starts a shell as root that does what the first line of its input says.
const AS_ROOT: &str = r#"exec /bin/sh -c 'if [ -w /run ]; then s=; else s="sudo -n"; fi; LC_ALL=C exec $s /bin/sh -c "IFS= read -r script; eval \"\$script\""'"#;

/// Takes in the podlab of the digest that is the next line. It is whole, and its digest is right,
/// before it gets its name; another that came first is as good.
const TAKE: &str = "umask 077; read -r hash; for base in /run /dev; do new=$(mktemp -d $base/podlab.XXXXXXXX) || exit; trap 'rm -rf $new' EXIT; trap exit HUP INT TERM; : >$new/podlab; chmod 755 $new/podlab; if [ -x $new/podlab ]; then break; fi; rm -rf $new; new=; done; if [ -z $new ]; then echo podlab-unrunnable; exit; fi; cat >$new/podlab || { rm -rf $new; echo podlab-full $base; exit; }; echo \"$hash  $new/podlab\" | sha256sum --check --status || { echo podlab-damaged; exit; }; f=$base/podlab-$hash; mv -T $new $f 2>/dev/null; if [ -d $f ] && [ ! -L $f ] && [ -O $f ] && [ -x $f/podlab ]; then echo podlab-taken; else echo podlab-planted $f; fi";

/// The longest answer to it.
const LONGEST: usize = 4096;

/// How long sending may take: some twenty megabytes, encrypted by an emulated processor.
const SENDING: Duration = Duration::from_secs(600);

/// Sends `program` and waits until it is in place.
///
/// # Errors
///
/// When there is no room for it, or the machine hangs up.
pub(super) fn send(
    connection: &Connection,
    program: &Program,
    target: &Target,
) -> Result<(), Error> {
    let mut session = connection.session(AS_ROOT)?;
    let said = Words::of(session.stderr.take().expect("standard error is a pipe"));
    let mut input = session.stdin.take().expect("standard input is a pipe");
    let output = session.stdout.take().expect("standard output is a pipe");
    let answer = std::thread::scope(|scope| {
        scope.spawn(move || {
            // Where the machine stops listening, it says why.
            let _ = writeln!(input, "{TAKE}\n{}", program.digest)
                .and_then(|()| input.write_all(&program.content));
        });
        let answer = Lines::of(output, LONGEST).next(SENDING);
        if answer == Next::Silence {
            let _ = session.kill();
        }
        answer
    });
    let code = session.wait().ok().and_then(|status| status.code());
    let answer = match answer {
        Next::Line(line) => String::from_utf8_lossy(&line).into_owned(),
        Next::Silence | Next::End => String::new(),
    };
    match answer.split_once(' ').unwrap_or((&answer, "")) {
        ("podlab-taken", _) => Ok(()),
        ("podlab-planted", folder) => {
            Err(Error::new(format!("{target}: {folder} there is not a folder of root's"))
                .hint(format!("remove it there: sudo rm -r {folder}")))
        }
        ("podlab-unrunnable", _) => {
            Err(Error::new(format!("{target}: nothing can be run from /run or /dev there"))
                .hint("one must be mounted without noexec: sudo mount -o remount,exec /run"))
        }
        ("podlab-full", base) => Err(Error::new(format!(
            "{target}: {base} there has no room for podlab, which is {} MiB",
            program.content.len() >> 20
        ))
        .hint(format!("make room there: sudo rm -r {base}/podlab-*"))),
        ("podlab-damaged", _) => {
            Err(Error::new(format!("{target}: podlab did not arrive there as it was sent"))
                .hint("try again"))
        }
        ("", _) => Err(faults::of_session(code, &said.all(), target)),
        _ => Err(faults::garbage(&answer, target)),
    }
}
