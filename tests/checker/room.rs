//! The room of *locked-room*: how it is made, kept and cleared away.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use podlab::facts::{ProcessId, Room};

use crate::check::Podlab;
use crate::means::{self, Started};
use crate::needs;
use crate::support::footprint::{Mark, mounts_with};
use crate::support::need::Need;
use crate::support::running::until;
use crate::support::user;

const EXERCISE: &str = "locked-room";

/// A learner for whom a room was made. It is reset at the end, also when the test panics.
pub(crate) struct Begun {
    pub(crate) podlab: Podlab,
    pub(crate) room: Room,
    is_ordinary: bool,
}

impl Begun {
    /// By the user who runs the tests.
    pub(crate) fn new() -> Begun {
        Begun::of(Podlab::new(), false)
    }

    /// By a user without privileges.
    pub(crate) fn ordinary() -> Begun {
        Begun::of(Podlab::ordinary().judged_from_outside(), true)
    }

    fn of(podlab: Podlab, is_ordinary: bool) -> Begun {
        podlab.start(EXERCISE);
        let room = recorded(&podlab).expect("a room is recorded");
        Begun { podlab, room, is_ordinary }
    }

    /// `podlab start` once more. The room that was there is returned.
    pub(crate) fn again(&mut self) -> Room {
        self.podlab.start(EXERCISE);
        std::mem::replace(&mut self.room, recorded(&self.podlab).expect("a room is recorded"))
    }

    /// `nsenter --target KEEPER OPTIONS… COMMAND…`, by the learner.
    pub(crate) fn nsenter(&self, options: &[&str], command: &[&str]) -> Command {
        let mut nsenter = Command::new("nsenter");
        nsenter.arg("--target").arg(self.room.keeper.pid.to_string()).args(options);
        if self.is_ordinary {
            nsenter.args(["--user", "--preserve-credentials"]);
            user::as_ordinary(&mut nsenter);
        }
        nsenter.args(command);
        nsenter
    }

    /// What the file, the port and the host name are to a process that `enter` starts.
    pub(crate) fn words(&self, options: &[&str]) -> Words {
        let (note, port) = (self.room.note.as_str(), self.room.port.to_string());
        let ask = ["bash", "-c", ASK, "ask", note, &port];
        let mut command =
            if options.is_empty() { bash(&ask[1..]) } else { self.nsenter(options, &ask) };
        Words::from(command.stderr(Stdio::null()).output().expect("a command").stdout)
    }

    /// Writes the answer.
    pub(crate) fn answer(&self, text: &str) {
        fs::write(&self.room.answer, text).expect("write the answer");
    }

    /// The folder of the exercise.
    pub(crate) fn folder(&self) -> PathBuf {
        self.podlab.folder().join("state").join(EXERCISE)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let _ = self.podlab.run(&["reset", EXERCISE]);
    }
}

/// Prints three lines: the file, the answer of the port, the host name. A line is empty where there
/// was nothing to be had.
const ASK: &str = "cat \"$1\" || echo; cat <\"/dev/tcp/127.0.0.1/$2\" || echo; hostname";

/// What was had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words {
    pub(crate) file: String,
    pub(crate) network: String,
    pub(crate) host: String,
}

impl Words {
    pub(crate) fn all(&self) -> String {
        format!("{}\n{}\n{}\n", self.file, self.network, self.host)
    }
}

impl From<Vec<u8>> for Words {
    fn from(output: Vec<u8>) -> Words {
        let text = String::from_utf8(output).expect("text");
        let lines: Vec<&str> = text.lines().collect();
        let [file, network, host] = lines[..] else { panic!("three lines: {text:?}") };
        Words { file: file.into(), network: network.into(), host: host.into() }
    }
}

/// All kinds that hold a word.
pub(crate) const ALL_KINDS: [&str; 3] = ["--mount", "--net", "--uts"];

fn bash(args: &[&str]) -> Command {
    let mut bash = Command::new("bash");
    bash.args(args);
    bash
}

fn state(podlab: &Podlab) -> PathBuf {
    podlab.folder().join("state/state.json")
}

/// The room that podlab has recorded.
fn recorded(podlab: &Podlab) -> Option<Room> {
    let state: serde_json::Value =
        serde_json::from_slice(&fs::read(state(podlab)).ok()?).expect("JSON");
    serde_json::from_value(state["exercises"][EXERCISE]["start"]["room"].clone()).ok()
}

/// Whether this life is there and has not ended.
fn is_alive(id: ProcessId) -> bool {
    means::state(id.pid).is_some_and(|state| state != 'Z')
}

fn reset(podlab: &Podlab) {
    let output = podlab.run(&["reset", EXERCISE]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn inside_and_outside_give_different_answers() {
    needs!(Need::Root, Need::Program("nsenter"));
    let begun = Begun::new();
    let (inside, outside) = (begun.words(&ALL_KINDS), begun.words(&[]));
    assert!(outside.file != inside.file && !outside.file.is_empty());
    assert!(outside.network.is_empty() && !inside.network.is_empty());
    assert!(outside.host != inside.host);
    TcpStream::connect(("127.0.0.1", begun.room.port)).expect_err("refused outside");
}

#[test]
fn one_kind_gives_one_word_and_no_other() {
    needs!(Need::Root, Need::Program("nsenter"));
    let begun = Begun::new();
    let (inside, outside) = (begun.words(&ALL_KINDS), begun.words(&[]));
    let mount = begun.words(&["--mount"]);
    assert_eq!(mount, Words { file: inside.file.clone(), ..outside.clone() });
    let net = begun.words(&["--net"]);
    assert_eq!(net, Words { network: inside.network.clone(), ..outside.clone() });
    let uts = begun.words(&["--uts"]);
    assert_eq!(uts, Words { host: inside.host, ..outside });
}

#[test]
fn an_ordinary_user_has_a_room_too() {
    needs!(Need::Userns, Need::Program("nsenter"));
    let begun = Begun::ordinary();
    let (inside, outside) = (begun.words(&ALL_KINDS), begun.words(&[]));
    assert!(!inside.network.is_empty() && inside.file != outside.file);
    assert_ne!(inside.host, outside.host);
    reset(&begun.podlab);
    assert!(!is_alive(begun.room.keeper));
}

#[test]
fn the_words_are_in_no_file_that_podlab_keeps() {
    needs!(Need::Root, Need::Program("nsenter"));
    let begun = Begun::new();
    let words = begun.words(&ALL_KINDS);
    let kept = fs::read_to_string(state(&begun.podlab)).expect("the state");
    for word in [words.file, words.network, words.host] {
        assert!(!kept.contains(&word), "{word}");
    }
}

#[test]
fn the_keeper_holds_nothing_of_whoever_started_it() {
    needs!(Need::Root);
    let podlab = Podlab::new();
    let held = File::open("/proc/self/status").expect("a file");
    let number = held.as_raw_fd();
    let mut start = podlab.command(&["start", EXERCISE]);
    // A descriptor that is inherited, as from a shell's exec 9<FILE.
    let start = means::inheriting(&mut start, number).output().expect("podlab");
    assert!(start.status.success());
    let begun = Begun { room: recorded(&podlab).expect("a room"), podlab, is_ordinary: false };
    let pid = begun.room.keeper.pid;
    // It lets go when it hears that it may stay, which podlab does not wait for.
    until("it holds its own only", || {
        let mut open = descriptors(pid);
        open.sort();
        (open == ["/dev/null", "/dev/null", "/dev/null", "anon_inode", "socket"]).then_some(())
    });
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).expect("cwd"), Path::new("/"));
    assert!(means::children(std::process::id() as i32).iter().all(|child| *child != pid));
}

/// What its descriptors are: paths, or kinds of what has none.
fn descriptors(pid: i32) -> Vec<String> {
    let folder = fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors");
    let links = folder.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    links
        .map(|link| link.display().to_string())
        .map(|link| link.split(':').next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn the_keeper_ends_on_sigterm_and_takes_its_guests_along() {
    needs!(Need::Root, Need::Program("nsenter"));
    let begun = Begun::new();
    let guest = Started::ready(&mut begun.nsenter(&["--pid"], &["sh", "-c", "echo ready; cat"]));
    let inside = guest.family().into_iter().filter(|pid| means::ns_pid(*pid).len() > 1);
    let inside: Vec<i32> = inside.collect();
    assert!(!inside.is_empty());
    let keeper = begun.room.keeper.pid.to_string();
    let sent = Command::new("/bin/kill").args(["-TERM", &keeper]).status().expect("kill");
    assert!(sent.success());
    until("the keeper and its guests end", || {
        let alive = |pid: &i32| means::state(*pid).is_some_and(|state| state != 'Z');
        (!is_alive(begun.room.keeper) && !inside.iter().any(alive)).then_some(())
    });
}

#[test]
fn an_orphan_in_the_room_does_not_stay_a_zombie() {
    needs!(Need::Root, Need::Program("nsenter"));
    let begun = Begun::new();
    let script = "sh -c 'sleep 0 & exec 1>&-' & wait; echo ready; cat";
    let _guest = Started::ready(&mut begun.nsenter(&["--pid"], &["sh", "-c", script]));
    until("the keeper has waited for all that it adopted", || {
        means::children(begun.room.keeper.pid).is_empty().then_some(())
    });
}

#[test]
fn clients_that_do_not_hang_up_keep_no_one_from_the_word() {
    needs!(Need::Root, Need::Program("nsenter"), Need::Program("python3"));
    let begun = Begun::new();
    let script = "import socket, sys\n\
                  ask = lambda: socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n\
                  idle = [ask() for _ in range(100)]\n\
                  last = ask()\n\
                  last.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n' * 100)\n\
                  print(last.makefile().readline().strip())\n";
    let port = begun.room.port.to_string();
    let mut ask = begun.nsenter(&["--net"], &["python3", "-c", script, &port]);
    let output = ask.output().expect("python");
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(said.trim(), begun.words(&ALL_KINDS).network);
}

#[test]
fn a_second_start_replaces_the_room() {
    needs!(Need::Root, Need::Program("nsenter"));
    let mut begun = Begun::new();
    let before = begun.words(&ALL_KINDS);
    begun.answer(&before.all());
    let earlier = begun.again();
    assert!(!is_alive(earlier.keeper) && is_alive(begun.room.keeper));
    let now = begun.words(&ALL_KINDS);
    assert!(now.file != before.file && now.network != before.network && now.host != before.host);
    assert_eq!(fs::read_to_string(&begun.room.answer).expect("the answer stays"), before.all());
}

#[test]
fn a_reset_removes_what_was_made_and_can_be_repeated() {
    needs!(Need::Root);
    let begun = Begun::new();
    begun.answer("mine");
    assert!(mounts_with(begun.folder().to_str().expect("UTF-8")).is_empty(), "a mount outside");
    reset(&begun.podlab);
    assert!(!is_alive(begun.room.keeper));
    assert!(!begun.folder().exists());
    reset(&begun.podlab);
    assert_eq!(recorded(&begun.podlab), None);
}

#[test]
fn a_reset_leaves_what_the_learner_put_there() {
    needs!(Need::Root);
    let begun = Begun::new();
    let own = begun.folder().join("notes.txt");
    fs::write(&own, "mine").expect("write");
    reset(&begun.podlab);
    assert_eq!(fs::read_to_string(&own).expect("still there"), "mine");
    assert!(!begun.folder().join("desk").exists());
}

#[test]
fn a_planted_link_leads_a_reset_nowhere() {
    needs!(Need::Root);
    let begun = Begun::new();
    let elsewhere = begun.podlab.folder().join("elsewhere");
    fs::create_dir(&elsewhere).expect("a folder");
    fs::write(elsewhere.join("note"), "mine").expect("write");
    let (desk, answer) = (begun.folder().join("desk"), begun.folder().join("answer"));
    fs::remove_file(desk.join("note")).expect("remove the note");
    fs::remove_dir(&desk).expect("remove the desk");
    symlink(&elsewhere, &desk).expect("a link");
    symlink(elsewhere.join("note"), &answer).expect("a link");
    reset(&begun.podlab);
    assert_eq!(fs::read_to_string(elsewhere.join("note")).expect("still there"), "mine");
    assert!(!is_alive(begun.room.keeper));
}

#[test]
fn a_start_does_not_write_through_a_planted_link() {
    needs!(Need::Root);
    let podlab = Podlab::new();
    let (elsewhere, folder) =
        (podlab.folder().join("elsewhere"), podlab.folder().join("state").join(EXERCISE));
    fs::create_dir_all(&elsewhere).expect("a folder");
    fs::create_dir_all(&folder).expect("a folder");
    symlink(&elsewhere, folder.join("desk")).expect("a link");
    let mark = Mark::new("planted");
    let output = mark.put_on(&mut podlab.command(&["start", EXERCISE])).output().expect("podlab");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("desk/note: ") && said.contains("hint: "), "{said}");
    assert_eq!(fs::read_dir(&elsewhere).expect("the folder").count(), 0);
    assert_eq!(mark.processes(), [0; 0]);
}

#[test]
fn another_process_with_the_keepers_pid_is_left_alone() {
    needs!(Need::Root);
    let begun = Begun::new();
    let bystander = Started::ready(&mut means::sh("echo ready; cat"));
    let forged = ProcessId { pid: bystander.pid(), start: start_time(bystander.pid()) };
    means::kill(begun.room.keeper.pid);
    let text = fs::read_to_string(state(&begun.podlab)).expect("the state");
    let mut state_now: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    state_now["exercises"][EXERCISE]["start"]["room"]["keeper"] =
        serde_json::to_value(forged).expect("JSON");
    fs::write(state(&begun.podlab), state_now.to_string()).expect("write the state");
    reset(&begun.podlab);
    assert!(is_alive(forged));
}

fn start_time(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("stat");
    let fields = stat.rsplit_once(") ").expect("a name").1;
    fields.split(' ').nth(19).expect("field 22").parse().expect("a number")
}

/// Kills `podlab start` when `moment` says so, then resets; nothing may be left.
fn killed_when(moment: impl Fn(&Podlab, &Mark) -> bool) {
    let podlab = Podlab::new();
    let mark = Mark::new("killed-start");
    let mut start = podlab.command(&["start", EXERCISE]);
    let mut child = mark.put_on(&mut start).stdout(Stdio::piped()).spawn().expect("podlab");
    until("the moment, or the end", || {
        (moment(&podlab, &mark) || child.try_wait().expect("wait").is_some()).then_some(())
    });
    child.kill().expect("kill");
    child.wait().expect("wait");
    // A keeper that was not recorded ends by itself, one that was by the reset.
    reset(&podlab);
    until("nothing of it runs", || mark.processes().is_empty().then_some(()));
    assert!(!podlab.folder().join("state").join(EXERCISE).exists());
}

#[test]
fn a_start_that_is_killed_leaves_nothing_that_reset_misses() {
    needs!(Need::Root);
    let folder = |podlab: &Podlab| podlab.folder().join("state").join(EXERCISE);
    killed_when(|_, _| true);
    killed_when(|podlab, _| folder(podlab).exists());
    killed_when(|podlab, _| folder(podlab).join("desk").exists());
    killed_when(|podlab, _| folder(podlab).join("desk/note").exists());
    killed_when(|_, mark| mark.processes().len() > 1);
    killed_when(|_, mark| mark.processes().iter().any(|pid| means::ns_pid(*pid).len() > 1));
    killed_when(|podlab, _| recorded(podlab).is_some());
    killed_when(|_, _| false);
}

#[test]
fn what_is_printed_names_the_target() {
    needs!(Need::Root);
    let begun = Begun::new();
    let shown = String::from_utf8(begun.podlab.run(&["show", EXERCISE]).stdout).expect("text");
    let Room { keeper, note, port, answer, .. } = &begun.room;
    for part in [&keeper.pid.to_string(), note, &port.to_string(), answer] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let mut first = String::new();
    let comm = File::open(format!("/proc/{}/comm", keeper.pid)).expect("comm");
    BufReader::new(comm).read_line(&mut first).expect("a line");
    assert_eq!(first.trim(), EXERCISE);
    let mut status = String::new();
    File::open(format!("/proc/{}/status", keeper.pid))
        .and_then(|mut file| file.read_to_string(&mut status))
        .expect("status");
    assert_eq!(means::ns_pid(keeper.pid).last(), Some(&1));
}
