//! The kernel: its kinds of namespaces, its log, its process events.

use std::fs;

use crate::error::Error;
use crate::facts::Kind;
use crate::observe::{self, Options};
use crate::watch;

use super::Finding;

pub(super) fn examine() -> Result<Vec<Finding>, Error> {
    let machine = observe::machine(&Options::default())?;
    Ok(vec![
        Finding::fine("kernel", format!("Linux {}", machine.kernel)),
        namespaces(),
        process_events(),
        kernel_log(),
        swap(machine.swap_total),
    ])
}

/// A kind that the kernel has shows as a link in `/proc/self/ns` (namespaces(7)).
fn namespaces() -> Finding {
    let has = |kind: &Kind| fs::symlink_metadata(format!("/proc/self/ns/{kind}")).is_ok();
    let (there, missing): (Vec<Kind>, Vec<Kind>) = Kind::ALL.into_iter().partition(has);
    if missing.is_empty() {
        return Finding::fine("namespaces", names(&there));
    }
    Finding::poorer(
        "namespaces",
        format!("{}; not {}", names(&there), names(&missing)),
        "the chapters on these kinds can only be read",
        "a newer kernel: cgroup came with Linux 4.6, time with 5.6",
    )
}

fn names(kinds: &[Kind]) -> String {
    kinds.iter().map(Kind::to_string).collect::<Vec<_>>().join(" ")
}

fn process_events() -> Finding {
    match watch::process_events_work() {
        Ok(()) => Finding::fine("process events", "told by the kernel (proc connector)"),
        Err(error) => Finding::poorer(
            "process events",
            format!("not told: {error}"),
            "podlab watch looks 16 times a second instead, and may miss a process that is gone sooner",
            "run it as root on the machine itself, not in a container: sudo podlab watch",
        ),
    }
}

fn kernel_log() -> Finding {
    let opened = fs::File::open("/dev/kmsg");
    match opened {
        Ok(_) => Finding::fine("kernel log", "readable (/dev/kmsg)"),
        Err(error) => Finding::poorer(
            "kernel log",
            format!("/dev/kmsg: {}", crate::error::lower(&error.to_string())),
            "oom-once cannot compare the survivor's age with the time of the kill",
            "read it as root, or allow it: sudo sysctl kernel.dmesg_restrict=0",
        ),
    }
}

fn swap(total: u64) -> Finding {
    if total == 0 {
        return Finding::fine("swap", "none: what exceeds a memory limit is killed at once");
    }
    Finding::poorer(
        "swap",
        format!("{} MiB", total >> 20),
        "a group that may swap is slowed down before something in it is killed",
        "limit swap too in the exercise: memory.swap.max, or memory.memsw.limit_in_bytes on v1",
    )
}
