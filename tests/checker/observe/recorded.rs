//! A recorded machine: the roots are parameters. The process is a copy of this one's real files, the
//! cgroups are plain files of version 2.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use podlab::facts::{CgroupMode, CgroupRef, Limit, Reading};
use podlab::observe::{Options, Roots, snapshot};
use tempfile::TempDir;

const PID: i32 = 7;

/// A machine on which this process has PID 7 and is in the cgroup /lab/a.
fn record() -> (TempDir, Options) {
    let folder = tempfile::tempdir().unwrap();
    let roots = Roots { proc: folder.path().join("proc"), mounts: folder.path().join("root") };
    record_process(&roots.proc);
    record_cgroups(&roots.mounts.join("sys/fs/cgroup"));
    (folder, Options { roots, threads: 1, mark: false })
}

fn record_process(proc: &Path) {
    let process = proc.join(PID.to_string());
    write(proc, &[("sys/kernel/hostname", "recorded\n"), ("sys/kernel/osrelease", "6.1.0\n")]);
    for file in ["uptime", "meminfo", "sys/kernel/random/boot_id"] {
        copy(&Path::new("/proc").join(file), &proc.join(file));
    }
    symlink(PID.to_string(), proc.join("self")).unwrap();
    for file in ["stat", "status", "uid_map", "gid_map", "oom_score_adj"] {
        copy(&Path::new("/proc/self").join(file), &process.join(file));
    }
    write(
        &process,
        &[
            ("cgroup", "0::/lab/a\n"),
            ("mountinfo", "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"),
        ],
    );
    fs::create_dir(process.join("ns")).unwrap();
    let links = fs::read_dir("/proc/self/ns").unwrap().map(|entry| entry.unwrap().file_name());
    for link in links.map(|name| Path::new("ns").join(name)).chain([Path::new("cwd").to_owned()]) {
        symlink(fs::read_link(Path::new("/proc/self").join(&link)).unwrap(), process.join(link))
            .unwrap();
    }
}

fn record_cgroups(root: &Path) {
    write(root, &[("cgroup.controllers", "cpu memory pids\n"), ("cgroup.procs", "")]);
    write(&root.join("lab"), &[("cgroup.controllers", "memory\n"), ("cgroup.procs", "")]);
    write(
        &root.join("lab/a"),
        &[
            ("cgroup.controllers", "cpu memory pids\n"),
            ("cgroup.procs", "7\n"),
            ("cgroup.events", "populated 1\nfrozen 1\n"),
            ("cpu.max", "20000 100000\n"),
            ("cpu.weight", "79\n"),
            ("cpu.stat", "usage_usec 9\nnr_periods 21\nnr_throttled 20\nthrottled_usec 1500\n"),
            ("memory.max", "67108864\n"),
            ("memory.high", "max\n"),
            ("memory.current", "4096\n"),
            ("memory.events", "low 0\nhigh 0\nmax 12\noom 3\noom_kill 3\noom_group_kill 0\n"),
            ("memory.events.local", "low 0\nhigh 0\nmax 12\noom 3\noom_kill 1\n"),
            ("memory.oom.group", "1\n"),
            ("pids.max", "5\n"),
            ("pids.current", "1\n"),
            ("pids.events", "max 2\n"),
        ],
    );
}

fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::write(to, fs::read(from).unwrap()).unwrap();
}

fn error(options: &Options) -> String {
    let error = snapshot(options).unwrap_err();
    match error.hint() {
        Some(hint) => format!("{error}\nhint: {hint}"),
        None => error.to_string(),
    }
}

#[test]
fn a_recorded_process_is_read_as_a_running_one() {
    let (_kept, options) = record();
    let recorded = snapshot(&options).unwrap();
    assert_eq!((recorded.observer, recorded.machine.hostname.as_str()), (PID, "recorded"));
    let [process] = &recorded.processes[..] else { panic!("{:?}", recorded.processes) };
    let own = super::process(std::process::id() as i32);
    assert_eq!((process.id.pid, process.id.start), (PID, own.id.start));
    assert_eq!((process.uids, &process.uid_map), (own.uids, &own.uid_map));
    assert_eq!((process.capabilities, &process.cwd), (own.capabilities, &own.cwd));
    assert_eq!(process.exe, Reading::Absent);
    let inode = |process: &podlab::facts::Process| process.namespaces.net.known().unwrap().ino;
    assert_eq!(inode(process), inode(&own));
    assert_eq!(recorded.mounts[0].mounts.known().unwrap().len(), 1);
}

#[test]
fn a_recorded_tree_of_version_2_is_read_from_its_own_root() {
    let (_kept, options) = record();
    let tree = snapshot(&options).unwrap().cgroups;
    assert_eq!(tree.mode, CgroupMode::V2);
    assert_eq!(tree.hierarchies[0].controllers, ["cpu", "memory", "pids"]);
    let paths: Vec<&str> = tree.groups.iter().map(|group| group.at.path.as_str()).collect();
    assert_eq!(paths, ["/", "/lab", "/lab/a"]);
    let at = |path: &str| CgroupRef { hierarchy: 0, path: path.to_owned() };
    let group = tree.group(&at("/lab/a")).unwrap();
    assert_eq!(group.procs, Reading::Known(vec![PID]));
    assert_eq!(group.frozen, Reading::Known(true));
    let memory = group.memory.as_ref().unwrap();
    assert_eq!(memory.limit, Reading::Known(Limit::At(64 << 20)));
    assert_eq!(memory.high, Reading::Known(Limit::MAX));
    assert_eq!((memory.usage, memory.peak), (Reading::Known(4096), Reading::Absent));
    assert_eq!((memory.limit_hits, memory.oom_kills), (Reading::Known(12), Reading::Known(3)));
    assert_eq!(memory.oom_kills_local, Reading::Known(1));
    assert_eq!(memory.oom_group, Reading::Known(true));
    let cpu = group.cpu.as_ref().unwrap();
    assert_eq!(cpu.quota, Reading::Known(Limit::At(20_000)));
    assert_eq!((cpu.period, cpu.weight), (Reading::Known(100_000), Reading::Known(79)));
    assert_eq!((cpu.throttled, cpu.throttled_us), (Reading::Known(20), Reading::Known(1500)));
    let pids = group.pids.as_ref().unwrap();
    assert_eq!((pids.limit, pids.refused), (Reading::Known(Limit::At(5)), Reading::Known(2)));
    let above = tree.group(&at("/lab")).unwrap();
    assert!(above.memory.is_some() && above.pids.is_none() && above.cpu.is_none());
}

#[test]
fn a_malformed_line_is_an_error_that_names_the_file_and_the_line() {
    let (kept, options) = record();
    let status = kept.path().join("proc/7/status");
    let text = fs::read_to_string(&status).unwrap();
    let line = 1 + text.lines().position(|line| line.starts_with("Uid:")).unwrap();
    fs::write(&status, text.replace("Uid:\t", "Uid:\tx")).unwrap();
    let said = error(&options);
    assert!(said.starts_with(&format!("{}: line {line}: ", status.display())), "{said}");
    assert!(said.contains("'Uid:\\tx"), "{said}");
}

#[test]
fn a_malformed_cgroup_file_is_named_too() {
    let (kept, options) = record();
    let file = kept.path().join("root/sys/fs/cgroup/lab/a/memory.max");
    fs::write(&file, "plenty\n").unwrap();
    let expected =
        format!("{}: line 1: expected a number or 'max', found 'plenty'", file.display());
    assert_eq!(error(&options), expected);
}

#[test]
fn a_folder_that_is_no_proc_file_system_is_an_error_with_a_hint() {
    let (kept, mut options) = record();
    options.roots.proc = kept.path().join("root");
    let said = error(&options);
    let path = options.roots.proc.display();
    assert!(said.starts_with(&format!("{path}: not a proc file system")), "{said}");
    assert!(said.contains("mount one of this PID namespace"), "{said}");
}

#[test]
fn a_proc_that_is_not_there_is_an_error() {
    let (kept, mut options) = record();
    options.roots.proc = kept.path().join("none");
    let path = options.roots.proc.display().to_string();
    assert_eq!(
        error(&options).lines().next(),
        Some(format!("{path}: no such file or directory").as_str())
    );
}

#[test]
fn a_proc_of_processes_only_is_an_error_with_a_hint() {
    let (kept, options) = record();
    fs::remove_dir_all(kept.path().join("proc/sys")).unwrap();
    let said = error(&options);
    assert!(
        said.contains("only processes are shown (subset=pid)\nhint: mount a whole one"),
        "{said}"
    );
}
