//! The files of version 2 (Documentation/admin-guide/cgroup-v2.rst).

use super::files::{Files, limit};
use crate::facts::{Cgroup, CgroupRef, Cpu, Limit, Memory, Pids, Reading};
use crate::observe::Error;
use crate::observe::text::{Malformed, decimal, parse_value, words};

/// Reads a group. The controllers that work in it are those in its `cgroup.controllers`.
pub(super) fn group(files: &mut Files<'_>, at: CgroupRef, ino: u64) -> Result<Cgroup, Error> {
    let controllers = files.names(c"cgroup.controllers")?;
    let has = |name: &str| controllers.iter().any(|controller| controller == name);
    let [frozen] = files.keyed(c"cgroup.events", ["frozen"])?;
    Ok(Cgroup {
        at,
        ino,
        procs: files.procs()?,
        memory: has("memory").then(|| memory(files)).transpose()?,
        pids: has("pids").then(|| pids(files)).transpose()?,
        cpu: has("cpu").then(|| cpu(files)).transpose()?,
        frozen: frozen.map(|flag| flag != 0),
    })
}

fn memory(files: &mut Files<'_>) -> Result<Memory, Error> {
    let [limit_hits, oom_kills] = files.keyed(c"memory.events", ["max", "oom_kill"])?;
    let [oom_kills_local] = files.keyed(c"memory.events.local", ["oom_kill"])?;
    Ok(Memory {
        limit: files.limit(c"memory.max")?,
        high: files.limit(c"memory.high")?,
        memory_and_swap_limit: Reading::Absent,
        swap_limit: files.limit(c"memory.swap.max")?,
        usage: files.number(c"memory.current")?,
        peak: files.number(c"memory.peak")?,
        limit_hits,
        oom_kills,
        oom_kills_local,
        oom_kill_disabled: Reading::Absent,
        oom_group: files.flag(c"memory.oom.group")?,
    })
}

fn pids(files: &mut Files<'_>) -> Result<Pids, Error> {
    let [refused] = files.keyed(c"pids.events", ["max"])?;
    Ok(Pids { limit: files.limit(c"pids.max")?, current: files.number(c"pids.current")?, refused })
}

fn cpu(files: &mut Files<'_>) -> Result<Cpu, Error> {
    let keys = ["nr_periods", "nr_throttled", "throttled_usec"];
    let [periods, throttled, throttled_us] = files.keyed(c"cpu.stat", keys)?;
    let max = files.parsed(c"cpu.max", parse_cpu_max)?;
    Ok(Cpu {
        quota: max.map(|(quota, _)| quota),
        period: max.map(|(_, period)| period),
        weight: files.number(c"cpu.weight")?,
        periods,
        throttled,
        throttled_us,
    })
}

/// Parses `cpu.max`: quota and period in microseconds.
fn parse_cpu_max(text: &[u8]) -> Result<(Limit, u64), Malformed> {
    parse_value(text, "'quota period'", |line| {
        let mut words = words(line);
        let max = (limit(words.next()?)?, decimal(words.next()?)?);
        words.next().is_none().then_some(max)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_a_number_or_none() {
        assert_eq!(parse_cpu_max(b"20000 100000\n"), Ok((Limit::At(20_000), 100_000)));
        assert_eq!(parse_cpu_max(b"max 100000\n"), Ok((Limit::MAX, 100_000)));
    }

    #[test]
    fn a_quota_without_its_period_is_malformed() {
        for text in ["", "max", "20000", "100000 max", "1 2 3"] {
            assert!(parse_cpu_max(text.as_bytes()).is_err(), "{text}");
        }
    }
}
