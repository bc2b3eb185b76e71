//! Processes.

use std::fs;
use std::os::linux::fs::MetadataExt;
use std::process::Command;

use podlab::facts::{Reading, Seccomp, State};
use podlab::observe::{Buffer, OpenProcess, Options, Proc};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::{everything, example, options, process, snapshot_by_ordinary};
use crate::means::{Started, kill, python, sh};
use crate::needs;
use crate::support::need::Need;
use crate::support::running::until;
use crate::support::user;

/// Takes a name that looks like the rest of the line, a filter, and no further privileges.
const ODD: &str = "
import ctypes, os, struct, sys
libc = ctypes.CDLL(None)
class Program(ctypes.Structure):
    _fields_ = [('length', ctypes.c_ushort), ('filter', ctypes.c_void_p)]
allow = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0x7fff0000))
open('/proc/self/oom_score_adj', 'w').write('500')
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Program(1, ctypes.addressof(allow)))) == 0
assert libc.prctl(15, b') Z (\\n', 0, 0, 0) == 0
print('ready')
sys.stdin.read()
";

/// Waits for the end of its standard input and does nothing else.
const PLAIN: &str = "import sys; print('ready'); sys.stdin.read()";

fn start_time(pid: i32) -> u64 {
    let stat = fs::read(format!("/proc/{pid}/stat")).expect("stat");
    let stat = String::from_utf8_lossy(&stat).into_owned();
    let after = stat.rsplit_once(") ").expect("a name").1;
    after.split(' ').nth(19).expect("field 22").parse().expect("a number")
}

#[test]
fn a_process_is_what_it_made_of_itself() {
    needs!(Need::Program("python3"));
    let folder = user::folder();
    let mut command = python(ODD);
    let started = Started::ready(command.current_dir(folder.path()).env("PODLAB", "an odd one"));
    // It is ready before it has gone to sleep over its standard input.
    let asleep = || Some(process(started.pid())).filter(|odd| odd.state == State::Sleeping);
    let odd = until("it to sleep", asleep);
    assert_eq!(odd.id.start, start_time(started.pid()));
    assert_eq!(odd.comm, ") Z (\n");
    assert_eq!(odd.parent, std::process::id() as i32);
    assert_eq!(odd.threads, 1);
    assert_eq!(odd.seccomp, Seccomp::Filter);
    assert!(odd.no_new_privs);
    assert_eq!(odd.oom_score_adj, Reading::Known(500));
    assert_eq!(odd.cwd.known().map(String::as_str), folder.path().to_str());
    assert_eq!(odd.mark, Reading::Known("an odd one".to_owned()));
    assert_eq!(odd.user(), nix::unistd::geteuid().as_raw());
}

#[test]
fn a_process_that_made_nothing_of_itself_has_what_its_parent_has() {
    needs!(Need::Program("python3"));
    let started = Started::ready(&mut python(PLAIN));
    let (plain, own) = (process(started.pid()), process(std::process::id() as i32));
    assert!(plain.comm.starts_with("python"), "{}", plain.comm);
    assert_eq!(plain.seccomp, own.seccomp);
    assert_eq!(plain.no_new_privs, own.no_new_privs);
    assert_eq!(plain.oom_score_adj, own.oom_score_adj);
    assert_eq!(plain.cwd, own.cwd);
    assert_eq!(plain.capabilities, own.capabilities);
    assert_eq!(plain.mark, Reading::Absent);
    assert!(plain.rss_anon.known().is_some_and(|bytes| *bytes > 100 << 10));
}

#[test]
fn the_mark_is_read_only_where_it_is_asked_for() {
    let started = Started::ready(sh("echo ready; read x").env("PODLAB", "here"));
    let unasked = podlab::observe::process(&Options::default(), started.pid()).unwrap().unwrap();
    assert_eq!(unasked.mark, Reading::Absent);
    assert_eq!(process(started.pid()).mark, Reading::Known("here".to_owned()));
}

#[test]
fn the_program_is_the_file_that_runs_also_when_it_is_deleted() {
    let folder = user::folder();
    let copy = user::copy_of(&fs::canonicalize("/bin/cat").unwrap(), folder.path());
    let file = fs::metadata(&copy).unwrap();
    let started = Started::new(&mut Command::new(&copy));
    let before = process(started.pid()).exe.known().cloned().expect("a program");
    assert_eq!((before.dev, before.ino), (file.st_dev(), file.st_ino()));
    assert_eq!((before.path.as_str(), before.deleted), (copy.to_str().unwrap(), false));

    fs::remove_file(&copy).unwrap();
    let after = process(started.pid()).exe.known().cloned().expect("a program");
    assert_eq!((after.dev, after.ino), (before.dev, before.ino));
    assert_eq!((after.path, after.deleted), (before.path, true));
}

#[test]
fn capabilities_are_those_that_were_left() {
    needs!(Need::Root, Need::Program("setpriv"));
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-all,+chown,+kill", "sh", "-c", "echo ready; read x"]);
    let started = Started::ready(&mut command);
    let left = process(started.pid()).capabilities;
    let (chown, kill) = (1 << 0, 1 << 5);
    assert_eq!(
        (left.bounding, left.effective, left.permitted),
        (chown | kill, chown | kill, chown | kill)
    );
    assert_ne!(process(std::process::id() as i32).capabilities.effective, left.effective);
}

#[test]
fn an_ended_process_is_a_zombie_until_it_is_waited_for() {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id() as i32;
    let id = WaitId::Pid(Pid::from_child(&child));
    waitid(id, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    let zombie = process(pid);
    assert_eq!(zombie.state, State::Zombie);
    assert!(!zombie.is_alive());
    assert_eq!((zombie.exe, zombie.cwd), (Reading::Absent, Reading::Absent));
    assert_eq!((zombie.rss_anon, zombie.mark), (Reading::Absent, Reading::Absent));
    assert_eq!(zombie.namespaces.mnt, Reading::Absent);
    assert!(zombie.namespaces.pid.known().is_some());
    child.wait().unwrap();
    assert_eq!(podlab::observe::process(&options(), pid).unwrap(), None);
}

#[test]
fn a_kernel_thread_has_no_program() {
    needs!(Need::KernelThreads);
    let kthreadd = process(2);
    assert_eq!((kthreadd.comm.as_str(), kthreadd.exe), ("kthreadd", Reading::Absent));
    assert_eq!(kthreadd.rss_anon, Reading::Absent);
}

#[test]
fn through_an_opened_process_no_other_life_is_read() {
    let mut child = Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let proc = Proc::open(&options()).unwrap();
    let mut buffer = Buffer::new();
    let mut open =
        OpenProcess::open(&proc, child.id() as i32, &mut buffer).unwrap().expect("a process");
    assert_eq!(open.read().unwrap().expect("alive").comm, "cat");
    kill(child.id() as i32);
    child.wait().unwrap();
    assert_eq!(open.read().unwrap(), None);
}

#[test]
fn what_an_ordinary_user_may_not_read_is_denied_and_the_rest_is_known() {
    needs!(Need::Root, Need::Program("python3"));
    let started = Started::ready(python(PLAIN).env("PODLAB", "root's"));
    let (seen, known) = (snapshot_by_ordinary(), process(started.pid()));
    let denied = seen.process(started.pid()).expect("everybody sees that it is there");
    assert_eq!(denied.id, known.id);
    assert_eq!((&denied.comm, denied.uids), (&known.comm, known.uids));
    assert_eq!((&denied.cgroups, &denied.uid_map), (&known.cgroups, &known.uid_map));
    assert!(denied.namespaces.mnt.is_denied() && known.namespaces.mnt.known().is_some());
    assert!(denied.exe.is_denied() && known.exe.known().is_some());
    assert!(denied.cwd.is_denied() && known.cwd.known().is_some());
    assert!(denied.mark.is_denied() && known.mark.known().is_some());
    let own = seen.observer().expect("the observer");
    assert_eq!(own.user(), user::ordinary());
    assert!(own.namespaces.mnt.known().is_some() && own.exe.known().is_some());
}

#[test]
fn hidden_processes_are_an_error_with_a_hint() {
    needs!(Need::Root, Need::Program("setpriv"), Need::Program("unshare"));
    let folder = user::folder();
    let copy = user::copy_of(example(), folder.path());
    let script = format!(
        "mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid {id} --regid {id} \
         --clear-groups \"$0\"",
        id = user::ordinary()
    );
    let output =
        Command::new("unshare").args(["-m", "sh", "-c", &script]).arg(copy).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("/proc: the processes of other users are hidden (hidepid)"), "{said}");
    assert!(said.contains("\nhint: run as root"), "{said}");
}

#[test]
fn processes_that_come_and_go_meanwhile_are_no_error() {
    needs!(Need::Program("python3"));
    // One of a kind at each moment: being made, running, a zombie, gone.
    let churn = "
import os, select, sys
print('ready')
count = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    child = os.fork()
    if child == 0: os._exit(0)
    os.waitpid(child, 0)
    count += 1
print(count)
";
    let mut started = Started::ready(&mut python(churn));
    let mut seen = 0;
    for _ in 0..20 {
        for child in everything().children(started.pid()) {
            seen += 1;
            assert!(child.oom_score_adj.known().is_some(), "{child:?}");
            if child.state == State::Zombie {
                assert_eq!(child.namespaces.mnt, Reading::Absent, "{child:?}");
                assert_eq!(child.exe, Reading::Absent, "{child:?}");
            }
        }
    }
    drop(started.stdin());
    let count: u32 = started.line().parse().unwrap();
    assert!(count > 200, "{count} came and went, {seen} of them seen");
}

#[test]
fn a_snapshot_is_the_same_after_a_round_trip_through_json() {
    let snapshot = everything();
    let text = serde_json::to_string(&snapshot).unwrap();
    assert_eq!(serde_json::from_str::<podlab::facts::Snapshot>(&text).unwrap(), snapshot);
    let own = serde_json::to_string(snapshot.observer().unwrap()).unwrap();
    assert!(own.len() < 6_000, "{} bytes for one process", own.len());
}

#[test]
fn the_machine_and_the_moment_are_those_that_others_tell() {
    needs!(Need::Program("python3"));
    let others = "import os, time; u = os.uname(); print(u.nodename); print(u.release); \
                  print(int(time.clock_gettime(time.CLOCK_BOOTTIME)))";
    let others = Started::new(&mut python(others));
    let machine = podlab::observe::machine(&options()).unwrap();
    assert_eq!((machine.hostname, machine.kernel), (others.line(), others.line()));
    assert_eq!(machine.boot_id.len(), 36);
    let seconds: u64 = others.line().parse().unwrap();
    let ticks = seconds * machine.ticks_per_second;
    assert!(machine.ticks_since_boot.abs_diff(ticks) < 60 * machine.ticks_per_second);
}
