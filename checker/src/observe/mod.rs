//! Reads the kernel into [`facts`](crate::facts): processes, namespaces, cgroups, mounts.
//!
//! Parsing stands apart from reading: every file of the kernel has a module with a pure function
//! from bytes to values. The roots of `/proc` and of the cgroup mounts are parameters, so a recorded
//! tree is read just as the running machine is. What may not be read is told apart from what is not
//! there; a process or a cgroup that goes away meanwhile is left out.

mod cgroup;
mod error;
mod id_map;
mod machine;
mod mountinfo;
mod mounts;
mod namespace;
mod namespaces;
mod proc;
mod process;
mod read;
mod stat;
mod status;
mod text;

use std::path::PathBuf;

pub use cgroup::parse_membership;
pub use error::{Error, ProcFault};
pub use id_map::parse_id_map;
pub use mountinfo::parse_mountinfo;
pub use namespace::parse_link;
pub use proc::Proc;
pub use process::OpenProcess;
pub use read::Buffer;
pub use stat::{Stat, parse_stat};
pub use status::{Status, parse_status};
pub use text::Malformed;

use crate::facts::{CgroupTree, Machine, MountTable, Namespace, Process, Snapshot};

/// Where the kernel's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// A proc file system, or a copy of one; it has a link `self` to the process that looked.
    pub proc: PathBuf,
    /// What stands before the mount points of cgroups in `self/mountinfo`: `/` on this machine, and
    /// the folder of the copy in a recorded tree.
    pub mounts: PathBuf,
}

impl Default for Roots {
    /// Those of this machine.
    fn default() -> Roots {
        Roots { proc: PathBuf::from("/proc"), mounts: PathBuf::from("/") }
    }
}

/// What to read and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Where the kernel's files are.
    pub roots: Roots,
    /// How many threads read processes; 0 is one for each processor.
    pub threads: usize,
    /// Whether to look for the variable `PODLAB` in the environment of each process.
    pub mark: bool,
}

impl Options {
    fn threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            some => some,
        }
    }
}

/// Reads everything in one pass. The parts are of slightly different moments; each process is of one.
///
/// # Errors
///
/// When the proc file system cannot be used, or a file does not look as its manual page says. What
/// may not be read, or goes away meanwhile, is no error.
pub fn snapshot(options: &Options) -> Result<Snapshot, Error> {
    let proc = Proc::open(options)?;
    let processes = proc.read(&proc.pids()?, options.threads())?;
    Ok(Snapshot {
        machine: machine::read(&proc)?,
        observer: proc.observer(),
        namespaces: namespaces::read(&proc, &processes)?,
        cgroups: cgroup::read(&proc, options)?,
        mounts: mounts::read(&proc, &processes)?,
        processes,
    })
}

/// Reads all processes, or those of `only` that are there, in the order of their PIDs.
///
/// # Errors
///
/// As for [`snapshot`].
pub fn processes(options: &Options, only: Option<&[i32]>) -> Result<Vec<Process>, Error> {
    let proc = Proc::open(options)?;
    match only {
        Some(pids) => proc.read(pids, options.threads()),
        None => proc.read(&proc.pids()?, options.threads()),
    }
}

/// Reads one process; nothing where there is none.
///
/// # Errors
///
/// As for [`snapshot`].
pub fn process(options: &Options, pid: i32) -> Result<Option<Process>, Error> {
    Ok(processes(options, Some(&[pid]))?.pop())
}

/// Reads the namespaces that these processes are in, and the ancestors of those.
///
/// # Errors
///
/// As for [`snapshot`].
pub fn namespaces(options: &Options, processes: &[Process]) -> Result<Vec<Namespace>, Error> {
    namespaces::read(&Proc::open(options)?, processes)
}

/// Reads the cgroups that this process can see.
///
/// # Errors
///
/// As for [`snapshot`].
pub fn cgroups(options: &Options) -> Result<CgroupTree, Error> {
    cgroup::read(&Proc::open(options)?, options)
}

/// Reads the mounts of each mount namespace that these processes are in.
///
/// # Errors
///
/// As for [`snapshot`].
pub fn mounts(options: &Options, processes: &[Process]) -> Result<Vec<MountTable>, Error> {
    mounts::read(&Proc::open(options)?, processes)
}

/// Reads what is to be said of the machine.
///
/// # Errors
///
/// As for [`snapshot`].
pub fn machine(options: &Options) -> Result<Machine, Error> {
    machine::read(&Proc::open(options)?)
}
