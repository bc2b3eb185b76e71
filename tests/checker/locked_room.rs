//! The exercise *locked-room*, done rightly and wrongly on the real kernel.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::check::Podlab;
use crate::means::{self, Started, compile_c, python};
use crate::needs;
use crate::room::{ALL_KINDS, Begun, Words};
use crate::support::need::{Need, met};
use crate::support::user::ordinary;

const EXERCISE: &str = "locked-room";
const CHECKS: [&str; 3] = ["file-word", "network-word", "host-word"];

fn words_of(command: &mut Command) -> Words {
    let output = command.stderr(Stdio::inherit()).output().expect("a command");
    assert!(output.status.success(), "{command:?}");
    Words::from(output.stdout)
}

fn check(begun: &Begun) -> crate::check::Checked {
    begun.podlab.check(EXERCISE, &[])
}

/// The three arguments that every program below takes: PID, file, port.
fn with_room<'c>(command: &'c mut Command, begun: &Begun) -> &'c mut Command {
    let room = &begun.room;
    command.arg(room.keeper.pid.to_string()).arg(&room.note).arg(room.port.to_string())
}

#[test]
fn nsenter_brings_the_words_out() {
    needs!(Need::Root, Need::Program("nsenter"));
    let begun = Begun::new();
    begun.answer(&begun.words(&ALL_KINDS).all());
    check(&begun).holds();
}

#[test]
fn an_ordinary_user_brings_the_words_out() {
    needs!(Need::Userns, Need::Program("nsenter"));
    let begun = Begun::ordinary();
    begun.answer(&begun.words(&ALL_KINDS).all());
    check(&begun).holds();
}

#[test]
fn the_lab_setns_join_brings_the_words_out() {
    needs!(Need::Root, Need::Program("nsenter"));
    if !met(&Podlab::lab_needs("setns-join")) {
        return;
    }
    let begun = Begun::new();
    let out = begun.podlab.folder().join("words");
    let script = format!(
        "{{ cat {}; cat </dev/tcp/127.0.0.1/{}; hostname; }} >{}",
        begun.room.note,
        begun.room.port,
        out.display()
    );
    let pid = begun.room.keeper.pid.to_string();
    let run = begun.podlab.run(&["run", "setns-join", &pid, "--", "bash", "-c", &script]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    begun.answer(&Words::from(fs::read(out).expect("the words")).all());
    check(&begun).holds();
}

const PYTHON: &str = "
import ctypes, os, socket, sys
pid, note, port = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
for file in [os.open(f'/proc/{pid}/ns/{kind}', os.O_RDONLY) for kind in ('net', 'uts', 'mnt')]:
    assert libc.setns(file, 0) == 0, os.strerror(ctypes.get_errno())
print(open(note).read().strip())
print(socket.create_connection(('127.0.0.1', int(port))).makefile().readline().strip())
print(os.uname().nodename)
";

#[test]
fn python_brings_the_words_out() {
    needs!(Need::Root, Need::Program("python3"));
    let begun = Begun::new();
    begun.answer(&words_of(with_room(&mut python(PYTHON), &begun)).all());
    check(&begun).holds();
}

const C: &str = r#"
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int target = syscall(SYS_pidfd_open, atoi(argv[1]), 0);
    if (target < 0 || setns(target, CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWUTS) != 0)
        err(1, "join");
    char word[3][64] = {0};
    FILE *note = fopen(argv[2], "r");
    if (!note || fscanf(note, "%63s", word[0]) != 1)
        err(1, "note");
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[3])),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int asked = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(asked, (struct sockaddr *)&at, sizeof at) != 0)
        err(1, "connect");
    FILE *answer = fdopen(asked, "r");
    if (fscanf(answer, "%63s", word[1]) != 1)
        err(1, "answer");
    gethostname(word[2], 63);
    printf("%s\n%s\n%s\n", word[0], word[1], word[2]);
}
"#;

#[test]
fn a_c_program_with_a_pidfd_brings_the_words_out() {
    needs!(Need::Root, Need::Program("gcc"));
    let begun = Begun::new();
    let program = compile_c(C, begun.podlab.folder(), "join");
    begun.answer(&words_of(with_room(&mut Command::new(program), &begun)).all());
    check(&begun).holds();
}

#[test]
fn the_file_may_be_read_through_the_root_of_the_target() {
    needs!(Need::Root, Need::Program("nsenter"));
    let begun = Begun::new();
    let through = format!("/proc/{}/root{}", begun.room.keeper.pid, begun.room.note);
    let file = fs::read_to_string(through).expect("the note").trim().to_owned();
    let others = begun.words(&["--net", "--uts"]);
    assert_ne!(others.file, file);
    begun.answer(&Words { file, ..others }.all());
    check(&begun).holds();
}

#[test]
fn the_words_may_stand_in_any_order_with_anything_between() {
    needs!(Need::Root, Need::Program("nsenter"));
    let begun = Begun::new();
    let Words { file, network, host } = begun.words(&ALL_KINDS);
    for text in [
        format!("{host}-{file}-{network}"),
        format!("\n  {network}\t{}  {host}\r\n", file.to_uppercase()),
        format!("file: {file}, network: {network}, host: {host}."),
    ] {
        begun.answer(&text);
        check(&begun).holds();
    }
}

#[test]
fn a_right_answer_holds_when_the_room_has_ended() {
    needs!(Need::Root, Need::Program("nsenter"));
    let begun = Begun::new();
    begun.answer(&begun.words(&ALL_KINDS).all());
    means::kill(begun.room.keeper.pid);
    check(&begun).holds();
}

#[test]
fn the_word_that_the_file_has_outside_is_recognised() {
    needs!(Need::Root, Need::Program("nsenter"));
    let begun = Begun::new();
    let (inside, outside) = (begun.words(&ALL_KINDS), begun.words(&[]));
    begun.answer(&Words { file: outside.file, ..inside }.all());
    check(&begun).fails_by("file-word", "read-outside");
}

#[test]
fn the_machines_host_name_is_recognised() {
    needs!(Need::Root, Need::Program("nsenter"));
    let begun = Begun::new();
    let (inside, outside) = (begun.words(&ALL_KINDS), begun.words(&[]));
    begun.answer(&Words { host: outside.host, ..inside }.all());
    check(&begun).fails_by("host-word", "asked-the-host");
}

#[test]
fn the_answer_of_an_earlier_room_is_recognised() {
    needs!(Need::Root, Need::Program("nsenter"));
    let mut begun = Begun::new();
    begun.answer(&begun.words(&ALL_KINDS).all());
    begun.again();
    let checked = check(&begun);
    assert_eq!(checked.failing(), CHECKS);
    assert_eq!(checked.mistakes().first(), Some(&"earlier-room"));
    begun.again();
    assert_eq!(check(&begun).mistakes().first(), Some(&"earlier-room"));
}

#[test]
fn each_kind_that_was_not_joined_is_named() {
    needs!(Need::Root, Need::Program("nsenter"));
    let begun = Begun::new();
    let Words { file, network, host } = begun.words(&ALL_KINDS);
    for (answer, check_id, mistake) in [
        (format!("{network} {host}"), "file-word", "joined-without-mount"),
        (format!("{file} {host}"), "network-word", "joined-without-net"),
        (format!("{file} {network}"), "host-word", "joined-without-uts"),
    ] {
        begun.answer(&answer);
        check(&begun).fails_by(check_id, mistake);
    }
}

#[test]
fn a_guest_in_some_of_the_namespaces_is_seen_before_it_answers() {
    needs!(Need::Root, Need::Program("nsenter"));
    let begun = Begun::new();
    let _guest = Started::ready(&mut begun.nsenter(&["--net"], &["sh", "-c", "echo ready; cat"]));
    let checked = check(&begun);
    assert_eq!(checked.failing(), CHECKS);
    let mistakes = checked.mistakes();
    assert!(mistakes.contains(&"joined-without-mount"), "{mistakes:?}");
    assert!(mistakes.contains(&"joined-without-uts"), "{mistakes:?}");
    assert!(!mistakes.contains(&"joined-without-net"), "{mistakes:?}");
}

#[test]
fn new_namespaces_are_told_from_those_of_the_room() {
    needs!(Need::Root, Need::Program("unshare"));
    let begun = Begun::new();
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--uts", "--mount", "sh", "-c", "echo ready; cat"]);
    let _made = Started::ready(&mut unshare);
    let checked = check(&begun);
    assert_eq!(checked.failing(), CHECKS);
    assert_eq!(checked.mistakes(), ["made-not-joined"]);
}

#[test]
fn without_an_answer_nothing_holds() {
    needs!(Need::Root);
    let begun = Begun::new();
    let checked = check(&begun);
    assert_eq!(checked.failing(), CHECKS);
    assert_eq!(checked.judgement.points, 0);
    begun.answer("heron-0000 heron-1 1234 heron 1234x");
    assert_eq!(check(&begun).failing(), CHECKS);
}

#[test]
fn before_the_start_it_cannot_be_told() {
    let podlab = Podlab::new();
    podlab.check(EXERCISE, &[]).cannot_tell(&CHECKS);
}

#[test]
fn when_the_room_has_ended_a_wrong_answer_costs_nothing() {
    needs!(Need::Root);
    let begun = Begun::new();
    means::kill(begun.room.keeper.pid);
    check(&begun).cannot_tell(&CHECKS);
    begun.answer("heron-2741 otter-1234 raven-9999");
    check(&begun).cannot_tell(&CHECKS);
}

#[test]
fn an_answer_that_may_not_be_read_cannot_be_judged() {
    needs!(Need::Root, Need::Program("nsenter"));
    let begun = Begun::new();
    begun.answer(&begun.words(&ALL_KINDS).all());
    std::os::unix::fs::chown(begun.folder(), Some(0), Some(0)).expect("chown");
    fs::set_permissions(begun.folder(), PermissionsExt::from_mode(0o700)).expect("chmod");
    // The same state, read by another user.
    let other = Podlab::ordinary();
    let (from, to) = (begun.podlab.folder().join("state"), other.folder().join("state"));
    fs::create_dir(&to).expect("a folder");
    fs::copy(from.join("state.json"), to.join("state.json")).expect("copy the state");
    for path in [to.clone(), to.join("state.json")] {
        std::os::unix::fs::chown(path, Some(ordinary()), Some(ordinary())).expect("chown");
    }
    other.check(EXERCISE, &[]).cannot_tell(&CHECKS);
}

#[test]
fn what_stands_in_the_place_of_an_answer_cannot_hang_or_mislead_the_checker() {
    needs!(Need::Root, Need::Program("nsenter"), Need::Program("mkfifo"));
    let begun = Begun::new();
    let answer = Path::new(&begun.room.answer);
    let right = begun.podlab.folder().join("right");
    fs::write(&right, begun.words(&ALL_KINDS).all()).expect("write");
    let cannot_tell = || {
        check(&begun).cannot_tell(&CHECKS);
        fs::remove_file(answer).or_else(|_| fs::remove_dir(answer)).expect("remove");
    };
    symlink(&right, answer).expect("a link");
    cannot_tell();
    assert!(Command::new("mkfifo").arg(answer).status().expect("mkfifo").success());
    cannot_tell();
    fs::create_dir(answer).expect("a folder");
    cannot_tell();
    begun.answer(&"heron-2741 ".repeat(1000));
    cannot_tell();
    fs::write(answer, b"\xff\xfe\0heron-2741\x1b[2J").expect("write");
    assert_eq!(check(&begun).failing(), CHECKS);
}
