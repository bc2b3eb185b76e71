//! The files of version 1 (Documentation/admin-guide/cgroup-v1/).

use super::files::Files;
use crate::facts::{Cgroup, CgroupRef, Cpu, Memory, Pids, Reading};
use crate::observe::Error;
use crate::observe::text::{Malformed, parse_value};

/// Reads a group of a hierarchy with these controllers.
pub(super) fn group(
    files: &mut Files<'_>,
    at: CgroupRef,
    ino: u64,
    controllers: &[String],
) -> Result<Cgroup, Error> {
    let has = |name: &str| controllers.iter().any(|controller| controller == name);
    Ok(Cgroup {
        at,
        ino,
        procs: files.procs()?,
        memory: has("memory").then(|| memory(files)).transpose()?,
        pids: has("pids").then(|| pids(files)).transpose()?,
        cpu: has("cpu").then(|| cpu(files)).transpose()?,
        frozen: if has("freezer") {
            files.parsed(c"freezer.state", parse_frozen)?
        } else {
            Reading::Absent
        },
    })
}

fn memory(files: &mut Files<'_>) -> Result<Memory, Error> {
    let [disabled, kills] = files.keyed(c"memory.oom_control", ["oom_kill_disable", "oom_kill"])?;
    Ok(Memory {
        limit: files.limit(c"memory.limit_in_bytes")?,
        high: Reading::Absent,
        memory_and_swap_limit: files.limit(c"memory.memsw.limit_in_bytes")?,
        swap_limit: Reading::Absent,
        usage: files.number(c"memory.usage_in_bytes")?,
        peak: files.number(c"memory.max_usage_in_bytes")?,
        limit_hits: files.number(c"memory.failcnt")?,
        oom_kills: kills,
        oom_kills_local: kills,
        oom_kill_disabled: disabled.map(|flag| flag != 0),
        oom_group: Reading::Absent,
    })
}

fn pids(files: &mut Files<'_>) -> Result<Pids, Error> {
    let [refused] = files.keyed(c"pids.events", ["max"])?;
    Ok(Pids { limit: files.limit(c"pids.max")?, current: files.number(c"pids.current")?, refused })
}

fn cpu(files: &mut Files<'_>) -> Result<Cpu, Error> {
    let keys = ["nr_periods", "nr_throttled", "throttled_time"];
    let [periods, throttled, nanoseconds] = files.keyed(c"cpu.stat", keys)?;
    Ok(Cpu {
        quota: files.limit(c"cpu.cfs_quota_us")?,
        period: files.number(c"cpu.cfs_period_us")?,
        weight: files.number(c"cpu.shares")?,
        periods,
        throttled,
        throttled_us: nanoseconds.map(|time| time / 1000),
    })
}

/// Parses `freezer.state`. A group that is still FREEZING is not frozen yet.
fn parse_frozen(text: &[u8]) -> Result<bool, Malformed> {
    parse_value(text, "THAWED, FREEZING or FROZEN", |state| match state {
        b"FROZEN" => Some(true),
        b"THAWED" | b"FREEZING" => Some(false),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_frozen_is_frozen() {
        assert_eq!(parse_frozen(b"FROZEN\n"), Ok(true));
        assert_eq!(parse_frozen(b"FREEZING\n"), Ok(false));
        assert_eq!(parse_frozen(b"THAWED\n"), Ok(false));
    }

    #[test]
    fn another_word_is_malformed() {
        assert!(parse_frozen(b"MELTED\n").is_err());
        assert!(parse_frozen(b"").is_err());
    }
}
