//! Finding what a command left behind, by a mark that its whole family inherits in the environment.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The environment variable that carries the mark.
const VARIABLE: &str = "PODLAB_TEST_MARK";

/// A mark for one command and all that it starts.
pub struct Mark(String);

impl Mark {
    /// A mark that no other test has.
    pub fn new(test: &str) -> Mark {
        static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Mark(format!("{test}-{}-{n}", std::process::id()))
    }

    /// Marks `command`.
    pub fn put_on<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env(VARIABLE, &self.0)
    }

    /// The processes that carry the mark, as this PID namespace numbers them. Zombies have no
    /// environment and are not among them.
    pub fn processes(&self) -> Vec<i32> {
        let wanted = format!("{VARIABLE}={}", self.0);
        let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
        entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter(|pid| {
                fs::read(format!("/proc/{pid}/environ"))
                    .is_ok_and(|environ| environ.split(|b| *b == 0).any(|v| v == wanted.as_bytes()))
            })
            .collect()
    }

    /// Ends every process that carries the mark. Those that the kernel does not let go of within five
    /// seconds (a frozen one, say) are left to the test's own checks.
    pub fn end_all(&self) {
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            let processes = self.processes();
            if processes.is_empty() {
                return;
            }
            for pid in processes {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            std::thread::yield_now();
        }
    }
}

/// The cgroups, in any hierarchy, whose name contains `part`.
pub fn cgroups_named(part: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![std::path::PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
            if entry.file_name().to_string_lossy().contains(part) {
                found.push(entry.path());
            }
            open.push(entry.path());
        }
    }
    found
}

/// The lines of this process's mountinfo that contain `part`.
pub fn mounts_with(part: &str) -> Vec<String> {
    fs::read_to_string("/proc/self/mountinfo")
        .expect("mountinfo")
        .lines()
        .filter(|line| line.contains(part))
        .map(str::to_owned)
        .collect()
}
