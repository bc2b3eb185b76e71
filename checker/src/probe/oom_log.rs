//! Reads from the kernel log which processes were killed for want of memory, and when (kmsg(4),
//! Documentation/ABI/testing/dev-kmsg).

use std::collections::VecDeque;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

use crate::facts::{Observation, OomKill, Reading};

/// The latest kills are enough.
const MOST_KILLS: usize = 256;

/// A record is never longer: the kernel's own buffer for one (`PRINTK_MESSAGE_MAX`).
const RECORD: usize = 8192;

pub(super) fn look(cgroup: &str) -> Result<Observation, String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let kills = match rustix::fs::open("/dev/kmsg", flags, Mode::empty()) {
        Ok(log) => Reading::Known(read(&log, cgroup)?),
        Err(Errno::PERM | Errno::ACCESS) => Reading::DENIED,
        Err(Errno::NOENT | Errno::NXIO | Errno::NODEV) => Reading::Absent,
        Err(error) => return Err(format!("/dev/kmsg: {error}")),
    };
    Ok(Observation::OomLog { kills })
}

/// The kills in `cgroup` or below it, oldest first. Every read(2) gives one record, from the oldest
/// that is left.
fn read(log: &std::os::fd::OwnedFd, cgroup: &str) -> Result<Vec<OomKill>, String> {
    let asleep = time_asleep();
    let mut kills = VecDeque::new();
    let mut list = List::default();
    let mut record = [0; RECORD];
    loop {
        let length = match rustix::io::read(log, &mut record) {
            // 0 where the log is a plain file, as in some containers.
            Err(Errno::AGAIN) | Ok(0) => return Ok(kills.into()),
            // The record was overwritten meanwhile, or is longer than any should be.
            Err(Errno::PIPE | Errno::INVAL) => {
                list = List::default();
                continue;
            }
            Err(Errno::INTR) => continue,
            Err(error) => return Err(format!("/dev/kmsg: {error}")),
            Ok(length) => length,
        };
        let record = String::from_utf8_lossy(&record[..length]);
        list.read(&record);
        let Some(kill) = parse(&record) else { continue };
        let present = list.take();
        if is_in(&kill.of, cgroup) {
            if kills.len() == MOST_KILLS {
                kills.pop_front();
            }
            kills.push_back(OomKill { at_us: kill.at_us + asleep, present, ..kill });
        }
    }
}

/// How long the machine has been suspended, in microseconds: the log's clock stands still then.
fn time_asleep() -> u64 {
    let clock = |id| Duration::try_from(clock_gettime(id)).unwrap_or_default();
    let asleep = clock(ClockId::Boottime).saturating_sub(clock(ClockId::Monotonic));
    // The two are read one after the other: what is left of less than a second is not sleep.
    if asleep < Duration::from_secs(1) { 0 } else { asleep.as_micros() as u64 }
}

/// Whether `group` is `cgroup` or below it.
fn is_in(group: &str, cgroup: &str) -> bool {
    group
        .strip_prefix(cgroup.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// One record, such as `6,1234,5678901,-;oom-kill:constraint=CONSTRAINT_MEMCG,…`.
fn parse(record: &str) -> Option<OomKill> {
    let (prefix, message) = record.split_once(';')?;
    let facts = message.lines().next()?.strip_prefix("oom-kill:")?;
    // The name may hold commas, so the fields after it are taken from the end.
    let (rest, _uid) = facts.rsplit_once(",uid=")?;
    let (rest, pid) = rest.rsplit_once(",pid=")?;
    let (rest, comm) = rest.rsplit_once(",task=")?;
    let (rest, of) = rest.rsplit_once(",task_memcg=")?;
    let limited = rest.split_once(",oom_memcg=").map(|(_, group)| unescape(group));
    Some(OomKill {
        at_us: prefix.split(',').nth(2)?.parse().ok()?,
        limited,
        of: unescape(of),
        comm: unescape(comm),
        pid: pid.parse().ok()?,
        present: Vec::new(),
    })
}

/// The list of processes that the kernel logs before a kill, while it is being read. One kill is
/// logged after the other, so between head and kill there is one list.
#[derive(Default)]
struct List {
    /// Nothing before the head: a list whose beginning is lost is none.
    pids: Option<Vec<i32>>,
}

impl List {
    fn read(&mut self, record: &str) {
        let message = record.split_once(';').map_or("", |(_, message)| message);
        if message.starts_with("Tasks state (") {
            self.pids = Some(Vec::new());
        } else if let (Some(pids), Some(pid)) = (&mut self.pids, listed(message)) {
            pids.push(pid);
        }
    }

    fn take(&mut self) -> Vec<i32> {
        self.pids.take().unwrap_or_default()
    }
}

/// The process of one line, such as `[  19060]     0 19060      730 …`: thread, user, process.
fn listed(message: &str) -> Option<i32> {
    let (thread, rest) = message.strip_prefix('[')?.split_once(']')?;
    thread.trim().parse::<i32>().ok()?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// The log writes bytes that are not printable ASCII, and the backslash, as `\xNN`.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let number = after.strip_prefix(b"x").and_then(|digits| digits.get(..2));
        let byte = number
            .filter(|_| *first == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[3..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMCG: &str = "6,1650,2209255890,-;oom-kill:constraint=CONSTRAINT_MEMCG,\
        nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/lab,task_memcg=/lab/a,task=hog,\
        pid=4711,uid=0\n SUBSYSTEM=x\n";

    #[test]
    fn a_kill_by_a_groups_limit_names_the_limit_and_the_group() {
        let kill = parse(MEMCG).unwrap();
        assert_eq!((kill.at_us, kill.pid, kill.comm.as_str()), (2_209_255_890, 4711, "hog"));
        assert_eq!((kill.limited.as_deref(), kill.of.as_str()), (Some("/lab"), "/lab/a"));
    }

    #[test]
    fn a_kill_for_want_of_the_machines_memory_names_no_limit() {
        let kill = parse(
            "6,1,2,-;oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,\
             global_oom,task_memcg=/lab,task=hog,pid=5,uid=0",
        );
        assert_eq!(kill.unwrap().limited, None);
    }

    #[test]
    fn a_name_may_hold_commas_and_escaped_bytes() {
        let kill = parse(&MEMCG.replace("task=hog", r"task=a,b\x5cc\xc3\xa9")).unwrap();
        assert_eq!(kill.comm, r"a,b\cé");
    }

    #[test]
    fn those_present_are_read_from_the_head_of_the_list_to_the_kill() {
        let mut list = List::default();
        list.read("6,1,2,-;[     11]     0    11      730      415");
        for record in [
            "6,2,3,-;Tasks state (memory values in pages):",
            "6,3,3,-;[  pid  ]   uid  tgid total_vm      rss",
            "6,4,3,-;[  19060]     0 19060      730      415",
            "6,5,3,-;veth0: link up",
            "6,6,3,-;[  19154]     0 19153    12122    11824",
            MEMCG,
        ] {
            list.read(record);
        }
        assert_eq!(list.take(), [19060, 19153]);
        assert_eq!(list.take(), [0; 0]);
    }

    #[test]
    fn other_records_are_no_kills() {
        for record in ["", "6,1,2,-;hello", "6,1,2,-;oom-kill:", "6,1;oom-kill:,task=a,pid=b,uid=c"]
        {
            assert_eq!(parse(record), None, "{record}");
        }
    }

    #[test]
    fn a_group_is_in_itself_and_in_those_above_but_not_beside() {
        assert!(is_in("/lab", "/lab") && is_in("/lab/a", "/lab") && is_in("/lab", "/"));
        assert!(!is_in("/lab2", "/lab") && !is_in("/", "/lab"));
    }
}
