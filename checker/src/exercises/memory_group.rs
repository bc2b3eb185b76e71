//! What a memory cgroup and the kernel log say of those who were killed in it, and of those who live.

use crate::exercise::{Facts, Scene, Subject};
use crate::facts::{Cgroup, Memory, Observation, OomKill, Process, Reading, Request};

/// The group that is judged.
pub(super) fn group<'a>(scene: &Scene<'a>) -> Option<&'a Cgroup> {
    match scene.subject {
        Subject::Cgroup(at) => scene.snapshot().cgroups.group(at),
        _ => None,
    }
}

/// What its memory controller says.
pub(super) fn memory<'a>(scene: &Scene<'a>) -> Option<&'a Memory> {
    group(scene)?.memory.as_ref()
}

/// How many processes were killed in a group and below it, by what `count` says of each.
fn kills(facts: &Facts, group: &Cgroup, count: impl Fn(&Cgroup) -> Option<u64>) -> Option<u64> {
    let tree = &facts.snapshot.cgroups;
    if tree.version(&group.at) == Some(2) {
        // Its counter holds what happened below as well.
        return count(group);
    }
    tree.subtree(&group.at)
        .map(count)
        .try_fold(0, |sum: u64, count| Some(sum.saturating_add(count?)))
}

/// Kills since the group was made.
pub(super) fn kills_ever(facts: &Facts, group: &Cgroup) -> Option<u64> {
    kills(facts, group, |group| group.memory.as_ref()?.oom_kills.known().copied())
}

/// Kills since the learner began; all, where it is not known when they did.
pub(super) fn kills_since_start(facts: &Facts, group: &Cgroup) -> Option<u64> {
    let noted = facts.start.map(|start| start.oom_kills.as_slice()).unwrap_or_default();
    kills(facts, group, |group| {
        let now = *group.memory.as_ref()?.oom_kills.known()?;
        let before = noted.iter().find(|noted| noted.at == group.at && noted.ino == group.ino);
        Some(now.saturating_sub(before.map_or(0, |noted| noted.kills)))
    })
}

/// What the last kill was for, where the kernel log tells of kills in the group but of none for its
/// own limit.
pub(super) fn another_limit(scene: &Scene, observation: &Observation) -> Option<String> {
    let group = group(scene)?;
    let Observation::OomLog { kills: Reading::Known(kills) } = observation else { return None };
    if kills.iter().any(|kill| kill.limited.as_ref() == Some(&group.at.path)) {
        return None;
    }
    Some(match &kills.last()?.limited {
        Some(limited) => format!("the limit of {limited}"),
        None => "want of memory on the whole machine".to_owned(),
    })
}

/// Asks the kernel log about it.
pub(super) fn ask(scene: &Scene) -> Option<Request> {
    Some(Request::OomLog { cgroup: group(scene)?.at.path.clone() })
}

/// What is known of the last kill.
pub(super) enum LastKill<'a> {
    Logged(&'a OomKill),
    NotLogged,
    LogDenied,
}

/// The last kill, if the log tells of as many as the counter: the kernel leaves some out when there
/// are many at once, and forgets old ones.
pub(super) fn last_kill<'a>(scene: &Scene, observation: &'a Observation) -> LastKill<'a> {
    let Observation::OomLog { kills: Reading::Known(kills) } = observation else {
        return LastKill::LogDenied;
    };
    let counted = group(scene).and_then(|group| kills_ever(scene.facts, group));
    let all = counted.is_some_and(|counted| kills.len() as u64 >= counted);
    kills.last().filter(|_| all).map_or(LastKill::NotLogged, LastKill::Logged)
}

/// Who lives in the group and below; nothing where that may not be read.
pub(super) fn living<'a>(scene: &Scene<'a>) -> Option<Vec<&'a Process>> {
    let snapshot = scene.snapshot();
    let mut living = Vec::new();
    for group in snapshot.cgroups.subtree(&group(scene)?.at) {
        let processes = group.procs.known()?.iter().filter_map(|pid| snapshot.process(*pid));
        living.extend(processes.filter(|process| process.is_alive()));
    }
    Some(living)
}

/// Whether a process certainly began after a kill. The log's clock runs on its own and may be a
/// little off, the more the longer the machine is up.
pub(super) fn is_later(scene: &Scene, process: &Process, kill: &OomKill) -> bool {
    let ticks = scene.snapshot().machine.ticks_per_second.max(1);
    let began = u128::from(process.id.start) * 1_000_000 / u128::from(ticks);
    let killed = u128::from(kill.at_us);
    let drift = killed / 10_000;
    began > killed + 100_000 + drift
}

/// The inode number of the initial PID namespace (`PROC_PID_INIT_INO` of linux/proc_ns.h).
const INITIAL: u64 = 0xEFFF_FFFC;

/// Those of the living whom the log lists as present at a kill for this group's limit; nothing where
/// it lists no one, or by numbers that are not ours.
pub(super) fn present<'a>(
    scene: &Scene<'a>,
    observation: &Observation,
) -> Option<Vec<&'a Process>> {
    let Observation::OomLog { kills: Reading::Known(kills) } = observation else { return None };
    let own = scene.snapshot().observer()?.namespaces.pid.known()?;
    let at = &group(scene)?.at.path;
    let by_this = |kill: &&OomKill| kill.limited.as_ref() == Some(at) && !kill.present.is_empty();
    let listed: Vec<&OomKill> = kills.iter().filter(by_this).collect();
    if own.ino != INITIAL || listed.is_empty() {
        return None;
    }
    let mut living = living(scene)?;
    living.retain(|process| {
        let is_listed = |kill: &&OomKill| kill.present.contains(&process.id.pid);
        listed.iter().filter(|kill| is_listed(kill)).any(|kill| !is_later(scene, process, kill))
    });
    Some(living)
}
