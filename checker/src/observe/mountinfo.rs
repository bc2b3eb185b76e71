//! `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).

use super::text::{Malformed, decimal, lines, lossy};
use crate::facts::Mount;

/// Parses the text of `/proc/PID/mountinfo`.
pub fn parse_mountinfo(text: &[u8]) -> Result<Vec<Mount>, Malformed> {
    const WANTED: &str = "'id parent major:minor root mount-point options … - type source options'";
    lines(text)
        .map(|(number, line)| parse_line(line).ok_or_else(|| Malformed::new(number, WANTED, line)))
        .collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    // Blanks within a field are escaped, so a blank always ends one; a field may be empty.
    let mut fields = line.split(|byte| *byte == b' ');
    let mut mount = Mount {
        id: decimal(fields.next()?)?,
        parent: decimal(fields.next()?)?,
        device: device(fields.next()?)?,
        root: unescape(fields.next()?),
        mount_point: unescape(fields.next()?),
        options: unescape(fields.next()?),
        shared: None,
        master: None,
        fs_type: String::new(),
        source: String::new(),
        super_options: String::new(),
    };
    for tag in fields.by_ref().take_while(|field| *field != b"-") {
        take_tag(&mut mount, tag)?;
    }
    mount.fs_type = unescape(fields.next()?);
    mount.source = unescape(fields.next()?);
    mount.super_options = unescape(fields.next()?);
    Some(mount)
}

fn device(field: &[u8]) -> Option<String> {
    let colon = memchr::memchr(b':', field)?;
    decimal(&field[..colon])?;
    decimal(&field[colon + 1..])?;
    Some(lossy(field))
}

/// An optional field; those that are not known mean nothing here.
fn take_tag(mount: &mut Mount, tag: &[u8]) -> Option<()> {
    let number = |digits| u32::try_from(decimal(digits)?).ok();
    if let Some(group) = tag.strip_prefix(b"shared:") {
        mount.shared = Some(number(group)?);
    } else if let Some(group) = tag.strip_prefix(b"master:") {
        mount.master = Some(number(group)?);
    }
    Some(())
}

/// Resolves the kernel's escapes: a backslash and three octal digits.
fn unescape(field: &[u8]) -> String {
    if !field.contains(&b'\\') {
        return lossy(field);
    }
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        match octal(rest) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    lossy(&bytes)
}

fn octal(text: &[u8]) -> Option<u8> {
    let [b'\\', digits @ ..] = text.get(..4)? else { return None };
    let number = digits
        .iter()
        .try_fold(0u32, |number, byte| Some(number * 8 + char::from(*byte).to_digit(8)?))?;
    u8::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Mount {
        parse_mountinfo(line.as_bytes()).unwrap().remove(0)
    }

    #[test]
    fn the_fields_are_those_of_the_manual_page() {
        let mount = one("36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,x=y\n");
        let expected = Mount {
            id: 36,
            parent: 35,
            device: "98:0".to_owned(),
            root: "/mnt1".to_owned(),
            mount_point: "/mnt2".to_owned(),
            options: "rw,noatime".to_owned(),
            shared: None,
            master: Some(1),
            fs_type: "ext3".to_owned(),
            source: "/dev/root".to_owned(),
            super_options: "rw,x=y".to_owned(),
        };
        assert_eq!(mount, expected);
    }

    #[test]
    fn a_mount_can_be_shared_and_a_slave_at_once() {
        let mount =
            one("1 2 0:1 / / rw shared:7 master:3 propagate_from:2 unbindable - tmpfs t rw");
        assert_eq!((mount.shared, mount.master), (Some(7), Some(3)));
        let private = one("1 2 0:1 / / rw - tmpfs t rw");
        assert_eq!((private.shared, private.master), (None, None));
    }

    #[test]
    fn octal_escapes_are_resolved() {
        let mount = one(r"1 2 0:1 / /a\040b\011c\134d\012 rw - tmpfs \043x rw");
        assert_eq!(mount.mount_point, "/a b\tc\\d\n");
        assert_eq!(mount.source, "#x");
        assert_eq!(one(r"1 2 0:1 / /\9\04 rw - tmpfs t rw").mount_point, r"/\9\04");
    }

    #[test]
    fn a_source_may_be_empty() {
        let mount = one("1 2 0:1 / / rw - tmpfs  rw,size=1k");
        assert_eq!((mount.source.as_str(), mount.super_options.as_str()), ("", "rw,size=1k"));
    }

    #[test]
    fn a_line_of_another_shape_is_malformed() {
        for line in [
            "",
            "x 2 0:1 / / rw - tmpfs t rw",
            "1 2 0-1 / / rw - tmpfs t rw",
            "1 2 0: / / rw - tmpfs t rw",
            "1 2 0:1 / / rw tmpfs t rw",
            "1 2 0:1 / / rw - tmpfs t",
            "1 2 0:1 / / rw shared:x - tmpfs t rw",
        ] {
            let text = format!("1 2 0:1 / / rw - tmpfs t rw\n{line}\n");
            assert_eq!(parse_mountinfo(text.as_bytes()).unwrap_err().line, 2, "{line}");
        }
    }
}
