//! What a test needs of the machine. A test that cannot run says why, is counted, and fails where
//! `PODLAB_REQUIRE` (a comma-separated list of needs) says that it had to run.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::memory;

/// Something that not every machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Effective user 0 in the initial user namespace.
    Root,
    /// Another effective user than root, whom some programs refuse.
    NotRoot,
    /// The cgroup v1 memory controller, writable.
    Cgroup1,
    /// The cgroup v2 memory controller, writable.
    Cgroup2,
    /// A cgroup memory controller of either version.
    Memory,
    /// The same, and groups of one's own: as root, or where one was delegated.
    MemoryGroup,
    /// The kernel log, readable.
    KernelLog,
    /// A cgroup v2 hierarchy beside those of version 1, writable.
    Unified,
    /// Kernel threads, which are not seen from within a PID namespace.
    KernelThreads,
    /// User namespaces for a user without privileges.
    Userns,
    /// A Docker engine that answers.
    Docker,
    /// A machine of the course: `PODLAB_VM_TARGET` names one that is up, or [`Need::VmImage`].
    Vm,
    /// QEMU, and what it boots: `PODLAB_VM_IMAGE` names the folder that `vm/image/build` filled.
    VmImage,
    /// The same with cgroup v1: `PODLAB_VM_IMAGE_V1`, of `vm/image/build --cgroup v1`.
    VmImageV1,
    /// The same with a kubelet: `PODLAB_VM_IMAGE_NODE`, of `vm/image/build --profile node`.
    VmImageNode,
    /// A program on the PATH.
    Program(&'static str),
}

impl Need {
    /// The name by which `PODLAB_REQUIRE` asks for it.
    pub fn name(self) -> &'static str {
        match self {
            Need::Root => "root",
            Need::NotRoot => "not-root",
            Need::Cgroup1 => "cgroup1",
            Need::Cgroup2 => "cgroup2",
            Need::Memory => "memory",
            Need::MemoryGroup => "memory-group",
            Need::KernelLog => "kernel-log",
            Need::Unified => "unified",
            Need::KernelThreads => "kernel-threads",
            Need::Userns => "userns",
            Need::Docker => "docker",
            Need::Vm => "vm",
            Need::VmImage => "vm-image",
            Need::VmImageV1 => "vm-image-v1",
            Need::VmImageNode => "vm-image-node",
            Need::Program(name) => name,
        }
    }

    /// The need of that name; a name that is none of the others is a program's.
    pub fn named(name: &str) -> Need {
        let known = [
            Need::Root,
            Need::NotRoot,
            Need::Cgroup1,
            Need::Cgroup2,
            Need::Memory,
            Need::MemoryGroup,
            Need::KernelLog,
            Need::Unified,
            Need::KernelThreads,
            Need::Userns,
            Need::Docker,
            Need::Vm,
            Need::VmImage,
            Need::VmImageV1,
            Need::VmImageNode,
        ];
        known
            .into_iter()
            .find(|need| need.name() == name)
            .unwrap_or_else(|| Need::Program(name.to_owned().leak()))
    }

    fn missing(self) -> Option<String> {
        let (present, otherwise) = match self {
            Need::Root => (nix::unistd::geteuid().is_root(), "not root".to_owned()),
            Need::NotRoot => (!nix::unistd::geteuid().is_root(), "it is not for root".to_owned()),
            Need::Cgroup1 => (memory_of_v1(), "no writable cgroup v1 memory controller".to_owned()),
            Need::Cgroup2 => (memory_of_v2(), "no cgroup v2 memory controller".to_owned()),
            Need::Memory => (
                memory_of_v1() || memory_of_v2(),
                "no cgroup memory controller, neither v1 nor v2".to_owned(),
            ),
            Need::MemoryGroup => {
                (memory::is_mine(), "no memory cgroup of one's own, and not root".to_owned())
            }
            Need::KernelLog => {
                (succeeds("dmesg", &[]), "the kernel log may not be read".to_owned())
            }
            Need::Unified => (
                writable("/sys/fs/cgroup/unified/cgroup.procs"),
                "no writable /sys/fs/cgroup/unified".to_owned(),
            ),
            Need::KernelThreads => (
                std::fs::read_to_string("/proc/2/comm").is_ok_and(|comm| comm == "kthreadd\n"),
                "kernel threads are not seen here".to_owned(),
            ),
            Need::Userns => (
                user_namespace_works(),
                "an ordinary user may not make a user namespace here".to_owned(),
            ),
            Need::Docker => {
                (succeeds("docker", &["info"]), "no Docker engine answers `docker info`".to_owned())
            }
            Need::Vm => (
                std::env::var_os("PODLAB_VM_TARGET").is_some() || Need::VmImage.boots(),
                "no machine: neither PODLAB_VM_TARGET nor an image in PODLAB_VM_IMAGE".to_owned(),
            ),
            Need::VmImage | Need::VmImageV1 | Need::VmImageNode => {
                (self.boots(), "no QEMU, or no image that vm/image/build made".to_owned())
            }
            Need::Program(name) => (program(name).is_some(), format!("no {name} on the PATH")),
        };
        (!present).then_some(otherwise)
    }

    /// The folder of the image that boots as this machine.
    pub fn image(self) -> Option<PathBuf> {
        let variable = match self {
            Need::VmImage => "PODLAB_VM_IMAGE",
            Need::VmImageV1 => "PODLAB_VM_IMAGE_V1",
            Need::VmImageNode => "PODLAB_VM_IMAGE_NODE",
            _ => return None,
        };
        std::env::var_os(variable).map(PathBuf::from)
    }

    fn boots(self) -> bool {
        program("qemu-system-x86_64").is_some()
            && self.image().is_some_and(|image| image.join("disk.qcow2").is_file())
    }
}

/// Returns from the test, with a remark, unless the machine has all that is named.
#[macro_export]
macro_rules! needs {
    ($($need:expr),+ $(,)?) => {
        if !$crate::support::need::met(&[$($need),+]) {
            return;
        }
    };
}

/// Whether the machine has all of `needs`; if not, says which it lacks.
///
/// # Panics
///
/// When a missing need is named by `PODLAB_REQUIRE`.
pub fn met(needs: &[Need]) -> bool {
    static SKIPPED: AtomicUsize = AtomicUsize::new(0);
    let required = std::env::var("PODLAB_REQUIRE").unwrap_or_default();
    for need in needs {
        let Some(why) = need.missing() else { continue };
        assert!(
            !required.split(',').any(|name| name.trim() == need.name()),
            "PODLAB_REQUIRE names {}, but: {why}",
            need.name()
        );
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
        // Written past libtest's capture, which hides what passing tests print; at once, so that it
        // stays one line beside what others print.
        let line = format!("skipped ({count} so far): {test}: {why}\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
        return false;
    }
    true
}

fn memory_of_v1() -> bool {
    writable("/sys/fs/cgroup/memory/memory.limit_in_bytes")
}

fn memory_of_v2() -> bool {
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .iter()
        .any(|root| memory::gives_memory(root.as_ref()))
}

fn writable(path: &str) -> bool {
    std::fs::OpenOptions::new().write(true).open(path).is_ok()
}

fn succeeds(program: &str, args: &[&str]) -> bool {
    Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The file behind the command `name`, if it is on the PATH.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn user_namespace_works() -> bool {
    let mut unshare = Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "true"]);
    super::user::as_ordinary(&mut unshare);
    unshare.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
