//! Sends a process SIGTERM from outside and sees whether it ends (signal(7), pid_namespaces(7)).

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use super::held::Held;
use super::{failed, wait_readable};
use crate::facts::{Observation, ProcessId, Terminate};

/// Half of what `docker stop` grants.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn look(process: ProcessId) -> Result<Observation, String> {
    let held = Held::open(process)?;
    let children = children(&held);
    let sent = Instant::now();
    held.signal(Signal::TERM)
        .map_err(|error| failed(format!("SIGTERM to process {}", process.pid), error))?;
    let ended = wait_readable(held.pidfd(), sent + PATIENCE).is_ok();
    let waited_ms = sent.elapsed().as_millis() as u64;
    let child_stayed = children.iter().any(is_alive);
    Ok(Observation::Terminate(Terminate { ended, waited_ms, child_stayed }))
}

/// The children of its main thread (`/proc/PID/task/TID/children`), by pidfd.
fn children(held: &Held) -> Vec<OwnedFd> {
    let list = held.read(&format!("task/{}/children", held.pid())).unwrap_or_default();
    let pids = String::from_utf8(list).unwrap_or_default();
    let pids = pids.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
    pids.filter_map(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()).collect()
}

fn is_alive(process: &OwnedFd) -> bool {
    wait_readable(process, Instant::now()).is_err()
}
