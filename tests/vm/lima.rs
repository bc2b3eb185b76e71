//! `vm/lima.yaml` and `vm/lima-image.yaml`: read here as Lima reads them, and run by Lima where it is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rstest::rstest;
use serde::Deserialize;

use crate::machine::turn;
use crate::needs;
use crate::programs::checkout;
use crate::support::need::Need;

/// What these files use of Lima's YAML, as Lima 2.0 has it (its `pkg/limatype/lima_yaml.go`). Lima warns
/// of a key it does not know and goes on; here it is an error.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Lima {
    minimum_lima_version: String,
    vm_type: Option<String>,
    arch: Option<String>,
    images: Vec<Image>,
    #[serde(default)]
    mount_types_unsupported: Vec<String>,
    cpus: u32,
    memory: String,
    disk: String,
    #[serde(default)]
    firmware: Firmware,
    #[serde(default)]
    param: std::collections::BTreeMap<String, String>,
    mounts: Vec<Mount>,
    containerd: Containerd,
    #[serde(default)]
    host_resolver: HostResolver,
    provision: Vec<Provision>,
    #[serde(default)]
    probes: Vec<Probe>,
    port_forwards: Vec<PortForward>,
    #[serde(default)]
    plain: bool,
    message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    location: String,
    arch: String,
    digest: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Firmware {
    #[serde(rename = "legacyBIOS")]
    legacy_bios: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mount {
    location: String,
    writable: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Containerd {
    system: bool,
    user: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HostResolver {
    enabled: bool,
}

impl Default for HostResolver {
    fn default() -> HostResolver {
        HostResolver { enabled: true }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Provision {
    mode: String,
    script: Option<String>,
    file: Option<String>,
    path: Option<String>,
    permissions: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Probe {
    description: String,
    script: String,
    hint: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PortForward {
    guest_port: Option<u16>,
    host_port: Option<u16>,
    #[serde(rename = "guestIP")]
    guest_ip: Option<String>,
    #[serde(rename = "guestIPMustBeZero")]
    guest_ip_must_be_zero: Option<bool>,
    proto: Option<String>,
    #[serde(default)]
    ignore: bool,
    #[serde(default, rename = "static")]
    is_static: bool,
}

/// Vagrant brings Ruby along, and Ruby reads YAML.
const RUBY: Need = Need::Program("ruby");

fn path(name: &str) -> PathBuf {
    checkout().join("vm").join(name)
}

/// The file, read as strict YAML.
fn lima(name: &str) -> Lima {
    let script = "puts JSON.dump(YAML.safe_load(File.read(ARGV[0])))";
    let ruby = Command::new("ruby")
        .args(["-ryaml", "-rjson", "-e", script])
        .arg(path(name))
        .output()
        .expect("ruby");
    assert!(ruby.status.success(), "{}", String::from_utf8_lossy(&ruby.stderr));
    serde_json::from_slice(&ruby.stdout).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// All scripts in it.
fn scripts(lima: &Lima) -> Vec<&str> {
    let provision = lima.provision.iter().filter_map(|step| step.script.as_deref());
    provision.chain(lima.probes.iter().map(|probe| probe.script.as_str())).collect()
}

#[rstest]
#[case("lima.yaml")]
#[case("lima-image.yaml")]
fn it_has_no_key_that_lima_2_does_not_know_and_takes_no_more_than_it_needs(#[case] name: &str) {
    needs!(RUBY);
    let lima = lima(name);
    assert_eq!(lima.minimum_lima_version, "2.0.0");
    assert!(!lima.containerd.system && !lima.containerd.user, "Debian's containerd is enough");
    assert!(lima.mounts.iter().all(|mount| !mount.writable));
    assert!((2..=4).contains(&lima.cpus));
    assert!(lima.memory.ends_with("GiB") && lima.disk.ends_with("GiB"));
    assert!(lima.message.contains("podlab check EXERCISE --on lima:{{.Name}}"));
}

#[test]
fn every_download_is_named_by_its_date_and_has_a_digest() {
    needs!(RUBY);
    let lima = lima("lima.yaml");
    let mut archs: Vec<&str> = lima.images.iter().map(|image| image.arch.as_str()).collect();
    archs.sort_unstable();
    assert_eq!(archs, ["aarch64", "x86_64"]);
    assert_eq!((lima.vm_type, lima.arch), (None, None), "those of the host");
    for image in &lima.images {
        let sha512 = image.digest.as_deref().and_then(|digest| digest.strip_prefix("sha512:"));
        let digits = sha512.unwrap_or_else(|| panic!("{}: no SHA-512", image.location));
        assert!(digits.len() == 128 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let debian = if image.arch == "x86_64" { "amd64" } else { "arm64" };
        let build = image.location.rsplit('/').nth(1).expect("a folder");
        assert_eq!(
            image.location,
            format!(
                "https://cloud.debian.org/images/cloud/trixie/{build}/debian-13-genericcloud-{debian}-{build}.qcow2"
            )
        );
        assert!(build.starts_with("20") && build.len() == "20260712-2537".len(), "{build}");
    }
}

#[test]
fn from_an_image_of_ours_nothing_is_downloaded() {
    needs!(RUBY);
    let lima = lima("lima-image.yaml");
    assert!(lima.plain && !lima.host_resolver.enabled && lima.firmware.legacy_bios);
    assert!(lima.mounts.is_empty() && lima.mount_types_unsupported.is_empty());
    assert!(lima.images.iter().all(|image| Path::new(&image.location).is_absolute()));
    assert_eq!((lima.vm_type.as_deref(), lima.arch.as_deref()), (Some("qemu"), Some("x86_64")));
    // As large as the image, which Lima would otherwise have to grow.
    let build = fs::read_to_string(path("image/take-out")).expect("read");
    let gigabytes = lima.disk.trim_end_matches("GiB");
    assert!(build.contains(&format!(r#""virtual_size": {gigabytes}"#)), "{}", lima.disk);
}

#[rstest]
#[case("lima.yaml")]
#[case("lima-image.yaml")]
fn the_book_is_forwarded_and_nothing_else_is(#[case] name: &str) {
    needs!(RUBY);
    let lima = lima(name);
    let [book, rest @ ..] = &lima.port_forwards[..] else { panic!("no book") };
    let provision = fs::read_to_string(path("provision.sh")).expect("read");
    let port = book.guest_port.expect("a port");
    assert!(provision.contains(&format!("podlab book --port {port}\n")), "{port}");
    assert_eq!((book.host_port, &book.guest_ip, book.ignore), (Some(port), &None, false));
    assert!(lima.message.contains(&format!("http://127.0.0.1:{port} ")));
    // Without an agent in the machine only what is static is forwarded.
    assert_eq!(book.is_static, lima.plain);
    if lima.plain {
        assert!(rest.is_empty());
    } else {
        let [other] = rest else { panic!("one rule for all else") };
        assert!(other.ignore && other.guest_port.is_none() && other.host_port.is_none());
        assert_eq!(other.guest_ip.as_deref(), Some("0.0.0.0"));
        assert_eq!(
            (other.guest_ip_must_be_zero, other.proto.as_deref()),
            (Some(false), Some("any"))
        );
    }
}

#[rstest]
#[case("lima.yaml")]
#[case("lima-image.yaml")]
fn what_it_provisions_with_is_there_and_is_no_template_of_limas(#[case] name: &str) {
    needs!(RUBY);
    let lima = lima(name);
    let provision = fs::read_to_string(path("provision.sh")).expect("read");
    for option in ["--user", "--profile", "--source", "--binaries"] {
        assert!(provision.contains(option), "provision.sh has no {option}");
    }
    for step in &lima.provision {
        match step.mode.as_str() {
            "system" => assert!(step.script.as_deref().is_some_and(|s| s.starts_with("#!/bin/"))),
            "data" => {
                let file = path(step.file.as_deref().expect("a file"));
                let content = fs::read_to_string(&file).expect("the file");
                assert!(!content.contains("{{"), "{}: Lima would expand it", file.display());
                let [system] = scripts(&lima)[..] else { panic!("one script") };
                assert!(system.contains(step.path.as_deref().expect("a path")));
                assert_eq!(step.permissions.as_deref(), Some("755"));
            }
            other => panic!("mode {other}"),
        }
    }
    // Lima refuses a parameter that nothing uses.
    for name in lima.param.keys() {
        let used = scripts(&lima).iter().any(|script| script.contains(&format!("PARAM_{name}")));
        assert!(used, "{name}: no script has PARAM_{name}");
    }
    assert!(lima.mounts.iter().all(|mount| mount.location == "{{.Param.checkout}}"));
    assert!(lima.probes.iter().all(|p| !p.description.is_empty() && p.hint.contains("/var/log/")));
}

#[rstest]
#[case("lima.yaml")]
#[case("lima-image.yaml")]
fn its_scripts_are_clean(#[case] name: &str) {
    needs!(RUBY, Need::Program("shellcheck"));
    for script in scripts(&lima(name)) {
        let mut shellcheck = Command::new("shellcheck");
        // What Lima passes by the environment is not assigned.
        shellcheck.args(["--exclude=SC2154", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = shellcheck.spawn().expect("shellcheck");
        let input = child.stdin.take().expect("a pipe");
        // What Lima expands is one word.
        let expanded = script.replace("{{.User}}", "learner");
        std::io::Write::write_all(&mut &input, expanded.as_bytes()).expect("write");
        drop(input);
        let output = child.wait_with_output().expect("wait");
        assert!(output.status.success(), "{name}:\n{}", String::from_utf8_lossy(&output.stdout));
    }
}

/// The script that provisions, run here: with a checkout that it finds, and with none.
#[rstest]
#[case("", "[--user][learner][--profile][course][--source]")]
#[case("bin", "[--user][learner][--profile][course][--binaries]")]
fn it_calls_the_checkouts_provisioning(#[case] binaries: &str, #[case] called: &str) {
    needs!(RUBY);
    let lima = lima("lima.yaml");
    let checkout = tempfile::Builder::new().prefix("it's a checkout ").tempdir().expect("a folder");
    fs::create_dir(checkout.path().join("vm")).expect("a folder");
    let script = checkout.path().join("vm/provision.sh");
    fs::write(&script, "#!/bin/sh\nprintf '[%s]' \"$@\"\n").expect("write");
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("chmod");
    let output = Command::new("bash")
        .args(["-c", &scripts(&lima)[0].replace("{{.User}}", "learner")])
        .envs(lima.param.iter().map(|(name, value)| (format!("PARAM_{name}"), value)))
        .env("PARAM_checkout", checkout.path())
        .env("PARAM_binaries", binaries)
        .output()
        .expect("bash");
    let from = checkout.path().join(binaries);
    let expected = format!("{called}[{}]", from.display().to_string().trim_end_matches('/'));
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{output:?}");
}

/// `limactl`, whose instances are in a folder of the test's, with a path short enough for its sockets.
struct Limactl(tempfile::TempDir);

impl Limactl {
    fn new() -> Limactl {
        Limactl(tempfile::Builder::new().prefix("l").tempdir_in("/tmp").expect("a folder"))
    }

    fn command(&self) -> Command {
        let mut limactl = Command::new("limactl");
        limactl.env("LIMA_HOME", self.0.path()).stdin(Stdio::null());
        limactl
    }

    #[track_caller]
    fn must(&self, arguments: &[&str]) -> String {
        let output = self.command().args(arguments).output().expect("limactl");
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("text")
    }
}

impl Drop for Limactl {
    fn drop(&mut self) {
        let _ = self.command().args(["delete", "--force", "podlab"]).status();
    }
}

#[rstest]
#[case("lima.yaml")]
#[case("lima-image.yaml")]
fn lima_itself_finds_it_valid(#[case] name: &str) {
    needs!(Need::Program("limactl"), Need::NotRoot);
    Limactl::new().must(&["validate", path(name).to_str().expect("UTF-8")]);
}

/// A real Lima: its user is in the machine, and what they do there is judged from here.
#[test]
fn lima_runs_the_image_and_podlab_judges_what_runs_in_it() {
    needs!(Need::Program("limactl"), Need::NotRoot, Need::VmImage);
    let _turn = turn();
    let image = Need::VmImage.image().expect("an image");
    let lima = Limactl::new();
    let location = format!(".images[0].location = {:?}", image.join("disk.qcow2"));
    let accel = Command::new(checkout().join("vm/accel")).output().expect("vm/accel");
    let mut start = lima.command();
    start.args(["start", "--tty=false", "--timeout=40m", "--name", "podlab", "--set", &location]);
    if accel.stdout.starts_with(b"tcg") {
        let qemu = "qemu-system-x86_64 -machine q35,vmport=off -accel tcg,thread=multi,tb-size=512 -cpu max";
        start.env("QEMU_SYSTEM_X86_64", qemu);
    }
    assert!(start.arg(path("lima-image.yaml")).status().expect("limactl").success());

    let shell = ["shell", "--workdir", "/", "podlab", "sh", "-c"];
    let mark =
        lima.must(&[&shell[..], &["podlab show fake-init | grep -o 'PODLAB=[^ ]*'"]].concat());
    let check = || {
        let mut podlab = Command::new(env!("CARGO_BIN_EXE_podlab"));
        podlab.args(["check", "fake-init", "--on", "lima:podlab"]).env("LIMA_HOME", lima.0.path());
        podlab.env("PODLAB_HOME", lima.0.path().join("state")).status().expect("podlab").code()
    };
    let run = |init: &str| {
        let start = format!(
            "sudo env {} unshare --pid --fork --kill-child --mount-proc {init} \
             </dev/null >/dev/null 2>&1 & echo $!",
            mark.trim()
        );
        lima.must(&[&shell[..], &[&start]].concat())
    };
    let wrong = run("tail -f /dev/null");
    assert_eq!(check(), Some(1));
    lima.must(&[&shell[..], &[&format!("sudo kill {}", wrong.trim())]].concat());
    run("sh -c 'trap \"exit 0\" TERM; while :; do sleep 1 & wait; done'");
    assert_eq!(check(), Some(0));
    lima.must(&["delete", "--force", "podlab"]);
}
