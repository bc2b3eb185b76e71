//! The profile `node`: a kubelet runs a static pod with containerd, in cgroups that systemd makes.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::machine::{Machine, turn};
use crate::needs;
use crate::programs::checkout;
use crate::support::need::Need;

/// The cgroup of `vm/profiles/node/root/etc/kubernetes/manifests/example.yaml`. A `-` in the name of a
/// slice leads one slice down, so the pod's uid has `_` instead.
const POD: &str = "/kubepods.slice/kubepods-burstable.slice/\
                   kubepods-burstable-pod11111111_2222_4333_8444_555555555555.slice";

/// The manifest.
const MANIFEST: &str = "/etc/kubernetes/manifests/example.yaml";

/// The programs in the pod, in order.
const PROGRAMS: [&str; 3] = ["httpd", "pause", "sleep"];

/// How long the pod may take to come and to go, under emulation on a busy machine.
const DEADLINE: Duration = Duration::from_secs(600);

/// Prints a line for each process in the cgroups below the pod's: PID, parent, cgroup, and namespaces.
const MEMBERS: &str = r#"
    for pid in $(cat /sys/fs/cgroup$pod/*/cgroup.procs 2>/dev/null); do
        cd /proc/$pid/ns || continue
        echo $(cat ../comm) $pid $(sed -n 's/^PPid://p' ../status) $(cat ../cgroup) \
            $(readlink cgroup ipc mnt net pid uts)
    done
"#;

/// A process of the pod's.
#[derive(Debug)]
struct Member {
    pid: u32,
    parent: u32,
    cgroup: String,
    /// By kind, as the links in `/proc/PID/ns` say it.
    namespaces: BTreeMap<String, String>,
}

impl Member {
    /// One line of [`MEMBERS`], and the program that it starts with.
    fn of(line: &str) -> Option<(String, Member)> {
        let mut words = line.split_whitespace();
        let program = words.next()?.to_owned();
        let pid = words.next()?.parse().ok()?;
        let parent = words.next()?.parse().ok()?;
        let cgroup = words.next()?.strip_prefix("0::")?.to_owned();
        let namespaces = words.map(|link| {
            let (kind, _) = link.split_once(':').expect("a link to a namespace");
            (kind.to_owned(), link.to_owned())
        });
        Some((program, Member { pid, parent, cgroup, namespaces: namespaces.collect() }))
    }

    /// Which of the kinds are the same for both.
    fn shares_with(&self, other: &Member) -> Vec<&str> {
        let same = |kind: &&str| self.namespaces.get(*kind) == other.namespaces.get(*kind);
        ["cgroup", "ipc", "mnt", "net", "pid", "uts"].into_iter().filter(same).collect()
    }
}

/// A machine with a kubelet.
struct Node {
    machine: Machine,
}

impl Node {
    /// The one that all tests share: booted by the first of them, it ends with this process.
    fn shared() -> &'static Node {
        static SHARED: OnceLock<Node> = OnceLock::new();
        let boot = || {
            let began = Instant::now();
            let image = Need::VmImageNode.image().expect("an image");
            let node = Node { machine: Machine::qemu(&image) };
            let up = began.elapsed().as_secs();
            node.pod();
            eprintln!(
                "node: up after {up} s, its pod running after {} s",
                began.elapsed().as_secs()
            );
            node
        };
        SHARED.get_or_init(boot)
    }

    /// What a shell prints that root runs.
    fn root(&self, script: &str) -> String {
        self.machine.script(&format!("sudo pod={POD} sh -eu <<'END'\n{script}\nEND"))
    }

    /// The pod's processes by their programs, once it is complete.
    fn pod(&self) -> BTreeMap<String, Member> {
        self.until("the pod has its three processes", |node| {
            let members: BTreeMap<_, _> =
                node.root(MEMBERS).lines().filter_map(Member::of).collect();
            members.keys().eq(PROGRAMS).then_some(members)
        })
    }

    /// What `look` sees, as soon as it sees it.
    fn until<T>(&self, what: &str, look: impl Fn(&Node) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(seen) = look(self) {
                return seen;
            }
            assert!(began.elapsed() < DEADLINE, "not after {DEADLINE:?}: {what}");
        }
    }
}

#[test]
fn the_kubelet_runs_its_static_pod_in_slices_and_scopes_of_systemd() {
    needs!(Need::VmImageNode);
    let _turn = turn();
    let node = Node::shared();
    for (program, member) in node.pod() {
        let scope =
            member.cgroup.strip_prefix(POD).expect(&program).strip_prefix('/').expect("one");
        let id = scope.strip_prefix("cri-containerd-").and_then(|id| id.strip_suffix(".scope"));
        let id = id.unwrap_or_else(|| panic!("{program} is in {scope}"));
        assert!(id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        assert_eq!(node.root(&format!("systemctl is-active {scope}")), "active");
    }
    // What the manifest asks for is what the kernel has been told.
    let httpd = &node.pod()["httpd"].cgroup;
    let limit = node.root(&format!("cat /sys/fs/cgroup{httpd}/memory.max"));
    assert_eq!(limit, (32 << 20).to_string());
}

#[test]
fn a_manifest_that_is_moved_away_ends_its_pod_and_one_that_comes_makes_it() {
    needs!(Need::VmImageNode);
    let _turn = turn();
    let node = Node::shared();
    let before = node.pod();
    node.root(&format!("mv {MANIFEST} /root/"));
    node.until("the pod has ended", |node| node.root(MEMBERS).is_empty().then_some(()));
    node.root(&format!("mv /root/example.yaml {MANIFEST}"));
    let after = node.pod();
    assert_ne!(before["pause"].pid, after["pause"].pid);
    assert_ne!(before["pause"].cgroup, after["pause"].cgroup);
}

#[test]
fn a_pods_containers_share_ipc_net_and_uts_and_nothing_else() {
    needs!(Need::VmImageNode);
    let _turn = turn();
    let node = Node::shared();
    let pod = node.pod();
    let [httpd, pause, sleep] = PROGRAMS.map(|program| &pod[program]);
    assert_eq!(httpd.shares_with(pause), ["ipc", "net", "uts"]);
    assert_eq!(httpd.shares_with(sleep), ["ipc", "net", "uts"]);
    // PID 1 of the machine shares nothing with them, except that pause has no cgroup namespace of its own.
    let init =
        node.root("cd /proc/1/ns && echo init 1 0 0::/ $(readlink cgroup ipc mnt net pid uts)");
    let (_, init) = Member::of(&init).expect("a line");
    assert_eq!(httpd.shares_with(&init), [""; 0]);
    assert_eq!(pause.shares_with(&init), ["cgroup"]);
}

#[test]
fn one_shim_is_the_parent_of_all_in_the_pod_and_a_child_of_pid_1() {
    needs!(Need::VmImageNode);
    let _turn = turn();
    let node = Node::shared();
    let pod = node.pod();
    let shim = pod["pause"].parent;
    assert!(pod.values().all(|member| member.parent == shim), "{pod:#?}");
    let shown = node.root(&format!("ps -o ppid=,comm= -p {shim}"));
    // The kernel keeps fifteen characters of a name.
    assert_eq!(shown.split_whitespace().collect::<Vec<_>>(), ["1", "containerd-shim"]);
}

#[test]
fn what_a_pod_serves_is_at_its_address_and_not_at_the_machines() {
    needs!(Need::VmImageNode);
    let _turn = turn();
    let node = Node::shared();
    let pause = node.pod()["pause"].pid;
    let page = "A page, served from inside a pod.";
    let inside = format!("nsenter --net --target {pause}");
    assert_eq!(node.root(&format!("{inside} curl --silent http://127.0.0.1/")), page);
    let address = node.root(&format!("{inside} ip -4 -brief address show eth0"));
    let address = address.split_whitespace().last().expect("an address");
    let (address, _) = address.split_once('/').expect("a prefix's length");
    assert_eq!(node.root(&format!("curl --silent http://{address}/")), page);
    let refused = node.root("curl --silent http://127.0.0.1/ || echo $?");
    assert_eq!(refused, "7", "7 is that nobody listens");
}

#[test]
fn provisioned_again_it_changes_nothing_and_without_a_kubelet_it_says_how_to_get_one() {
    needs!(Need::VmImageNode);
    let _turn = turn();
    let node = Node::shared();
    let before = node.pod()["pause"].pid;
    let vm = copy_of_vm(&node.machine);
    let main_pid = "systemctl show --value --property MainPID kubelet.service containerd.service";
    let services = node.root(main_pid);
    let again = format!("touch {vm}/stamp; {vm}/provision.sh --profile node");
    assert_eq!(node.root(&again), "");
    assert_eq!(node.root(&format!("find /etc /usr -newer {vm}/stamp")), "");
    assert_eq!((node.root(main_pid), node.pod()["pause"].pid), (services, before));

    // Without anything in /usr/local/bin, seen from a mount namespace of its own.
    let without = format!(
        "unshare --mount sh -c 'mount -t tmpfs none /usr/local/bin; {vm}/provision.sh --profile node' 2>&1 ||
         echo exit status $?"
    );
    let said = node.root(&without);
    assert_eq!(
        said.lines().collect::<Vec<_>>(),
        [
            "provision.sh: no kubelet, and Debian has no package of one",
            "hint: vm/image/kubelet makes it, with the folder of --binaries as its argument, or /usr/local/bin",
            "exit status 1"
        ]
    );
}

/// Puts `vm/provision.sh` and what it needs into the machine, and says where.
fn copy_of_vm(machine: &Machine) -> String {
    let folder = machine.script("mktemp --directory");
    let mut tar = Command::new("tar");
    tar.args(["--create", "--directory"])
        .arg(checkout().join("vm"))
        .args(["provision.sh", "profiles"]);
    let mut tar = tar.stdout(Stdio::piped()).spawn().expect("tar");
    let mut ssh = machine.ssh(&[]);
    ssh.arg(format!("tar --extract --directory {folder}"));
    let unpacked = ssh.stdin(tar.stdout.take().expect("a pipe")).status().expect("ssh");
    assert!(unpacked.success() && tar.wait().expect("tar").success(), "copying failed");
    folder
}
