//! *oom-once*: a memory limit that ends one process and not another (cgroups(7); the kernel's
//! admin-guide/cgroup-v1/memory.rst and admin-guide/cgroup-v2.rst).

use std::cmp::Reverse;

use crate::exercise::{Check, Exercise, Facts, How, Mistake, Scene, Subject, Verdict};
use crate::facts::{Cgroup, Limit, Memory, Observation, Reading};
use crate::params::Params;

use super::memory_group::{
    LastKill, another_limit, ask, group, is_later, kills_ever, kills_since_start, last_kill,
    living, memory, present,
};

const MIB: u64 = 1 << 20;

/// The exercise.
pub(super) const EXERCISE: Exercise = Exercise {
    id: "oom-once",
    chapter: "memory-limit",
    title: "One is killed, one lives",
    task,
    target: None,
    reads_cgroups: true,
    subjects,
    checks: &[
        Check {
            id: "limit",
            claim: "a cgroup has this memory limit",
            points: 1,
            needs: &[],
            how: How::Facts(has_limit),
        },
        Check {
            id: "killed",
            claim: "something in it was killed for want of memory",
            points: 3,
            needs: &["limit"],
            how: How::Facts(has_killed),
        },
        Check {
            id: "by-its-limit",
            claim: "it was this limit that was reached",
            points: 1,
            needs: &["killed"],
            how: How::Probe(ask, reached_its_limit),
        },
        Check {
            id: "survivor",
            claim: "a process in it was there before and lives on",
            points: 2,
            needs: &["killed"],
            how: How::Probe(ask, has_survivor),
        },
    ],
    mistakes: &[
        Mistake {
            id: "high-not-max",
            check: "limit",
            recognise: high_not_max,
            explain: "this is the group's memory.high. Above it the kernel slows the group down \
                      and takes memory back, but kills no one. The limit is memory.max.",
            hint: "write the limit to memory.max",
        },
        Mistake {
            id: "wrong-unit",
            check: "limit",
            recognise: wrong_unit,
            explain: "the number is right, the unit is not. The kernel reads a plain number as \
                      bytes, and K, M and G as powers of 1024: 1 MiB is 1048576 bytes. It rounds \
                      down to whole pages.",
            hint: "read the file back: it says in bytes what the kernel has understood",
        },
        Mistake {
            id: "killing-disabled",
            check: "killed",
            recognise: killing_disabled,
            explain: "killing is switched off in this group. At the limit its processes wait until \
                      memory is freed, and no one frees any.",
            hint: "write 0 to memory.oom_control",
        },
        Mistake {
            id: "killed-before-start",
            check: "killed",
            recognise: killed_before_start,
            explain: "something was killed in this group, but before the exercise began. Kernel \
                      counters are never set back, so only what is added since then counts.",
            hint: "let it happen once more, or make a new group",
        },
        Mistake {
            id: "moved-after-allocating",
            check: "killed",
            recognise: moved_after_allocating,
            explain: "a process in the group has more memory than the group was charged with. \
                      Memory is charged to the group that its process is in when it first touches \
                      it, and the charge stays there when the process moves.",
            hint: "put the process in the group first, and let it allocate then",
        },
        Mistake {
            id: "never-moved",
            check: "killed",
            recognise: never_moved,
            explain: "the limit stands, but no process has ever used memory in this group. A limit \
                      is for those who are in the group, and for no one else.",
            hint: "write the PID to cgroup.procs, and look in /proc/PID/cgroup to see that it is \
                   there; in a shell, 0 stands for whoever writes",
        },
        Mistake {
            id: "reclaimed-not-killed",
            check: "killed",
            recognise: reclaimed_not_killed,
            explain: "the limit was reached, and the kernel found memory to take back: the cache \
                      of files, or memory that it could swap out. It kills only when nothing is \
                      left to take.",
            hint: "touch anonymous memory, page after page, and limit swap as well \
                   (memory.swap.max, or memory.memsw.limit_in_bytes)",
        },
        Mistake {
            id: "promised-not-used",
            check: "killed",
            recognise: |scene| !living(scene).unwrap_or_default().is_empty(),
            explain: "processes are in the group, and it has never been full. What malloc(3) and \
                      mmap(2) hand out is a promise: a page is charged when it is first touched.",
            hint: "write to every page; RssAnon in /proc/PID/status tells what a process has",
        },
        Mistake {
            id: "killed-for-another-limit",
            check: "by-its-limit",
            recognise: |scene| {
                let asked = ask(scene).and_then(|request| scene.seen(&request));
                asked.is_some_and(|seen| another_limit(scene, seen).is_some())
            },
            explain: "the kill was not for this group's limit. A group above or below it has a \
                      limit of its own that was reached first, or the whole machine ran out.",
            hint: "the kernel log names the group: dmesg | grep oom_memcg",
        },
        Mistake {
            id: "all-go-together",
            check: "survivor",
            recognise: all_go_together,
            explain: "memory.oom.group is set: the kernel takes the group for one workload, and \
                      when one of its processes is to be killed, it kills them all.",
            hint: "write 0 to memory.oom.group",
        },
        Mistake {
            id: "moved-in-later",
            check: "survivor",
            recognise: moved_in_later,
            explain: "what lives in the group is older than the kill, but was not in the group \
                      then. Who is moved in afterwards has survived nothing.",
            hint: "have both in the group at once, and let one of them go too far",
        },
        Mistake {
            id: "came-later",
            check: "survivor",
            recognise: came_later,
            explain: "what lives in the group was started after the kill. It has survived nothing.",
            hint: "have both in the group at once, and let one of them go too far",
        },
        Mistake {
            id: "nobody-survived",
            check: "survivor",
            recognise: nobody_survived,
            explain: "the group is empty: whoever was killed was alone in it. The kernel kills one \
                      process, the biggest first, not the group.",
            hint: "put a second process in the group that needs little and goes on for a while",
        },
    ],
    hints: &[
        "a cgroup is a directory: mkdir makes one below /sys/fs/cgroup (below its folder memory, in \
         version 1), rmdir removes it when it is empty. The group of a container or of a scope is \
         removed when that ends: keep it running until it has been judged",
        "the limit is in memory.max, or memory.limit_in_bytes in version 1; a process is moved in by \
         writing its PID to cgroup.procs; what it starts then is in there, too",
        "two processes: one sleeps, one allocates and touches more than the limit. tail /dev/zero \
         does so: it waits for the end of a line that never comes",
        "something like: in the group, sh -c 'sleep 600 & tail /dev/zero; wait'. oom_kill in \
         memory.events (version 1: memory.oom_control) counts the kills",
    ],
};

/// The limit in MiB.
fn mib(params: &Params) -> u64 {
    params.number("mib", 16, 48)
}

fn task(params: &Params) -> String {
    format!(
        "Make a cgroup with a memory limit of exactly {} MiB, in which a process was\n\
         killed for want of memory while another lives on: one that was in there\n\
         before, and still is. Both may be in groups below it. The limit that was\n\
         reached is this one, not that of another group or of the machine.\n\
         The group must be there when it is judged. What was killed before\n\
         podlab start oom-once does not count.",
        mib(params)
    )
}

/// Groups with this limit first, then those that come near; of equals, where something was killed,
/// then the newest.
fn subjects(facts: &Facts) -> Vec<Subject> {
    let tree = &facts.snapshot.cgroups;
    let mut found: Vec<(Nearness, &Cgroup)> = tree
        .groups
        .iter()
        .filter_map(|group| Some((nearness(facts, group.memory.as_ref()?)?, group)))
        .collect();
    found.sort_by_key(|(nearness, group)| {
        let kills = kills_since_start(facts, group).unwrap_or(0);
        (*nearness, Reverse(kills.min(1)), Reverse(group.ino))
    });
    let groups = found.into_iter().map(|(_, group)| Subject::Cgroup(group.at.clone()));
    groups.chain([Subject::Nothing]).collect()
}

/// How near a group's limits come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    Right,
    High,
    WrongUnit,
    Unreadable,
}

fn nearness(facts: &Facts, memory: &Memory) -> Option<Nearness> {
    let wanted = mib(facts.params);
    let page = facts.snapshot.machine.page_size;
    match memory.limit {
        Reading::Known(Limit::At(limit)) if limit == wanted * MIB => Some(Nearness::Right),
        _ if memory.high == Reading::Known(Limit::At(wanted * MIB)) => Some(Nearness::High),
        Reading::Known(Limit::At(limit)) if is_wrong_unit(wanted, limit, page) => {
            Some(Nearness::WrongUnit)
        }
        Reading::Denied(_) => Some(Nearness::Unreadable),
        _ => None,
    }
}

/// The same number of something else than MiB, in whole pages.
fn is_wrong_unit(wanted: u64, limit: u64, page: u64) -> bool {
    let units = [1, 1000, 1 << 10, 1_000_000, 1_000_000_000, 1 << 30];
    units.into_iter().any(|unit| wanted * unit / page.max(1) * page == limit)
}

fn has_limit(scene: &Scene) -> Verdict {
    let wanted = mib(scene.params()) * MIB;
    let expected = format!("{wanted} bytes: {} MiB", mib(scene.params()));
    let Some(memory) = memory(scene) else {
        if scene.snapshot().cgroups.groups.iter().all(|group| group.memory.is_none()) {
            return Verdict::cannot_tell("no cgroup here has the memory controller's files");
        }
        let still =
            "in a group that is still there: a container's or a scope's goes when that ends";
        return Verdict::fails("no cgroup with such a limit", format!("{expected}, {still}"));
    };
    match memory.limit {
        Reading::Known(Limit::At(limit)) if limit == wanted => {
            Verdict::holds(format!("{limit} bytes"))
        }
        Reading::Known(Limit::At(limit)) => Verdict::fails(format!("{limit} bytes"), expected),
        Reading::Known(Limit::Max(_)) => Verdict::fails("no limit", expected),
        Reading::Denied(_) => Verdict::cannot_tell("its limit may not be read; ask as root"),
        Reading::Absent => Verdict::cannot_tell("the group is gone"),
    }
}

fn has_killed(scene: &Scene) -> Verdict {
    let Some(group) = group(scene) else { return Verdict::cannot_tell("the group is gone") };
    let Some(since) = kills_since_start(scene.facts, group) else {
        return Verdict::cannot_tell("how many were killed may not be read; ask as root");
    };
    let ever = kills_ever(scene.facts, group).unwrap_or(since);
    let before =
        if ever > since { format!(", {} before you began", ever - since) } else { "".into() };
    if since > 0 {
        return Verdict::holds(format!("oom_kill rose by {since}{before}"));
    }
    let peak = memory(scene).and_then(|memory| memory.peak.known().copied());
    let peak = peak.map_or_else(String::new, |peak| format!("; it used {peak} bytes at most"));
    Verdict::fails(format!("oom_kill did not rise{before}{peak}"), "oom_kill to rise")
}

/// Charges come in batches of up to 64 pages, and a huge page that did not fit is tried as small
/// ones: a group that was full has been this near to its limit.
const FULL: u64 = MIB;

/// Whether the group was full once. Its peak tells; failcnt of version 1 stays 0 where memory and
/// swap together have the same limit, which then is the one that fails. Before Linux 5.19, version
/// 2 kept no peak.
fn was_full(memory: &Memory, limit: u64) -> Option<bool> {
    let by_peak = memory.peak.known().map(|peak| peak.saturating_add(FULL) >= limit);
    by_peak.or_else(|| memory.limit_hits.known().map(|hits| *hits > 0))
}

fn reached_its_limit(scene: &Scene, observation: &Observation) -> Verdict {
    let Some(memory) = memory(scene) else { return Verdict::cannot_tell("the group is gone") };
    let limit = mib(scene.params()) * MIB;
    let Some(was_full) = was_full(memory, limit) else {
        return Verdict::cannot_tell("how full the group was may not be read; ask as root");
    };
    let peak = memory.peak.known().map(|peak| format!("{peak} bytes used at most"));
    let hits = memory.limit_hits.known().filter(|hits| **hits > 0 || peak.is_none());
    let hits = hits.map(|hits| format!("limit reached {hits} times"));
    let saw: Vec<String> = peak.into_iter().chain(hits).collect();
    let saw = saw.join(", ");
    if !was_full {
        return Verdict::fails(saw, format!("the group to have been full: {limit} bytes"));
    }
    match another_limit(scene, observation) {
        Some(limited) => Verdict::fails(
            format!("{saw}, but the kill was for {limited}"),
            "a kill for the limit of this group",
        ),
        None => Verdict::holds(saw),
    }
}

fn has_survivor(scene: &Scene, observation: &Observation) -> Verdict {
    let expected = "a process in the group that was started before the kill, and lives";
    let Some(living) = living(scene) else {
        return Verdict::cannot_tell("who is in the group may not be read; ask as root");
    };
    let Some(oldest) = living.iter().min_by_key(|process| process.id.start) else {
        return Verdict::fails("no live process in the group", expected);
    };
    let present = present(scene, observation);
    let nobody_was_there = present.as_ref().is_some_and(Vec::is_empty);
    let oldest = present.iter().flatten().min_by_key(|process| process.id.start).unwrap_or(oldest);
    match last_kill(scene, observation) {
        LastKill::Logged(kill) if is_later(scene, oldest, kill) => Verdict::fails(
            format!("{oldest}, started after {} {} was killed", kill.comm, kill.pid),
            expected,
        ),
        LastKill::Logged(kill) if nobody_was_there => Verdict::fails(
            format!("{oldest}, not in the group when {} {} was killed", kill.comm, kill.pid),
            expected,
        ),
        LastKill::Logged(kill) => {
            Verdict::holds(format!("{oldest} lives, {} {} was killed", kill.comm, kill.pid))
        }
        LastKill::NotLogged => Verdict::holds(format!(
            "{oldest} lives; the kernel log does not tell when the other was killed"
        )),
        LastKill::LogDenied => Verdict::holds(format!(
            "{oldest} lives; the kernel log, which tells when the other was killed, may not be read"
        )),
    }
}

fn high_not_max(scene: &Scene) -> bool {
    memory(scene).is_some_and(|memory| nearness(scene.facts, memory) == Some(Nearness::High))
}

fn wrong_unit(scene: &Scene) -> bool {
    memory(scene).is_some_and(|memory| nearness(scene.facts, memory) == Some(Nearness::WrongUnit))
}

fn killing_disabled(scene: &Scene) -> bool {
    group(scene).is_some_and(|group| {
        scene
            .snapshot()
            .cgroups
            .subtree(&group.at)
            .filter_map(|group| group.memory.as_ref())
            .any(|memory| memory.oom_kill_disabled.known() == Some(&true))
    })
}

fn killed_before_start(scene: &Scene) -> bool {
    group(scene).and_then(|group| kills_ever(scene.facts, group)).is_some_and(|kills| kills > 0)
}

/// A process's own memory is well above what its group was charged with: more than a few MiB, as
/// the two are not read at the same moment.
fn moved_after_allocating(scene: &Scene) -> bool {
    let usage = memory(scene).and_then(|memory| memory.usage.known());
    let (Some(usage), Some(living)) = (usage, living(scene)) else { return false };
    let own = living.iter().filter_map(|process| process.rss_anon.known());
    let own = own.fold(0, |sum: u64, bytes| sum.saturating_add(*bytes));
    own > usage.saturating_add(4 * MIB)
}

fn never_moved(scene: &Scene) -> bool {
    let nothing = |amount: &Reading<u64>| amount.known().is_none_or(|bytes| *bytes == 0);
    memory(scene).is_some_and(|memory| nothing(&memory.usage) && nothing(&memory.peak))
        && living(scene).is_some_and(|living| living.is_empty())
}

fn reclaimed_not_killed(scene: &Scene) -> bool {
    let limit = mib(scene.params()) * MIB;
    memory(scene).is_some_and(|memory| {
        was_full(memory, limit) == Some(true)
            || memory.limit_hits.known().is_some_and(|hits| *hits > 0)
    })
}

fn all_go_together(scene: &Scene) -> bool {
    group(scene).is_some_and(|group| {
        scene
            .snapshot()
            .cgroups
            .subtree(&group.at)
            .filter_map(|group| group.memory.as_ref())
            .any(|memory| memory.oom_group.known() == Some(&true))
    }) && nobody_survived(scene)
}

fn moved_in_later(scene: &Scene) -> bool {
    let Some(seen) = ask(scene).and_then(|request| scene.seen(&request)) else { return false };
    let LastKill::Logged(kill) = last_kill(scene, seen) else { return false };
    present(scene, seen).is_some_and(|present| present.is_empty())
        && living(scene).unwrap_or_default().iter().any(|process| !is_later(scene, process, kill))
}

fn came_later(scene: &Scene) -> bool {
    let asked = ask(scene).and_then(|request| scene.seen(&request));
    asked.is_some_and(|seen| matches!(last_kill(scene, seen), LastKill::Logged(_)))
        && !nobody_survived(scene)
}

fn nobody_survived(scene: &Scene) -> bool {
    living(scene).is_some_and(|living| living.is_empty())
}
