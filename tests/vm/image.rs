//! What `vm/image/build` made, and `vm/provision.sh` in it a second time.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use crate::inside::Inside;
use crate::machine::{Machine, printed, turn};
use crate::needs;
use crate::programs::checkout;
use crate::support::need::Need;

/// All that provisioning could change: packages, files with their times, units with theirs.
const STATE: &str = r"
    dpkg-query --show
    sudo find /etc /usr/local /home -printf '%p %m %u:%g %l %C@ %T@\n' | sort
    systemctl list-unit-files --no-legend --type service,socket,target,timer
    systemctl show --property Id,ActiveState,InvocationID,ExecMainPID \
        ssh.service docker.socket containerd.service podlab-book.service
";

/// Runs `vm/provision.sh` there, which arrives as its shell's standard input.
fn provision(machine: &Machine, arguments: &str) -> (bool, String) {
    let script = File::open(checkout().join("vm/provision.sh")).expect("vm/provision.sh");
    let mut ssh = machine.ssh(&[]);
    let output = ssh
        .arg(format!("sudo bash -s -- {arguments} 2>&1"))
        .stdin(script)
        .output()
        .expect("ssh starts");
    (output.status.success(), String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn provisioning_again_changes_nothing() {
    needs!(Need::Vm);
    let _turn = turn();
    let machine = &Inside::shared().machine;
    // In a session of its own each time: what a first session makes of itself is no change.
    machine.script(STATE);
    let before = machine.script(STATE);
    assert_eq!(provision(machine, "--binaries /usr/local/bin"), (true, String::new()));

    let after = machine.script(STATE);
    let changed: Vec<_> =
        after.lines().filter(|line| !before.lines().any(|b| b == *line)).collect();
    assert!(changed.is_empty(), "changed: {changed:#?}");
    assert_eq!(before.lines().count(), after.lines().count());
}

#[test]
fn provisioning_puts_right_what_was_changed_and_says_in_one_line_what_it_cannot_do() {
    needs!(Need::Vm);
    let _turn = turn();
    let machine = &Inside::shared().machine;
    let file = "/etc/ssh/sshd_config.d/podlab.conf";
    let before = machine.script(&format!("cat {file}"));
    machine.script(&format!("echo '# no more' | sudo tee {file}"));
    assert_eq!(provision(machine, ""), (true, String::new()));
    assert_eq!(machine.script(&format!("cat {file}")), before);

    for (arguments, complaint) in [
        ("--profile nodes", "--profile nodes: neither course nor node"),
        ("--user 'no body'", "--user no body: not the name of a user"),
        ("--user root", "--user root: the course is for an ordinary user"),
        ("--binaries /nowhere", "--binaries /nowhere: no podlab in there"),
    ] {
        assert_eq!(
            provision(machine, arguments),
            (false, format!("provision.sh: {complaint}\n")),
            "{arguments}"
        );
    }
}

#[test]
fn host_keys_and_the_machine_id_were_made_at_its_start() {
    needs!(Need::VmImage);
    let _turn = turn();
    let machine = &Inside::shared().machine;
    let start = "$(sed -n 's/^btime /@/p' /proc/stat)";
    let old = format!("find /etc/machine-id /etc/ssh/ssh_host_* ! -newermt {start}");
    let made = "ls /etc/machine-id /etc/ssh/ssh_host_*_key";
    assert_eq!(machine.script(&format!("{old} | wc -l; {made} | wc -l")), "0\n3");
}

#[test]
fn the_manifest_says_what_it_is_made_of() {
    needs!(Need::VmImage);
    let image = Need::VmImage.image().expect("an image");
    let manifest = std::fs::read_to_string(image.join("manifest")).expect("a manifest");
    let of = |kind: &str| -> Vec<&str> {
        manifest.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(' ')).collect()
    };
    for file in of("file") {
        let (_, name) = file.split_once("  ").expect("a hash and a name");
        assert_eq!(sha256sum(&image, name).trim_end(), file);
    }

    let _turn = turn();
    let machine = &Inside::shared().machine;
    let packages = machine.script("dpkg-query --show --showformat '${Package} ${Version}\\n'");
    assert_eq!(packages.lines().collect::<Vec<_>>(), of("package"));
    let binaries = machine.script("cd /usr/local/bin && sha256sum -- *");
    assert_eq!(binaries.lines().collect::<Vec<_>>(), of("binary"));
}

fn sha256sum(folder: &Path, name: &str) -> String {
    printed(Command::new("sha256sum").arg(name).current_dir(folder))
}
