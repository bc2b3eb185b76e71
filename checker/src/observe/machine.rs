//! The machine and the moment.

use std::ffi::CStr;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::param::{clock_ticks_per_second, page_size};

use super::proc::Proc;
use super::read::Buffer;
use super::status::kilobytes;
use super::text::{Malformed, decimal, lines, lossy, words};
use super::{Error, ProcFault};
use crate::facts::{Machine, Reading};

pub(super) fn read(proc: &Proc) -> Result<Machine, Error> {
    let ticks_per_second = clock_ticks_per_second();
    let hundredths = needed(proc, c"uptime", parse_uptime)?;
    let name = |text: &[u8]| Ok(lossy(text.trim_ascii_end()));
    Ok(Machine {
        hostname: needed(proc, c"sys/kernel/hostname", name)?,
        kernel: needed(proc, c"sys/kernel/osrelease", name)?,
        boot_id: needed(proc, c"sys/kernel/random/boot_id", name)?,
        page_size: u64::try_from(page_size()).unwrap_or(4096),
        ticks_per_second,
        ticks_since_boot: hundredths * ticks_per_second / 100,
        unix_ms: unix_ms(),
        swap_total: needed(proc, c"meminfo", parse_swap_total)?,
    })
}

/// A file that every whole proc file system has.
fn needed<T>(
    proc: &Proc,
    name: &CStr,
    parse: impl FnOnce(&[u8]) -> Result<T, Malformed>,
) -> Result<T, Error> {
    match proc.folder().whole(name, &mut Buffer::new(), parse)? {
        Reading::Known(value) => Ok(value),
        Reading::Denied(_) => {
            Err(Error::io(&proc.folder().path_of(name), rustix::io::Errno::ACCESS))
        }
        Reading::Absent => {
            Err(Error::Proc { path: proc.folder().path_of(name), fault: ProcFault::OnlyProcesses })
        }
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Parses `/proc/uptime` into hundredths of a second: two numbers with two decimals each.
fn parse_uptime(text: &[u8]) -> Result<u64, Malformed> {
    let parse = || {
        let first = words(text).next()?;
        let dot = memchr::memchr(b'.', first)?;
        let [tens, ones] = first[dot + 1..] else { return None };
        decimal(&first[..dot])?.checked_mul(100)?.checked_add(decimal(&[tens, ones])?)
    };
    parse().ok_or_else(|| Malformed::new(1, "seconds with two decimals", text))
}

/// Parses `SwapTotal` of `/proc/meminfo`, in bytes; 0 for a kernel without swap.
fn parse_swap_total(text: &[u8]) -> Result<u64, Malformed> {
    for (number, line) in lines(text) {
        if let Some(value) = line.strip_prefix(b"SwapTotal:") {
            return kilobytes(value.trim_ascii())
                .ok_or_else(|| Malformed::new(number, "a number of kB", line));
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_is_read_in_hundredths() {
        assert_eq!(parse_uptime(b"12345.67 98765.43\n"), Ok(1_234_567));
        assert_eq!(parse_uptime(b"0.05 0.00\n"), Ok(5));
    }

    #[test]
    fn uptime_of_another_shape_is_malformed() {
        for text in ["", "12", "12.3 4.5", "x.12 1.00", "-1.00 1.00"] {
            assert!(parse_uptime(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn swap_is_read_in_bytes() {
        assert_eq!(parse_swap_total(b"MemTotal: 9 kB\nSwapTotal:     2 kB\n"), Ok(2048));
        assert_eq!(parse_swap_total(b"MemTotal: 9 kB\n"), Ok(0));
        assert_eq!(parse_swap_total(b"MemTotal: 9 kB\nSwapTotal: two\n").unwrap_err().line, 2);
    }
}
