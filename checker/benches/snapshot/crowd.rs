//! Two thousand sleeping processes, some of them in namespaces of their own.

use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, geteuid, pipe, read, write};

/// How many processes there are in all.
pub(crate) const SIZE: usize = 2_000;

/// How many namespaces of each kind they are spread over, the machine's own among them.
pub(crate) const ROOMS: usize = 8;

/// The processes, which end when this is dropped, or when the program that holds it ends in any
/// other way: they all wait for the end of a pipe that nobody else can write to.
pub(crate) struct Crowd {
    life: Option<OwnedFd>,
    keepers: Vec<Pid>,
}

impl Crowd {
    /// Starts them, and returns when all are there. Call it before any thread is made.
    pub(crate) fn start() -> io::Result<Crowd> {
        let (end, life) = pipe()?;
        let (mut ready, tell) = pipe().map(|(r, w)| (std::fs::File::from(r), w))?;
        let keepers = (0..ROOMS)
            .map(|room| keeper(room, &life, &end, &tell))
            .collect::<Result<_, Errno>>()?;
        drop(tell);
        ready.read_exact(&mut [0; SIZE])?;
        Ok(Crowd { life: Some(life), keepers })
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        drop(self.life.take());
        for keeper in &self.keepers {
            let _ = waitpid(*keeper, None);
        }
    }
}

/// Starts the process that fills a room. The first room is the machine's.
fn keeper(room: usize, life: &OwnedFd, end: &OwnedFd, tell: &OwnedFd) -> nix::Result<Pid> {
    // SAFETY: there is one thread only, and the child calls the kernel and nothing else.
    match unsafe { fork()? } {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            // SAFETY: the child's own copy of the writing end, which nothing in it uses again.
            unsafe { libc::close(life.as_raw_fd()) };
            let fine = (room == 0 || unshare(flags()).is_ok()) && fill(end, tell).is_ok();
            // SAFETY: ends the child without the parent's destructors.
            unsafe { libc::_exit(i32::from(!fine)) }
        }
    }
}

fn flags() -> CloneFlags {
    let kinds = CloneFlags::CLONE_NEWCGROUP
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWUTS;
    if geteuid().is_root() { kinds } else { kinds | CloneFlags::CLONE_NEWUSER }
}

/// One process fills the room and is one of its number: in a new PID namespace it is PID 1.
fn fill(end: &OwnedFd, tell: &OwnedFd) -> nix::Result<()> {
    // SAFETY: as above.
    match unsafe { fork()? } {
        ForkResult::Parent { child } => waitpid(child, None).map(drop),
        ForkResult::Child => {
            let fine = sit(end, tell, SIZE / ROOMS - 1).is_ok();
            // SAFETY: as above.
            unsafe { libc::_exit(i32::from(!fine)) }
        }
    }
}

/// Starts the others, says that it is there, and waits for the end.
fn sit(end: &OwnedFd, tell: &OwnedFd, others: usize) -> nix::Result<()> {
    for _ in 0..others {
        // SAFETY: as above.
        if let ForkResult::Child = unsafe { fork()? } {
            return sit(end, tell, 0);
        }
    }
    write(tell, &[0])?;
    read(end, &mut [0]).map(drop)
}
