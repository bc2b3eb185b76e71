//! Whether two processes share one memory, by the kernel's own comparison (kcmp(2)).

use std::io;

use crate::error::lower;
use crate::facts::{Observation, ProcessId};

use super::held::Held;

/// `KCMP_VM` of linux/kcmp.h: do they share the address space?
const KCMP_VM: libc::c_long = 1;

pub(super) fn look(one: ProcessId, other: ProcessId) -> Result<Observation, String> {
    let (one, other) = (Held::open(one)?, Held::open(other)?);
    let shared = compare(one.pid(), other.pid())?;
    // kcmp(2) takes PIDs. While both lives last, nobody else has them; and a process that has ended
    // has no memory that could be compared.
    match [&one, &other].into_iter().find(|held| held.has_ended()) {
        Some(ended) => Err(format!("process {} has ended", ended.pid())),
        None => Ok(Observation::SameMemory { shared }),
    }
}

fn compare(one: i32, other: i32) -> Result<bool, String> {
    let unused: libc::c_long = 0;
    // SAFETY: kcmp(2) takes five numbers and touches no memory of the caller.
    let order = unsafe {
        libc::syscall(
            libc::SYS_kcmp,
            libc::c_long::from(one),
            libc::c_long::from(other),
            KCMP_VM,
            unused,
            unused,
        )
    };
    match order {
        -1 => Err(refusal(&io::Error::last_os_error(), one, other)),
        order => Ok(order == 0),
    }
}

fn refusal(error: &io::Error, one: i32, other: i32) -> String {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => "this kernel was built without kcmp(2)".to_owned(),
        Some(libc::EPERM) => {
            format!("the memory of processes {one} and {other} may not be compared; ask as root")
        }
        _ => format!("kcmp of processes {one} and {other}: {}", lower(&error.to_string())),
    }
}
