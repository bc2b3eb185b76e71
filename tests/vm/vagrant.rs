//! Vagrant with libvirt, for real, in a world of its own: `vm/Vagrantfile` and the box of `vm/image/build`.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Instant;

use nix::sys::signal::Signal;
use podlab::facts::Learner;
use podlab::params::Params;

use crate::foundation;
use crate::machine::turn;
use crate::needs;
use crate::programs::checkout;
use crate::support::footprint::mounts_with;
use crate::support::need::Need;
use crate::support::running::until;
use crate::support::user::copy_of;
use crate::world::{World, vagrant_alone};

/// What `tests/vm/vagrant-alone` needs.
const ALONE: [Need; 4] =
    [Need::Root, Need::Program("vagrant"), Need::Program("libvirtd"), Need::Program("dnsmasq")];

/// The interfaces and bridges here, by name.
fn interfaces() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir("/sys/class/net")
        .expect("interfaces")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        // Tests beside this one make pairs of their own.
        .filter(|name| name.starts_with("virbr") || name.starts_with("vnet"))
        .collect();
    names.sort();
    names
}

/// What libvirt keeps on the machine.
fn libvirts_files() -> Vec<String> {
    let find = Command::new("find")
        .args(["/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt"])
        .args(["/run/libvirt", "/run/libvirtd.pid", "/run/virtlogd.pid"])
        .output()
        .expect("find");
    String::from_utf8_lossy(&find.stdout).lines().map(str::to_owned).collect()
}

/// What must be the same before and after.
fn of_the_machine() -> (Vec<String>, Vec<String>, Vec<String>) {
    (interfaces(), libvirts_files(), mounts_with("podlab-world"))
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn alone_the_command_has_libvirt_and_no_way_out_and_leaves_nothing() {
    needs!(ALONE[0], ALONE[1], ALONE[2], ALONE[3]);
    let before = of_the_machine();
    let mut world = World::with("vagrant-alone", &[("PODLAB_TEST", "it's here")]);
    let said = world.must(
        r#"
        set -e
        vagrant --version >/dev/null
        test -S /run/libvirt/libvirt-sock
        ls /sys/class/net
        ip route
        echo "$PODLAB_TEST $VAGRANT_CWD"
        touch /run/here /var/lib/libvirt/here /etc/libvirt/here "$HOME/here"
    "#,
    );
    assert_eq!(said, format!("lo\nit's here {}\n", checkout().join("vm").display()));
    assert!(!PathBuf::from("/run/here").exists());
    assert!(world.mark.processes().len() > 2, "the shell and libvirt's two daemons");

    drop(world);
    assert_eq!(of_the_machine(), before);
}

#[test]
fn alone_the_commands_exit_status_and_arguments_are_as_they_were() {
    needs!(ALONE[0], ALONE[1], ALONE[2], ALONE[3]);
    let script = r#"printf '[%s]' "$@"; exit 7"#;
    let Output { status, stdout, .. } = vagrant_alone()
        .args(["sh", "-c", script, "sh", "", "two words", "$(id)"])
        .output()
        .expect("vagrant-alone");
    assert_eq!((status.code(), text(&stdout)), (Some(7), "[][two words][$(id)]"));
}

#[test]
fn alone_a_signal_ends_all_that_is_in_there() {
    needs!(ALONE[0], ALONE[1], ALONE[2], ALONE[3]);
    let before = of_the_machine();
    for (signal, code) in [(Signal::SIGTERM, 128 + 15), (Signal::SIGKILL, 128 + 9)] {
        let mut world = World::with::<&str>("vagrant-alone-signal", &[]);
        // What has left its session is not spared.
        world.must("setsid --fork tail -f /dev/null");
        assert_eq!(world.signal(signal), code);
        // What SIGKILL has taken the parent of is a moment longer there.
        until("end of the world", || world.mark.processes().is_empty().then_some(()));
        assert_eq!(of_the_machine(), before, "after {signal}");
    }
}

#[test]
fn alone_without_a_command_says_how() {
    let Output { status, stderr, .. } = vagrant_alone().output().expect("vagrant-alone");
    assert_eq!(status.code(), Some(125));
    assert!(text(&stderr).starts_with("vagrant-alone: no command\nhint: "), "{}", text(&stderr));
}

#[test]
fn the_vagrantfile_is_valid_whatever_is_chosen() {
    needs!(ALONE[0], ALONE[1], ALONE[2], ALONE[3]);
    let binaries = tempfile::tempdir().expect("a folder");
    copy_of(env!("CARGO_BIN_EXE_podlab").as_ref(), binaries.path());
    let binaries = binaries.path().display();
    let mut world = World::with::<&str>("vagrant-valid", &[]);
    for chosen in [
        "",
        "PODLAB_BOX=debian/trixie64 PODLAB_BOX_VERSION=13.1",
        "PODLAB_BOX=/no/such/podlab.box PODLAB_ACCEL=tcg",
        "PODLAB_MEMORY=3000 PODLAB_CPUS=1 PODLAB_BOOK_PORT=9000",
        &format!("PODLAB_BINARIES={binaries}"),
        &format!("PODLAB_BINARIES={binaries} PODLAB_PROFILE=node"),
    ] {
        world.must(&format!("{chosen} vagrant validate"));
        // Without VirtualBox its own settings cannot be looked at; what they override can.
        world.must(&format!(
            "VAGRANT_DEFAULT_PROVIDER=virtualbox {chosen} vagrant validate --ignore-provider"
        ));
    }
    let wrong = world.run("PODLAB_CPUS=many vagrant validate");
    assert!(wrong.code != 0 && wrong.stderr.contains("many"), "{wrong}");
}

/// What is run in the machine goes over one connection, as any ssh finds it by what Vagrant says.
const CONNECT: &str = r#"
    vagrant ssh-config >"$HOME/config" &&
    ssh -F "$HOME/config" -fNM -o ControlPath="$HOME/connection" podlab
"#;

/// A shell script that runs a shell script in the machine.
fn there(script: &str) -> String {
    format!("ssh -o ControlPath=\"$HOME/connection\" podlab sh -s <<'END'\n{script}\nEND\n")
}

#[test]
fn the_box_comes_up_is_judged_from_the_host_and_goes_without_a_trace() {
    needs!(ALONE[0], ALONE[1], ALONE[2], ALONE[3], Need::VmImage);
    let _turn = turn();
    let image = Need::VmImage.image().expect("an image");
    let accel = Command::new(checkout().join("vm/accel")).output().expect("vm/accel");
    let before = of_the_machine();
    let home = tempfile::tempdir().expect("a folder");
    let mut world = World::with(
        "vagrant",
        &[
            ("PODLAB_BOX", image.join("podlab.box").as_os_str()),
            ("PODLAB_ACCEL", text(&accel.stdout).trim().as_ref()),
            ("PODLAB_HOME", home.path().as_os_str()),
            ("PODLAB_LEARNER", LEARNER.as_ref()),
            ("PODLAB_SEED", SEED.as_ref()),
            ("PODLAB", env!("CARGO_BIN_EXE_podlab").as_ref()),
        ],
    );

    let began = Instant::now();
    world.must("vagrant up --no-color --no-tty --provider libvirt");
    eprintln!("vagrant up: {} s", began.elapsed().as_secs());
    world.must(CONNECT);

    it_is_the_courses_machine(&mut world);
    judged_by_what_runs_there(&mut world);
    eprintln!("vagrant up, then judged: {} s", began.elapsed().as_secs());
    foundation::in_world(&mut world);
    provisioned_again_nothing_changes(&mut world);

    world.must("vagrant destroy --force");
    // The box itself stays, for the next time.
    let left = world.must(
        r#"
        find "$VAGRANT_DOTFILE_PATH/machines" -type f
        ls /var/lib/libvirt/images | grep -v _vagrant_box_image_
        find /var/lib/libvirt/qemu /etc/libvirt/qemu -name '*.xml' 2>/dev/null
        ls /sys/class/net | grep -vx lo
        ps -eo comm= | grep -x -e 'qemu-system-.*' -e dnsmasq
        ss --no-header --listening --numeric --tcp
        true
    "#,
    );
    assert_eq!(left, "");

    drop(world);
    assert_eq!(of_the_machine(), before);
}

const LEARNER: &str = "vagrant test";
const SEED: &str = "tests";

/// ssh is up before the book is, and Vagrant does not wait until what it forwards answers.
const PATIENTLY: &str = "--silent --fail --retry 60 --retry-delay 1 --retry-all-errors";

fn it_is_the_courses_machine(world: &mut World) {
    let said = world.must(&there(
        "id -un; hostname; stat -fc %T /sys/fs/cgroup; sudo -n id -u; command -v podlab",
    ));
    assert_eq!(said, "vagrant\npodlab\ncgroup2fs\n0\n/usr/local/bin/podlab\n");
    // The learner's name goes along.
    let said = world.must(r#"vagrant ssh -c 'echo "$PODLAB_LEARNER of $PODLAB_SEED"'"#);
    assert_eq!(said, format!("{LEARNER} of {SEED}\n"));
    // The book is on the loopback of the machine and, forwarded, of this world.
    let book = world.must(&format!("curl {PATIENTLY} http://127.0.0.1:8000/ | head -c 15"));
    assert_eq!(book.to_lowercase(), "<!doctype html>");
}

/// A wrong solution of fake-init fails by its mistake, a right one holds.
fn judged_by_what_runs_there(world: &mut World) {
    let learner = Learner { seed: SEED.to_owned(), name: LEARNER.to_owned() };
    let mark = Params::new(&learner, "fake-init").name("mark");
    let start = |init: &str| {
        there(&format!(
            "sudo env PODLAB={mark} unshare --pid --fork --kill-child --mount-proc {init} \\\n\
             </dev/null >/dev/null 2>&1 & echo $!"
        ))
    };

    let wrong = world.must(&start("tail -f /dev/null"));
    let said = check(world, 1);
    assert!(said.contains(r#""orphans-stay""#), "{said}");
    // sudo passes SIGTERM on, and --kill-child does the rest.
    world.must(&there(&format!("sudo kill {}", wrong.trim())));

    world.must(&start("sh -c 'trap \"exit 0\" TERM; while :; do sleep 1 & wait; done'"));
    check(world, 0);
}

/// What `podlab check` says from the host, with this exit status.
fn check(world: &mut World, code: i32) -> String {
    let said = world.run(r#""$PODLAB" check fake-init --on vagrant --format json"#);
    assert_eq!(said.code, code, "{said}");
    said.stdout
}

/// The box was provisioned when it was built.
fn provisioned_again_nothing_changes(world: &mut World) {
    world.must(&there("systemctl is-system-running --wait; sudo touch /run/podlab-test"));
    world.must("vagrant provision --provision-with machine");
    // Logs, and what any login writes, aside.
    let changed = world.must(&there(
        "sudo find / -xdev -cnewer /run/podlab-test ! -type d ! -path '/var/log/*' ! -path '/tmp/*' \
         ! -path '/var/tmp/*' ! -path '/var/lib/lastlog/*' ! -path '/var/lib/wtmpdb/*' 2>/dev/null; true",
    ));
    assert_eq!(changed, "", "files that provisioning changed");
}
