//! The tour, from its beginning to its end.

use std::process::Stdio;

use crate::check::Podlab;
use crate::needs;
use crate::screen::Screen;
use crate::support::footprint::Mark;
use crate::support::need::Need;

/// Without a terminal, and with nobody to press a key.
fn tour(podlab: &Podlab, mark: &Mark) -> String {
    let mut command = podlab.command(&["tour"]);
    mark.put_on(&mut command);
    let output = command.stdin(Stdio::null()).output().expect("podlab");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_tour_runs_a_lab_then_does_an_exercise_wrong_then_right_and_leaves_nothing() {
    needs!(Need::Root);
    let (podlab, mark) = (Podlab::new(), Mark::new("tour"));
    let text = tour(&podlab, &mark);
    let place =
        |words: &str| text.find(words).unwrap_or_else(|| panic!("no '{words}' in:\n{text}"));
    let lab = place("$ fake-init");
    let wrong = place("mistake: the outer /proc is still mounted inside");
    let right = place("8 of 8 points");
    assert!(lab < wrong && wrong < right, "{text}");
    assert_eq!(mark.processes(), [0; 0]);
    assert!(!podlab.folder().join("state").exists(), "the tour keeps no state");
}

#[test]
fn killed_in_the_middle_the_tour_leaves_no_process() {
    needs!(Need::Root);
    let (podlab, mark) = (Podlab::new(), Mark::new("tour"));
    let mut command = podlab.command(&["tour"]);
    mark.put_on(&mut command);
    let mut screen = Screen::new(command, 60, 120);
    screen.until_shows("goes on by itself");
    screen.press("\n");
    screen.until_shows("unshare --pid --fork --kill-child sh");
    let pid = nix::unistd::Pid::from_raw(screen.pid().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("kill");
    screen.ended();
    await_none(&mark);
}

/// Waits until no process carries the mark.
fn await_none(mark: &Mark) {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    for pid in mark.processes() {
        let Ok(pidfd) = pidfd_open(Pid::from_raw(pid).expect("a PID"), PidfdFlags::empty()) else {
            continue;
        };
        let patience = rustix::event::Timespec { tv_sec: 30, tv_nsec: 0 };
        let ended = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&patience));
        assert_eq!(ended, Ok(1), "process {pid} is left");
    }
    assert_eq!(mark.processes(), [0; 0]);
}

#[test]
fn an_ordinary_user_has_the_tour_in_a_user_namespace() {
    needs!(Need::Root, Need::Userns);
    let (podlab, mark) = (Podlab::ordinary(), Mark::new("tour"));
    crate::support::user::copy_of(&Podlab::new().lab("fake-init"), podlab.folder());
    let text = tour(&podlab, &mark);
    assert!(text.contains("unshare --user --map-root-user --pid"), "{text}");
    assert!(text.contains("8 of 8 points"), "{text}");
    assert_eq!(mark.processes(), [0; 0]);
}
