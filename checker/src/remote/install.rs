//! Putting podlab into a machine, where only root there can change it.
//!
//! The user's login shell there gets one constant line, whatever shell it is. That starts a shell as
//! root, which reads a constant script from its standard input, and then what the script is about.

use std::io::{BufRead, BufReader, Read, Write};

use crate::error::Error;

use super::command::Words;
use super::faults;
use super::program::Program;
use super::ssh::Connection;
use super::target::Target;

/// Exit status where the user is not root and there is no sudo(8).
pub(super) const NO_SUDO: i32 = 91;

/// Starts a shell as root that does what the first line of its input says. Only root may write to /run.
pub(super) const AS_ROOT: &str = r#"exec /bin/sh -c 'if [ -w /run ]; then s=; elif command -v sudo >/dev/null 2>&1; then s="sudo -n"; else exit 91; fi; LC_ALL=C exec $s /bin/sh -c "IFS= read -r script && eval \"\$script\""'"#;

/// Starts the podlab of the digest that the next line is, in the first place that holds it.
///
/// Debian mounts /run so that nothing in it can be run; what is in /dev/shm can. A folder there
/// counts only if it is root's own and no link, and so nobody else has put anything into it.
pub(super) const START: &str = "read -r hash; for base in /run /dev/shm; do folder=$base/podlab-$hash; if [ ! -L $folder ] && [ -O $folder ] && [ -x $folder/podlab ]; then exec $folder/podlab __agent; fi; done; echo podlab-missing $(uname -m)";

/// Takes in the podlab of that digest. It is whole, and its digest is right, before it has its name.
const TAKE: &str = "umask 077; read -r hash; for base in /run /dev/shm; do folder=$base/podlab-$hash; mkdir $folder 2>/dev/null; if [ -L $folder ] || [ ! -d $folder ] || [ ! -O $folder ]; then echo podlab-planted $folder; exit; fi; chmod 700 $folder; new=$(mktemp $folder/new.XXXXXXXX) || exit; trap 'rm -f $new' EXIT; trap exit HUP INT TERM; chmod 755 $new; if [ -x $new ]; then break; fi; rm -f $new; rmdir $folder; new=; done; if [ -z $new ]; then echo podlab-unrunnable; exit; fi; cat >$new || { rm -f $new; rmdir $folder; echo podlab-full $base; exit; }; echo \"$hash  $new\" | sha256sum --check --status || { echo podlab-damaged; exit; }; mv -T $new $folder/podlab && echo podlab-taken";

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
    let mut child = connection.session(AS_ROOT)?;
    let said = Words::of(child.stderr.take().expect("standard error is a pipe"));
    let mut input = child.stdin.take().expect("standard input is a pipe");
    // Where the machine stops listening, it says why.
    let _ = writeln!(input, "{TAKE}\n{}", program.digest)
        .and_then(|()| input.write_all(&program.content))
        .and_then(|()| input.flush());
    drop(input);
    let output = child.stdout.take().expect("standard output is a pipe");
    let mut answer = String::new();
    let _ = BufReader::new(output.take(4096)).read_line(&mut answer);
    let code = child.wait().ok().and_then(|status| status.code());
    let answer = answer.trim_end();
    match answer.split_once(' ').unwrap_or((answer, "")) {
        ("podlab-taken", _) => Ok(()),
        ("podlab-planted", folder) => {
            Err(Error::new(format!("{target}: {folder} there is not a folder of root's"))
                .hint(format!("remove it there: sudo rm -r {folder}")))
        }
        ("podlab-unrunnable", _) => {
            Err(Error::new(format!("{target}: nothing can be run from /run or /dev/shm there"))
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
        _ => Err(faults::garbage(answer, target)),
    }
}
