//! What the caller may do: capabilities, user namespaces, and what restricts them.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Stdio;

use nix::sched::{CloneFlags, unshare};

use crate::caller::Caller;
use crate::observe::{self, Options};

use super::Finding;

pub(super) fn examine(caller: &Caller) -> Vec<Finding> {
    vec![capabilities(), user_namespaces(caller)]
}

/// Those that the course makes use of, and what is lost without each (capabilities(7)).
const CAPABILITIES: [(u8, &str, &str); 6] = [
    (21, "CAP_SYS_ADMIN", "namespaces only inside a user namespace"),
    (12, "CAP_NET_ADMIN", "no network set-up, and before Linux 6.6 no process events"),
    (19, "CAP_SYS_PTRACE", "the namespaces of other users' processes cannot be read"),
    (5, "CAP_KILL", "other users' processes cannot be signalled"),
    (24, "CAP_SYS_RESOURCE", "oom_score_adj cannot be lowered, limits not raised"),
    (34, "CAP_SYSLOG", "the kernel log cannot be read where it is restricted"),
];

fn capabilities() -> Finding {
    let own = observe::process(&Options::default(), std::process::id().cast_signed());
    let Ok(Some(own)) = own else {
        return Finding::poorer(
            "capabilities",
            "its own /proc entry cannot be read",
            "nothing can be judged",
            "mount -t proc proc /proc",
        )
        .serious();
    };
    let has = |number: &u8| own.capabilities.effective & (1 << number) != 0;
    let missing: Vec<_> = CAPABILITIES.iter().filter(|(number, ..)| !has(number)).collect();
    let user = format!("user {}", own.user());
    if missing.is_empty() {
        return Finding::fine("capabilities", format!("{user}, all that the course uses"));
    }
    let names: Vec<_> = missing.iter().map(|(_, name, _)| *name).collect();
    let costs: Vec<_> = missing.iter().map(|(_, _, cost)| *cost).collect();
    let fix = if own.user() == 0 {
        "this root is confined, by a container or a sandbox: work on a machine of your own, or in a VM"
    } else {
        "run the same with sudo; without it, use a user namespace: unshare --user --map-root-user"
    };
    Finding::poorer(
        "capabilities",
        format!("{user}, without {}", names.join(" ")),
        costs.join("; "),
        fix,
    )
}

/// Tries it as an ordinary user would: a user namespace, and in it, as its root, a mount namespace.
fn user_namespaces(caller: &Caller) -> Finding {
    let works = |result: io::Result<()>| match result {
        Ok(()) => Finding::fine("user namespaces", "an ordinary user may make them"),
        Err(error) => {
            let (why, fix) = restriction(&error);
            let costs = "labs and exercises need root";
            let finding = Finding::poorer("user namespaces", why, costs, fix);
            if nix::unistd::geteuid().is_root() { finding } else { finding.serious() }
        }
    };
    works(try_user_namespace(caller))
}

fn try_user_namespace(caller: &Caller) -> io::Result<()> {
    let mut command = caller.ordinary_command("true");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: unshare is a system call and touches no memory of ours.
    unsafe {
        command.pre_exec(|| {
            unshare(CloneFlags::CLONE_NEWUSER)?;
            // Where AppArmor restricts it, the first succeeds and grants nothing.
            unshare(CloneFlags::CLONE_NEWNS)?;
            Ok(())
        });
    }
    command.status().map(|_| ())
}

/// What stands in the way, and the fix for each: the switches that distributions use.
fn restriction(error: &io::Error) -> (String, String) {
    let is = |name: &str, value: &str| {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        fs::read_to_string(path).is_ok_and(|content| content.trim() == value)
    };
    let switches = [
        ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
        ("kernel.unprivileged_userns_clone", "0", "1"),
        ("user.max_user_namespaces", "0", "15000"),
    ];
    for (name, refusing, allowing) in switches {
        if is(name, refusing) {
            let why = format!("refused: {name} is {refusing}");
            return (why, format!("sudo sysctl {name}={allowing}"));
        }
    }
    (
        format!("refused: {}", crate::error::lower(&error.to_string())),
        "a container or a seccomp filter forbids it: work outside, or in a VM".to_owned(),
    )
}
