//! The links of `/proc/PID/ns` (namespaces(7)).

use super::Error;
use super::read::{Buffer, Folder};
use super::text::{Malformed, decimal};
use crate::facts::{NamespaceId, Namespaces, Reading};

/// Parses what a link says, such as `pid:[4026531836]`, into the inode number.
pub fn parse_link(target: &[u8]) -> Result<u64, Malformed> {
    inode(target).ok_or_else(|| Malformed::new(1, "'kind:[inode]'", target))
}

fn inode(target: &[u8]) -> Option<u64> {
    let open = memchr::memchr(b'[', target)?;
    if !target[..open].ends_with(b":") {
        return None;
    }
    decimal(target[open + 1..].strip_suffix(b"]")?)
}

/// Reads all links of one process. Reading where a link leads is cheaper than following it, and
/// says all but the device, which is that of nsfs for every namespace.
pub(super) fn read_links(
    process: &Folder,
    device: u64,
    buffer: &mut Buffer,
) -> Result<Namespaces, Error> {
    let mut id = |name| -> Result<Reading<NamespaceId>, Error> {
        let ino = process.link(name, buffer, parse_link)?;
        Ok(ino.map(|ino| NamespaceId { dev: device, ino }))
    };
    Ok(Namespaces {
        cgroup: id(c"ns/cgroup")?,
        ipc: id(c"ns/ipc")?,
        mnt: id(c"ns/mnt")?,
        net: id(c"ns/net")?,
        pid: id(c"ns/pid")?,
        pid_for_children: id(c"ns/pid_for_children")?,
        time: id(c"ns/time")?,
        time_for_children: id(c"ns/time_for_children")?,
        user: id(c"ns/user")?,
        uts: id(c"ns/uts")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_says_the_inode() {
        assert_eq!(parse_link(b"pid:[4026531836]"), Ok(4_026_531_836));
        assert_eq!(parse_link(b"mnt:[18446744073709551615]"), Ok(u64::MAX));
    }

    #[test]
    fn a_link_to_something_else_is_malformed() {
        for target in [&b""[..], b"/bin/sh", b"pid:[]", b"pid:[1", b"[1]", b"pid:[1]x", b"pid:1"] {
            assert!(parse_link(target).is_err(), "{}", target.escape_ascii());
        }
    }
}
