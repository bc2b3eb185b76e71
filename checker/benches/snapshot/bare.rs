//! The bare system calls that reading processes needs: the same calls in the same order as
//! `podlab::observe` makes, into one static buffer that nobody looks at.

use std::ffi::CStr;

use libc::{AT_FDCWD, O_CLOEXEC, O_DIRECTORY, O_PATH, O_RDONLY, c_int};

/// Room for the text of any file.
const ROOM: usize = 16 << 10;

/// The links of `/proc/PID/ns`.
const LINKS: [&CStr; 10] = [
    c"ns/cgroup",
    c"ns/ipc",
    c"ns/mnt",
    c"ns/net",
    c"ns/pid",
    c"ns/pid_for_children",
    c"ns/time",
    c"ns/time_for_children",
    c"ns/user",
    c"ns/uts",
];

/// Makes the calls; the buffer is its only state.
pub(crate) struct Bare {
    buffer: [u8; ROOM],
}

impl Bare {
    /// Ready to go.
    pub(crate) fn new() -> Bare {
        Bare { buffer: [0; ROOM] }
    }

    /// Namespaces, cgroups and status of every process in `/proc`; returns how many there were.
    pub(crate) fn short(&mut self) -> usize {
        self.each(|bare, process| {
            bare.links(process);
            bare.record(process, c"cgroup");
            bare.record(process, c"status");
        })
    }

    /// All that is in a record of a process. Its maps of user and group IDs are not: in the user
    /// namespace of whoever reads, they are those of the reader.
    pub(crate) fn full(&mut self) -> usize {
        self.each(|bare, process| {
            bare.record(process, c"stat");
            bare.record(process, c"status");
            bare.links(process);
            bare.link(process, c"exe");
            bare.file(process, c"exe");
            bare.link(process, c"cwd");
            bare.record(process, c"cgroup");
            bare.record(process, c"oom_score_adj");
        })
    }

    /// Lists `/proc` and calls `read` with each process opened.
    fn each(&mut self, mut read: impl FnMut(&mut Bare, c_int)) -> usize {
        let mut entries = [0u64; 4096];
        let mut count = 0;
        let proc = open(AT_FDCWD, c"/proc", O_PATH | O_DIRECTORY);
        let listing = open(proc, c".", O_RDONLY | O_DIRECTORY);
        loop {
            // SAFETY: the buffer is as long as is said, and aligned for the kernel's entries.
            let n = unsafe {
                libc::syscall(
                    libc::SYS_getdents64,
                    listing,
                    entries.as_mut_ptr(),
                    size_of_val(&entries),
                )
            };
            let Some(mut left) = usize::try_from(n).ok().filter(|n| *n > 0) else { break };
            let mut entry = entries.as_ptr().cast::<libc::dirent64>();
            while left > 0 {
                // SAFETY: the kernel wrote whole entries, each with a name that ends in NUL.
                let (length, name) = unsafe {
                    (
                        usize::from((*entry).d_reclen),
                        CStr::from_ptr((&raw const (*entry).d_name).cast()),
                    )
                };
                if name.to_bytes()[0].is_ascii_digit() {
                    let process = open(proc, name, O_PATH | O_DIRECTORY);
                    read(self, process);
                    close(process);
                    count += 1;
                }
                left -= length;
                // SAFETY: there is another entry, or it is not looked at.
                entry = unsafe { entry.byte_add(length) };
            }
        }
        close(listing);
        close(proc);
        count
    }

    fn links(&mut self, process: c_int) {
        for link in LINKS {
            self.link(process, link);
        }
    }

    fn link(&mut self, process: c_int, name: &CStr) {
        // SAFETY: the buffer is as long as is said.
        unsafe { libc::readlinkat(process, name.as_ptr(), self.buffer.as_mut_ptr().cast(), ROOM) };
    }

    fn file(&mut self, process: c_int, name: &CStr) {
        // SAFETY: the buffer is longer than the structure, which is plain numbers.
        unsafe {
            libc::syscall(
                libc::SYS_statx,
                process,
                name.as_ptr(),
                libc::AT_STATX_DONT_SYNC,
                libc::STATX_INO,
                self.buffer.as_mut_ptr(),
            )
        };
    }

    fn record(&mut self, process: c_int, name: &CStr) {
        let file = open(process, name, O_RDONLY);
        self.read(file);
        close(file);
    }

    fn read(&mut self, file: c_int) -> isize {
        // SAFETY: the buffer is as long as is said.
        unsafe { libc::read(file, self.buffer.as_mut_ptr().cast(), ROOM) }
    }
}

fn open(folder: c_int, name: &CStr, flags: c_int) -> c_int {
    // SAFETY: the name ends in NUL.
    unsafe { libc::openat(folder, name.as_ptr(), flags | O_CLOEXEC) }
}

fn close(file: c_int) {
    // SAFETY: opened by the caller and not used again; closing none is refused.
    unsafe { libc::close(file) };
}
