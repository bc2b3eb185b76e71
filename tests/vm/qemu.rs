//! `vm/qemu`: the image booted for real, and nothing left of it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::machine::turn;
use crate::needs;
use crate::programs::checkout;
use crate::support::footprint::Mark;
use crate::support::need::Need;
use crate::support::running::until;

/// A state folder of its own for `vm/qemu`, and a mark for all that it starts. What a test leaves when
/// it fails is taken away.
struct Host {
    state: TempDir,
    mark: Mark,
}

impl Host {
    fn new(test: &str) -> Host {
        Host { state: tempfile::tempdir().expect("a folder"), mark: Mark::new(test) }
    }

    /// `vm/qemu ARGS…`
    fn qemu(&self, args: &[&str]) -> Command {
        let mut command = Command::new(checkout().join("vm/qemu"));
        command.args(args).env("XDG_STATE_HOME", self.state.path()).stdin(Stdio::null());
        self.mark.put_on(&mut command);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.qemu(args).output().expect("vm/qemu")
    }

    #[track_caller]
    fn says(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "vm/qemu {args:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    #[track_caller]
    fn refuses(&self, args: &[&str], said: &str) {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
        let stderr = text(&output.stderr);
        assert!(stderr.contains(said), "{args:?}: {stderr}");
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.state.path().join("podlab/qemu").join(name)
    }

    /// `ssh OPTIONS… NAME COMMAND`, with the machine's own configuration.
    fn ssh(&self, name: &str, options: &[&str], command: &str) -> Output {
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(self.folder(name).join("ssh.config"));
        ssh.args(["-o", "BatchMode=yes"]).args(options).args([name, command]);
        ssh.stdin(Stdio::null()).output().expect("ssh")
    }

    #[track_caller]
    fn inside(&self, name: &str, command: &str) -> String {
        let output = self.ssh(name, &[], command);
        assert!(output.status.success(), "{command}: {}", text(&output.stderr));
        text(&output.stdout).trim_end().to_owned()
    }

    /// A started `vm/qemu up NAME`, whose QEMU runs already.
    fn starting(&self, name: &str) -> Child {
        let mut up = self.qemu(&["up", name, "--offline"]);
        let mut up = up.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("vm/qemu");
        until("QEMU", || {
            assert_eq!(up.try_wait().expect("wait"), None, "it ended before QEMU ran");
            self.runs(name).then_some(())
        });
        up
    }

    /// Whether QEMU runs for the machine of this name.
    fn runs(&self, name: &str) -> bool {
        let argument = format!("podlab-{name}");
        self.mark.processes().into_iter().any(|pid| {
            let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            exe.ends_with("qemu-system-x86_64")
                && arguments.split(|byte| *byte == 0).any(|it| it == argument.as_bytes())
        })
    }

    /// Waits for the end of all that it started; then nothing is left but what `vm/accel` keeps.
    #[track_caller]
    fn nothing_is_left(&self) {
        until("end of its processes", || self.mark.processes().is_empty().then_some(()));
        until("end of its files", || {
            (!self.state.path().join("podlab/qemu").exists()).then_some(())
        });
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.mark.end_all();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn image() -> PathBuf {
    Need::VmImage.image().expect("Need::VmImage")
}

/// What would show that the image was written to.
fn fingerprint() -> Vec<(u64, u64, i64, i64)> {
    ["disk.qcow2", "vmlinuz", "initrd", "cmdline"]
        .iter()
        .map(|file| fs::metadata(image().join(file)).expect("an image"))
        .map(|status| (status.ino(), status.size(), status.mtime(), status.mtime_nsec()))
        .collect()
}

/// The page that is served on this port of ours. The book is read before its server listens.
fn page(port: &str) -> Option<String> {
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).expect("the book's port");
    stream.write_all(b"GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").ok()?;
    let mut page = Vec::new();
    stream.read_to_end(&mut page).ok().filter(|length| *length > 0)?;
    Some(text(&page))
}

#[test]
fn a_machine_comes_up_is_used_is_turned_off_and_on_and_goes_without_a_trace() {
    needs!(Need::VmImage);
    let _turn = turn();
    let before = fingerprint();
    let host = Host::new("qemu-up");
    let shared =
        tempfile::Builder::new().prefix("shared, with space ").tempdir().expect("a folder");
    fs::write(shared.path().join("file"), "from outside\n").expect("write");
    let path = shared.path().to_str().expect("UTF-8");

    let said = host.says(&["up", "one", "--offline", "--share", path]);
    assert!(said.starts_with("one is up, after "), "{said}");
    assert_eq!(host.says(&["up", "one"]), "one is up already\n");
    let status = host.says(&["status", "one"]);
    let (_, book) = status.split_once("the book on http://127.0.0.1:").expect("a port");
    let port: String = book.chars().take_while(char::is_ascii_digit).collect();
    assert!(until("page", || page(&port)).contains("From Process to Pod"), "{status}");

    // Who one is there, and that host and machine know each other.
    assert_eq!(
        host.inside("one", "id -un; sudo -n id -un; cat /proc/1/comm"),
        "learner\nroot\nsystemd"
    );
    let stranger = host.ssh("one", &["-o", "UserKnownHostsFile=/dev/null"], "true");
    assert_eq!(stranger.status.code(), Some(255));
    assert!(text(&stranger.stderr).contains("Host key verification failed"), "{stranger:?}");
    let keyless = host.ssh("one", &["-o", "IdentityFile=/dev/null", "-F", "none"], "true");
    assert_eq!(keyless.status.code(), Some(255));

    // The shared folder is read-only. Offline it reaches not even the host, where the book's port is open.
    assert_eq!(
        host.inside(
            "one",
            &format!("cat '{path}/file'; touch '{path}/new' 2>&1 | grep -o 'Read-only.*'")
        ),
        "from outside\nRead-only file system"
    );
    let reach = format!("timeout 5 bash -c ': </dev/tcp/10.0.2.2/{port}' 2>&1 || echo unreachable");
    assert!(host.inside("one", &reach).ends_with("unreachable"));

    // Turned off from inside, its disk stays; so do its keys.
    host.inside("one", "echo kept >kept; sync; sudo systemctl poweroff");
    until_off(&host, "one");
    host.refuses(&["ssh-config", "one"], "one is not up");
    let key = fs::read(host.folder("one").join("host_ed25519.pub")).expect("a key");
    host.says(&["up", "one", "--memory", "1024", "--cpus", "1"]);
    assert_eq!(host.inside("one", "cat kept; nproc"), "kept\n1");
    assert_eq!(fs::read(host.folder("one").join("host_ed25519.pub")).expect("a key"), key);

    assert_eq!(host.says(&["down", "one"]), "one is gone\n");
    host.nothing_is_left();
    assert_eq!(fingerprint(), before);
}

/// Waits until a machine that is being turned off is off. It takes its time under emulation.
fn until_off(host: &Host, name: &str) {
    let off = format!("{name}: stopped\n");
    let lock = host.folder(name).join("qemu.pid");
    let mut flock = Command::new("flock");
    let status = flock.args(["--timeout", "120"]).arg(lock).arg("true").status().expect("flock");
    assert!(status.success(), "{name} does not turn off");
    let output = host.run(&["status", name]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), off));
}

#[test]
fn two_machines_run_beside_each_other_and_one_ends_alone() {
    needs!(Need::VmImage);
    let _turn = turn();
    let host = Host::new("qemu-two");
    let mut first = host.starting("first");
    let second = host.starting("second");
    host.refuses(&["up", "first"], "another vm/qemu up is starting it");
    assert_eq!(text(&host.run(&["status", "first"]).stdout), "first: starting\n");

    // The first is not waited for: it goes while it boots, and its `up` says why it ends.
    assert_eq!(host.says(&["down", "first"]), "first is gone\n");
    assert_eq!(first.wait().expect("wait").code(), Some(2));
    assert!(!host.folder("first").exists());
    assert!(host.runs("second"), "it was ended too");
    ends_by(&host, second, Signal::SIGTERM);
}

/// Sends `signal` to an `up` that waits for its machine: nothing is left of either.
fn ends_by(host: &Host, mut up: Child, signal: Signal) {
    kill(Pid::from_raw(up.id() as i32), signal).expect("it runs");
    let status = up.wait().expect("wait");
    let expected = (signal != Signal::SIGKILL).then_some(128 + signal as i32);
    assert_eq!(status.code(), expected, "{signal}");
    host.nothing_is_left();
}

#[test]
fn an_up_that_is_interrupted_or_killed_leaves_nothing() {
    needs!(Need::VmImage);
    let _turn = turn();
    for signal in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGKILL] {
        let host = Host::new("qemu-killed");
        let up = host.starting("killed");
        ends_by(&host, up, signal);
    }
}

#[test]
fn a_machine_that_does_not_come_up_in_time_shows_its_console_and_leaves_nothing() {
    needs!(Need::VmImage);
    let _turn = turn();
    let host = Host::new("qemu-deadline");
    host.refuses(&["up", "late", "--deadline", "1"], "vm/qemu: late: did not come up within 1 s\n");
    host.nothing_is_left();
}

#[test]
fn what_qemu_refuses_to_boot_is_said_and_leaves_nothing() {
    needs!(Need::VmImage);
    let _turn = turn();
    let host = Host::new("qemu-broken");
    let broken = tempfile::tempdir().expect("a folder");
    for file in ["disk.qcow2", "initrd", "cmdline"] {
        std::os::unix::fs::symlink(image().join(file), broken.path().join(file)).expect("symlink");
    }
    fs::write(broken.path().join("vmlinuz"), [0; 512]).expect("write");
    let folder = broken.path().to_str().expect("UTF-8");
    host.refuses(
        &["up", "broken", "--image", folder],
        "vm/qemu: broken: QEMU ended: qemu: linux kernel too old",
    );
    host.nothing_is_left();
}

#[test]
fn a_folder_without_an_image_is_named_and_how_to_make_one() {
    needs!(Need::Program("qemu-system-x86_64"), Need::Program("qemu-img"), Need::Program("ssh"));
    let host = Host::new("qemu-imageless");
    let empty = tempfile::tempdir().expect("a folder");
    let folder = empty.path().to_str().expect("UTF-8");
    let file = format!("vm/qemu: {folder}/vmlinuz: cannot be read\nhint: sudo vm/image/build ");
    host.refuses(&["up", "--image", folder], &file);
    host.nothing_is_left();
}

#[test]
fn names_and_options_that_cannot_be_are_refused() {
    let host = Host::new("qemu-names");
    for name in ["", "-x", "../x", "a/b", "A", "a b", ".", "a$(id)", "ä", &"x".repeat(33)] {
        for verb in ["up", "status", "ssh-config", "down"] {
            let said =
                if name.starts_with('-') { "no such option" } else { "not a machine's name" };
            host.refuses(&[verb, name], said);
        }
    }
    host.refuses(&["up", "one", "two"], "one machine at a time, not one two");
    host.refuses(&["up", "--memory", "lots"], "--memory lots: not a number");
    host.refuses(&["up", "--cpus", "0"], "--cpus 0: not a number");
    host.refuses(&["up", "--share", "/no/such"], "--share /no/such: no such folder");
    host.refuses(&["up", "--image"], "--image: its value is missing");
    host.refuses(&["up", "--online"], "--online: no such option");
    host.refuses(&["reboot"], "reboot: no such command");
    host.refuses(&[], "no command");
    host.nothing_is_left();
}

#[test]
fn a_planted_link_is_neither_followed_nor_removed() {
    let host = Host::new("qemu-planted");
    let precious = tempfile::tempdir().expect("a folder");
    fs::write(precious.path().join("ssh.config"), "precious").expect("write");
    fs::create_dir_all(host.folder("x")).expect("a folder");
    let link = host.folder("link");
    std::os::unix::fs::symlink(precious.path(), &link).expect("symlink");
    for verb in ["up", "status", "ssh-config", "down"] {
        host.refuses(&[verb, "link"], &format!("vm/qemu: {}: not a folder of ", link.display()));
    }
    assert_eq!(fs::read_to_string(precious.path().join("ssh.config")).expect("read"), "precious");
    assert!(link.is_symlink());
}

#[test]
fn what_is_not_there_has_a_status_and_goes_without_complaint() {
    let host = Host::new("qemu-none");
    let status = host.run(&["status", "none"]);
    assert_eq!((status.status.code(), text(&status.stdout)), (Some(1), "none: none\n".to_owned()));
    assert_eq!(host.says(&["down", "none"]), "none: there is none\n");
    host.refuses(&["ssh-config", "none"], "none is not up\nhint: vm/qemu up none\n");
}
