//! The tests of the labs and of the checker, run in the machine.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::judge::Judge;
use crate::machine::{Machine, printed};
use crate::programs::{Programs, checkout};
use crate::support::need;

/// A place in a machine from which tests are run.
pub(crate) struct Inside {
    pub(crate) machine: Machine,
    /// A folder of its own: `PODLAB_OUTSIDE` of the tests.
    folder: String,
}

/// How tests ended.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// Whether the program said so.
    pub(crate) passed: bool,
    /// How many held.
    pub(crate) count: usize,
    /// Why some were not run.
    pub(crate) skipped: Vec<String>,
}

/// Makes the folder: one that only the user who logs in, and root, may write to. What the host reads of
/// that user's state is read through a link in it.
const PREPARE: &str = r#"
    set -e
    folder=$(mktemp -d /tmp/podlab-outside.XXXXXX)
    chmod 755 $folder
    mkdir $folder/bin
    state=${XDG_STATE_HOME:-$HOME/.local/state}/podlab
    mkdir -p ${state%/*}
    [ -L $state ] || [ ! -e $state ]
    ln -sfn $folder/home $state
    echo $folder
"#;

/// Puts the shell one level below its cgroup, which then hands out all its controllers: what does has no
/// members (cgroups(7), "no internal processes"). Becomes the command in its arguments.
const HAND_OUT: &str = r#"
    group=/sys/fs/cgroup$(sed -n "s/^0:://p" /proc/self/cgroup)
    mkdir $group/tests
    echo 0 >$group/tests/cgroup.procs
    for controller in $(cat $group/cgroup.controllers); do
        echo +$controller >$group/cgroup.subtree_control
    done
    exec "$@"
"#;

impl Inside {
    /// Inside the machine that all tests share: started by the first of them, it ends with this process.
    pub(crate) fn shared() -> &'static Inside {
        static SHARED: OnceLock<Inside> = OnceLock::new();
        SHARED.get_or_init(|| Inside::of(Machine::up))
    }

    /// Starts a machine and puts the programs into it, each where it is on the host.
    pub(crate) fn of(start: impl FnOnce() -> Machine) -> Inside {
        Programs::built();
        let machine = start();
        let folder = machine.script(PREPARE);
        let packed = tempfile::tempdir().expect("a folder");
        pack(packed.path(), &folder);
        let mut tar = Command::new("tar");
        tar.args(["--create", "--owner=0", "--group=0", "--directory"]).arg(packed.path()).arg(".");
        let mut tar = tar.stdout(Stdio::piped()).spawn().expect("tar");
        let mut ssh = machine.ssh(&["-C"]);
        ssh.arg("sudo tar --extract --no-overwrite-dir --directory /");
        let unpacked = ssh.stdin(tar.stdout.take().expect("a pipe")).status().expect("ssh");
        assert!(unpacked.success() && tar.wait().expect("tar").success(), "copying failed");
        Inside { machine, folder }
    }

    /// Runs tests as root, by sudo(8).
    pub(crate) fn as_root(&self, judge: &Judge, program: &str, filters: &[String]) -> Ended {
        self.run("sudo env PODLAB_ORDINARY=$(id -u)", judge, program, filters)
    }

    /// Runs tests as the user who logs in, below a cgroup that was delegated to them.
    pub(crate) fn as_user(&self, judge: &Judge, program: &str, filters: &[String]) -> Ended {
        let scope = "systemd-run --user --scope --quiet --property=Delegate=yes";
        self.run(&format!("{scope} sh -ec '{HAND_OUT}' sh env"), judge, program, filters)
    }

    /// Runs tests whose verdicts come from `judge`. What they print is printed here, with the machine in
    /// front of each line.
    fn run(&self, how: &str, judge: &Judge, program: &str, filters: &[String]) -> Ended {
        let Inside { machine, folder } = self;
        // sshd leaves the socket of an earlier run, and makes none in its place.
        machine.script(&format!("rm -f {folder}/socket"));
        let socket = judge.socket();
        let mut ssh = machine.ssh(&["-R", &format!("{folder}/socket:{}", socket.display())]);
        // Two processors; who waits for the host needs none.
        ssh.arg(how).arg(format!("PODLAB_OUTSIDE={folder} RUST_TEST_THREADS=3"));
        ssh.arg(format!("PATH={folder}/bin:$PATH:/usr/sbin:/sbin"));
        ssh.arg(Programs::built().test(program)).args(filters).arg("2>&1");
        let mut tests = ssh.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("ssh");
        let mut ended = Ended::default();
        for line in BufReader::new(tests.stdout.take().expect("a pipe")).lines() {
            let line = line.expect("text");
            ended.take(&line);
            // Past libtest's capture: it is long until the end.
            let _ = writeln!(std::io::stderr(), "{}: {line}", self.machine.target);
        }
        ended.passed = tests.wait().expect("ssh").success();
        ended
    }
}

impl Ended {
    fn take(&mut self, line: &str) {
        if let Some((_, remark)) = line.split_once(" so far): ") {
            self.skipped.push(remark.to_owned());
        }
        let count =
            line.strip_prefix("test result: ok. ").and_then(|rest| rest.split_once(" passed"));
        if let Some((count, _)) = count {
            self.count += count.parse::<usize>().expect("a number");
        }
    }
}

/// Lays out in `to` what is copied: the programs without their symbols, the schemas that tests read,
/// and, for a machine without a registry to take an image from, what one can be made of.
fn pack(to: &Path, folder: &str) {
    let below = |path: &Path| to.join(path.strip_prefix("/").expect("an absolute path"));
    for program in Programs::built().all() {
        let copy = below(&program.place);
        fs::create_dir_all(copy.parent().expect("a folder")).expect("a folder");
        printed(Command::new("strip").arg("-o").arg(&copy).arg(&program.file));
    }
    let schema = checkout().join("checker/schema");
    fs::create_dir_all(below(&schema)).expect("a folder");
    for file in fs::read_dir(&schema).expect("the schemas").flatten() {
        fs::copy(file.path(), below(&file.path())).expect("a copy");
    }
    let bin = below(Path::new(folder)).join("bin");
    fs::create_dir_all(&bin).expect("a folder");
    let busybox = need::program("busybox").expect("busybox on the PATH: busybox-static");
    fs::copy(busybox, bin.join("busybox")).expect("a copy");
}
