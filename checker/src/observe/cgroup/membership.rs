//! `/proc/PID/cgroup` (cgroups(7)).

use crate::facts::CgroupPath;
use crate::observe::text::{Malformed, decimal, lines, lossy};

/// Parses the text of `/proc/PID/cgroup`: lines `number:controllers:path`.
pub fn parse_membership(text: &[u8]) -> Result<Vec<CgroupPath>, Malformed> {
    lines(text)
        .map(|(number, line)| {
            parse_line(line)
                .ok_or_else(|| Malformed::new(number, "'number:controllers:/path'", line))
        })
        .collect()
}

fn parse_line(line: &[u8]) -> Option<CgroupPath> {
    let mut parts = line.splitn(3, |byte| *byte == b':');
    let hierarchy = u32::try_from(decimal(parts.next()?)?).ok()?;
    let controllers = parts.next()?.split(|byte| *byte == b',');
    let controllers = controllers.filter(|name| !name.is_empty()).map(lossy).collect();
    // The path may contain colons, and starts with a slash.
    let path = parts.next().filter(|path| path.starts_with(b"/"))?;
    Some(CgroupPath { hierarchy, controllers, path: lossy(path) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(hierarchy: u32, controllers: &[&str], path: &str) -> CgroupPath {
        let controllers = controllers.iter().map(|&name| name.to_owned()).collect();
        CgroupPath { hierarchy, controllers, path: path.to_owned() }
    }

    #[test]
    fn each_hierarchy_has_a_line() {
        let text = b"9:name=systemd:/\n4:cpu,cpuacct:/lab/a:b\n0::/../user.slice\n";
        let expected = [
            path(9, &["name=systemd"], "/"),
            path(4, &["cpu", "cpuacct"], "/lab/a:b"),
            path(0, &[], "/../user.slice"),
        ];
        assert_eq!(parse_membership(text).unwrap(), expected);
    }

    #[test]
    fn a_machine_without_cgroups_gives_no_lines() {
        assert_eq!(parse_membership(b"").unwrap(), []);
    }

    #[test]
    fn a_line_of_another_shape_is_malformed() {
        for line in ["", "0", "0:", "0::", "0::lab", "x::/", "-1::/"] {
            let fault = parse_membership(format!("1:cpu:/\n{line}\n").as_bytes()).unwrap_err();
            assert_eq!(fault.line, 2, "{line}");
        }
    }
}
