//! `/proc/PID/status` (proc_pid_status(5)).

use super::text::{Malformed, decimal, hexadecimal, lines, signed, words};
use crate::facts::{Capabilities, Reading, Seccomp, Signals, State};

/// The fields of `/proc/PID/status` that are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// `State`
    pub state: State,
    /// `Uid`: real, effective, saved, file system.
    pub uids: [u32; 4],
    /// `Gid`: likewise.
    pub gids: [u32; 4],
    /// `NSpid`; empty for a kernel without PID namespaces.
    pub ns_pid: Vec<i32>,
    /// `RssAnon` in bytes; absent for a zombie or a kernel thread.
    pub rss_anon: Reading<u64>,
    /// `Threads`
    pub threads: u32,
    /// `SigBlk`, `SigIgn`, `SigCgt`
    pub signals: Signals,
    /// `CapInh` and so on.
    pub capabilities: Capabilities,
    /// `NoNewPrivs`
    pub no_new_privs: bool,
    /// `Seccomp`; disabled for a kernel without it.
    pub seccomp: Seccomp,
}

/// Parses the text of `/proc/PID/status`. Lines that are not used may say what they like; one that
/// is used and missing (`Uid`, `Gid`, `State`) is a fault.
pub fn parse_status(text: &[u8]) -> Result<Status, Malformed> {
    let mut status = Status {
        state: State::Other,
        uids: [0; 4],
        gids: [0; 4],
        ns_pid: Vec::new(),
        rss_anon: Reading::Absent,
        threads: 0,
        signals: Signals { blocked: 0, ignored: 0, caught: 0 },
        capabilities: Capabilities {
            inheritable: 0,
            permitted: 0,
            effective: 0,
            bounding: 0,
            ambient: 0,
        },
        no_new_privs: false,
        seccomp: Seccomp::Disabled,
    };
    let mut needed = 0;
    for (number, line) in lines(text) {
        let Some(colon) = memchr::memchr(b':', line) else {
            return Err(Malformed::new(number, "'Name: value'", line));
        };
        let (key, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        needed += usize::from(matches!(key, b"State" | b"Uid" | b"Gid"));
        status
            .take(key, value)
            .ok_or_else(|| Malformed::new(number, "a value of its kind", line))?;
        if key == b"Seccomp" {
            break; // The last one used; the long lists of processors and memory nodes come after it.
        }
    }
    if needed != 3 {
        return Err(Malformed::new(1, "State, Uid and Gid among the lines", text));
    }
    Ok(status)
}

impl Status {
    /// Takes one line in; nothing where its value is of the wrong kind.
    fn take(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        match key {
            b"State" => self.state = State::from_letter(char::from(*value.first()?)),
            b"Uid" => self.uids = ids(value)?,
            b"Gid" => self.gids = ids(value)?,
            b"NSpid" => self.ns_pid = pids(value)?,
            b"RssAnon" => self.rss_anon = Reading::Known(kilobytes(value)?),
            b"Threads" => self.threads = u32::try_from(decimal(value)?).ok()?,
            b"SigBlk" => self.signals.blocked = hexadecimal(value)?,
            b"SigIgn" => self.signals.ignored = hexadecimal(value)?,
            b"SigCgt" => self.signals.caught = hexadecimal(value)?,
            b"CapInh" => self.capabilities.inheritable = hexadecimal(value)?,
            b"CapPrm" => self.capabilities.permitted = hexadecimal(value)?,
            b"CapEff" => self.capabilities.effective = hexadecimal(value)?,
            b"CapBnd" => self.capabilities.bounding = hexadecimal(value)?,
            b"CapAmb" => self.capabilities.ambient = hexadecimal(value)?,
            b"NoNewPrivs" => self.no_new_privs = decimal(value)? != 0,
            b"Seccomp" => self.seccomp = seccomp(value)?,
            _ => {}
        }
        Some(())
    }
}

fn ids(value: &[u8]) -> Option<[u32; 4]> {
    let mut words = words(value).map(|word| u32::try_from(decimal(word)?).ok());
    let ids = [words.next()??, words.next()??, words.next()??, words.next()??];
    words.next().is_none().then_some(ids)
}

fn pids(value: &[u8]) -> Option<Vec<i32>> {
    words(value).map(|word| i32::try_from(signed(word)?).ok()).collect()
}

/// `1234 kB`, which are units of 1024 bytes.
pub(super) fn kilobytes(value: &[u8]) -> Option<u64> {
    decimal(value.strip_suffix(b" kB")?)?.checked_mul(1024)
}

fn seccomp(value: &[u8]) -> Option<Seccomp> {
    match value {
        b"0" => Some(Seccomp::Disabled),
        b"1" => Some(Seccomp::Strict),
        b"2" => Some(Seccomp::Filter),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tsh\nUmask:\t0022\nState:\tS (sleeping)\nUid:\t1000\t0\t0\t4294967295\n\
        Gid:\t1\t2\t3\t4\nGroups:\t \nNSpid:\t26097\t1\nRssAnon:\t     116 kB\nThreads:\t2\n\
        SigBlk:\t0000000000010000\nSigIgn:\t0000000000000004\nSigCgt:\t8000000000000000\n\
        CapInh:\t0000000000000000\nCapPrm:\t000001fffeffffff\nCapEff:\t00000000a80425fb\n\
        CapBnd:\t0000000000000001\nCapAmb:\t0000000000000002\nNoNewPrivs:\t1\nSeccomp:\t2\n\
        Seccomp_filters:\t1\nMems_allowed:\t0,0\n";

    #[test]
    fn the_used_fields_are_read() {
        let status = parse_status(STATUS.as_bytes()).unwrap();
        assert_eq!(status.state, State::Sleeping);
        assert_eq!(status.uids, [1000, 0, 0, u32::MAX]);
        assert_eq!(status.gids, [1, 2, 3, 4]);
        assert_eq!(status.ns_pid, [26097, 1]);
        assert_eq!(status.rss_anon, Reading::Known(116 * 1024));
        assert_eq!(status.threads, 2);
        assert_eq!(status.signals, Signals { blocked: 1 << 16, ignored: 4, caught: 1 << 63 });
        assert_eq!(status.capabilities.effective, 0xa804_25fb);
        assert_eq!((status.capabilities.bounding, status.capabilities.ambient), (1, 2));
        assert!(status.no_new_privs);
        assert_eq!(status.seccomp, Seccomp::Filter);
    }

    #[test]
    fn a_zombie_has_no_memory() {
        let text = STATUS.replace("RssAnon:\t     116 kB\n", "").replace("S (sl", "Z (zo");
        let status = parse_status(text.as_bytes()).unwrap();
        assert_eq!((status.state, status.rss_anon), (State::Zombie, Reading::Absent));
    }

    #[test]
    fn a_kernel_without_seccomp_or_pid_namespaces_is_read_too() {
        let text = STATUS.replace("Seccomp:\t2\n", "").replace("NSpid:\t26097\t1\n", "");
        let status = parse_status(text.as_bytes()).unwrap();
        assert_eq!(status.seccomp, Seccomp::Disabled);
        assert!(status.ns_pid.is_empty());
    }

    #[test]
    fn a_malformed_line_is_named_by_its_number() {
        for (from, to, line) in [
            ("Uid:\t1000\t0\t0\t4294967295", "Uid:\t1000\t0\t0", 4),
            ("Uid:\t1000", "Uid:\t4294967296", 4),
            ("Gid:\t1\t2", "Gid:\t1\t0\t2", 5),
            ("NSpid:\t26097", "NSpid:\tone", 7),
            ("116 kB", "116 MB", 8),
            ("CapEff:\t0", "CapEff:\tg", 15),
            ("Seccomp:\t2", "Seccomp:\t3", 19),
            ("Umask:\t0022", "0022", 2),
        ] {
            let fault = parse_status(STATUS.replacen(from, to, 1).as_bytes()).unwrap_err();
            assert_eq!(fault.line, line, "{fault:?}");
        }
    }

    #[test]
    fn a_file_without_its_main_lines_is_malformed() {
        assert!(parse_status(b"").is_err());
        assert!(parse_status(STATUS.replace("Uid:", "Vid:").as_bytes()).is_err());
    }
}
