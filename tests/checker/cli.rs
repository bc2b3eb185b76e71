//! What the command does with its arguments, whatever the exercise.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Output, Stdio};

use predicates::prelude::*;

use crate::check::Podlab;
use crate::needs;
use crate::support::need::Need;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Refused with one line and, at most, one hint; nothing on standard output.
#[track_caller]
fn is_refused(output: &Output, line: &str) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(printed(output), "");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("podlab: ") && lines[0].contains(line), "{said}");
    assert!(lines[1..].iter().all(|line| line.starts_with("hint: ")), "{said}");
    assert!(lines.len() <= 2, "{said}");
}

#[test]
fn a_mistyped_exercise_is_named_and_the_nearest_suggested() {
    let output = Podlab::new().run(&["check", "fake_init", "--format", "json"]);
    is_refused(&output, "no exercise named 'fake_init'");
    assert!(said(&output).contains("did you mean fake-init?"));
}

#[test]
fn a_mistyped_lab_is_named() {
    is_refused(&Podlab::new().run(&["run", "no-such-lab"]), "no lab named 'no-such-lab'");
}

#[test]
fn an_unknown_command_is_named() {
    is_refused(&Podlab::new().run(&["chekc"]), "unrecognized subcommand 'chekc'");
}

#[test]
fn a_pid_that_no_process_has_is_named() {
    // Above the greatest PID that Linux gives out (PID_MAX_LIMIT).
    let output = Podlab::new().run(&["check", "fake-init", "--pid", "4194305"]);
    is_refused(&output, "no process has PID 4194305");
    is_refused(&Podlab::new().run(&["check", "fake-init", "--pid", "0"]), "invalid value '0'");
}

#[test]
fn evidence_of_two_exercises_does_not_fit_in_one_file() {
    let podlab = Podlab::new();
    let file = podlab.folder().join("evidence");
    let output = podlab.run(&["check", "--all", "--evidence", file.to_str().unwrap()]);
    is_refused(&output, "--evidence takes one exercise at a time");
    assert!(!file.exists());
}

#[test]
fn evidence_replaces_a_planted_link_and_does_not_follow_it() {
    let podlab = Podlab::new();
    let (victim, link) = (podlab.folder().join("victim"), podlab.folder().join("link"));
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, &link).unwrap();
    podlab.run(&["check", "fake-init", "--evidence", link.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert!(link.symlink_metadata().unwrap().is_file());
}

#[test]
fn evidence_does_not_take_the_place_of_a_device_or_a_folder() {
    let podlab = Podlab::new();
    for path in [podlab.folder().to_str().unwrap(), "/dev/full"] {
        let output = podlab.run(&["check", "fake-init", "--evidence", path]);
        is_refused(&output, &format!("{path}: not a regular file"));
    }
    assert!(!fs::metadata("/dev/full").unwrap().is_file());
}

#[test]
fn a_file_that_is_no_evidence_is_refused() {
    let podlab = Podlab::new();
    let file = podlab.folder().join("file");
    let path = file.to_str().unwrap();
    let judge = |content: &str| {
        fs::write(&file, content).unwrap();
        podlab.run(&["judge", path, "--format", "json"])
    };
    is_refused(&judge(""), "not evidence that podlab wrote");
    is_refused(&judge("{}"), "not evidence that podlab wrote");
    is_refused(&judge("[1,2"), "not evidence that podlab wrote");
    is_refused(&judge(&"[".repeat(100_000)), "not evidence that podlab wrote");
    let long = judge(&format!("\"{}\"", "é".repeat(100_000)));
    is_refused(&long, "not evidence that podlab wrote");
    assert!(said(&long).len() < 1000, "{} bytes", said(&long).len());
    is_refused(&podlab.run(&["judge", "/no/such/file"]), "/no/such/file: no such file");
    is_refused(&podlab.run(&["judge", "/"]), "/: not a regular file");
}

#[test]
fn a_fifo_in_the_place_of_evidence_does_not_hang() {
    let podlab = Podlab::new();
    let fifo = podlab.folder().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    is_refused(&podlab.run(&["judge", fifo.to_str().unwrap()]), "not a regular file");
}

#[test]
fn evidence_cut_short_or_changed_is_refused_or_judged_but_never_crashes() {
    let podlab = Podlab::new();
    let file = podlab.folder().join("evidence");
    let path = file.to_str().unwrap();
    podlab.run(&["check", "fake-init", "--evidence", path]);
    let whole = fs::read_to_string(&file).unwrap();
    for part in [1, 2, 3] {
        fs::write(&file, &whole[..whole.len() * part / 4]).unwrap();
        is_refused(&podlab.run(&["judge", path]), "not evidence that podlab wrote");
    }
    let hostile = [
        ("\"exercise\":\"fake-init\"", "\"exercise\":\"../../etc/passwd\"", "no exercise named"),
        ("podlab/evidence/v1", "podlab/evidence/v9", "schema 'podlab/evidence/v9'"),
        ("\"pid\":null", "\"pid\":null,\"extra\":1", "unknown field"),
        ("\"start\":", "\"start\":-", "not evidence"),
    ];
    for (from, to, line) in hostile {
        fs::write(&file, whole.replacen(from, to, 1)).unwrap();
        is_refused(&podlab.run(&["judge", path]), line);
    }
    // Every process its own parent: a tree without a root.
    let mut evidence: serde_json::Value = serde_json::from_str(&whole).unwrap();
    for process in evidence["snapshot"]["processes"].as_array_mut().unwrap() {
        process["parent"] = process["id"]["pid"].clone();
        process["comm"] = "\u{1b}[2Jgone".into();
        process["ns_pid"] = serde_json::json!([1, 1, 1]);
    }
    fs::write(&file, evidence.to_string()).unwrap();
    let output = podlab.run(&["judge", path]);
    assert!(matches!(output.status.code(), Some(0..=2)), "{}", said(&output));
    assert!(!printed(&output).contains('\u{1b}'), "a name reached the terminal as it was");
}

#[test]
fn a_state_file_that_is_not_understood_is_left_alone() {
    let podlab = Podlab::new();
    let state = podlab.folder().join("state");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, PermissionsExt::from_mode(0o777)).unwrap();
    fs::write(state.join("state.json"), "{broken").unwrap();
    is_refused(&podlab.run(&["list"]), "state.json");
    is_refused(&podlab.run(&["check", "fake-init"]), "state.json");
    assert_eq!(fs::read_to_string(state.join("state.json")).unwrap(), "{broken");
}

#[test]
fn a_home_that_cannot_be_written_is_named() {
    let mut command = Podlab::new().command(&["start", "fake-init"]);
    let output = command.env("PODLAB_HOME", "/proc/no/such").output().unwrap();
    is_refused(&output, "/proc/no/such");
}

#[test]
fn under_sudo_state_belongs_to_the_calling_user_who_cannot_lead_root_astray() {
    needs!(Need::Root);
    use std::os::unix::fs::MetadataExt;
    let podlab = Podlab::ordinary();
    let sudo = |args: &[&str]| {
        let mut command = Podlab::new().command(args);
        command.env("PODLAB_HOME", podlab.folder().join("state"));
        command.env("SUDO_UID", crate::support::user::ordinary().to_string());
        command.output().unwrap()
    };
    let output = sudo(&["hint", "fake-init"]);
    assert!(output.status.success(), "{}", said(&output));
    let state = podlab.folder().join("state/state.json");
    assert_eq!(state.metadata().unwrap().uid(), crate::support::user::ordinary());
    // The user puts a link to a file of root's in its place.
    fs::remove_file(&state).unwrap();
    symlink("/etc/shadow", &state).unwrap();
    is_refused(&sudo(&["list"]), "state.json");
}

#[test]
fn under_sudo_nothing_is_read_written_or_owned_with_the_rights_of_root() {
    needs!(Need::Root);
    use std::os::unix::fs::MetadataExt;
    let (podlab, roots) = (Podlab::ordinary(), tempfile::tempdir().unwrap());
    let user = crate::support::user::ordinary();
    let sudo = |args: &[&str]| {
        let mut command = Podlab::new().command(args);
        command.env("PODLAB_HOME", podlab.folder().join("state"));
        // No local file knows this user, as with users from a directory service.
        command.env("SUDO_UID", user.to_string()).env("SUDO_GID", user.to_string());
        command.output().unwrap()
    };
    assert!(sudo(&["hint", "fake-init"]).status.success());
    let state = podlab.folder().join("state/state.json").metadata().unwrap();
    assert_eq!((state.uid(), state.gid()), (user, user));
    fs::set_permissions(roots.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let secret = roots.path().join("secret.json");
    fs::write(&secret, "\"secret\"").unwrap();
    is_refused(&sudo(&["judge", secret.to_str().unwrap()]), "permission denied");
    let planted = podlab.folder().join("planted");
    symlink(roots.path(), &planted).unwrap();
    let book = planted.join("book");
    is_refused(&sudo(&["book", "--build", book.to_str().unwrap()]), "permission denied");
    assert!(!book.exists());
}

#[test]
fn hints_come_one_by_one_and_stay_at_the_last() {
    let podlab = Podlab::new();
    let hint = || printed(&podlab.run(&["hint", "fake-init"]));
    let (first, second) = (hint(), hint());
    assert!(first.starts_with("fake-init: 1 of "), "{first}");
    assert!(second.starts_with("fake-init: 2 of "), "{second}");
    for _ in 0..10 {
        hint();
    }
    let last = hint();
    assert_eq!(last, hint());
    let count = podlab::exercises::by_id("fake-init").unwrap().hints.len();
    assert!(last.starts_with(&format!("fake-init: {count} of {count}")), "{last}");
}

#[test]
fn the_list_names_every_lab_and_exercise_also_as_json() {
    let podlab = Podlab::new();
    let text = printed(&podlab.run(&["list"]));
    let json: serde_json::Value =
        serde_json::from_slice(&podlab.run(&["list", "--json"]).stdout).unwrap();
    assert_eq!(json["schema"], "podlab/list/v1");
    for exercise in podlab::exercises::ALL {
        assert!(text.contains(exercise.id), "{text}");
        assert!(json.to_string().contains(exercise.id));
    }
    for lab in podlab::course::labs() {
        assert!(text.contains(lab.name), "{text}");
    }
    assert!(text.contains(&format!("0 of {} exercises done", podlab::exercises::ALL.len())));
}

#[test]
fn without_a_terminal_podlab_alone_prints_the_list() {
    let podlab = Podlab::new();
    let mut command = podlab.command(&[]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(printed(&output), printed(&podlab.run(&["list"])));
}

#[test]
fn watch_without_a_terminal_says_so() {
    let mut command = Podlab::new().command(&["watch", "fake-init"]);
    is_refused(&command.stdin(Stdio::null()).output().unwrap(), "not a terminal");
}

#[test]
fn the_course_has_no_fault_of_its_own() {
    let output = Podlab::new().run(&["author", "check"]);
    assert!(output.status.success(), "{}", printed(&output));
}

#[test]
fn every_exercise_shows_its_task_with_this_learners_parameters() {
    let show = |learner: &str, exercise: &str| {
        printed(&Podlab::new().run(&["show", exercise, "--learner", learner]))
    };
    for exercise in podlab::exercises::ALL {
        let (ada, bob) = (show("ada", exercise.id), show("bob", exercise.id));
        assert!(ada.contains(exercise.title), "{ada}");
        assert_eq!(ada, show("ada", exercise.id));
        // The room of *locked-room* is made at random when it is started.
        if exercise.target.is_none() {
            assert_ne!(ada, bob, "{}: a neighbour has the same parameters", exercise.id);
        }
    }
}

#[test]
fn completions_and_the_manual_know_the_exercises() {
    let podlab = Podlab::new();
    let bash = printed(&podlab.run(&["completions", "bash"]));
    assert!(
        predicate::str::contains("fake-init")
            .and(predicate::str::contains("memory-limit"))
            .eval(&bash)
    );
    let man = podlab.run(&["man"]);
    assert!(printed(&man).contains(".TH podlab 1"));
}

#[test]
fn a_lab_is_run_with_its_arguments_and_its_exit_status() {
    needs!(Need::Root);
    let podlab = Podlab::new();
    let help = podlab.run(&["run", "fake-init", "--help"]);
    assert!(help.status.success(), "{}", said(&help));
    assert!(printed(&help).contains("Usage: fake-init"), "{}", printed(&help));
    let odd = podlab.run(&["run", "fake-init", "--no-such-flag"]);
    assert_eq!(odd.status.code(), Some(2));
    // The dashes are the lab's, not podlab's.
    let inside = podlab.run(&["run", "fake-init", "--", "sh", "-c", "echo $PPID; exit 7"]);
    assert_eq!((printed(&inside).as_str(), inside.status.code()), ("1\n", Some(7)));
}

#[test]
fn without_a_proc_the_machine_cannot_be_read() {
    needs!(Need::Root);
    let podlab = Podlab::new();
    let podlab_command = podlab.command(&["check", "fake-init", "--format", "json"]);
    // An empty file system over /proc, in a mount namespace of its own.
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount -t tmpfs none /proc && exec \"$@\"", "sh"]);
    command.arg(podlab_command.get_program()).args(podlab_command.get_args());
    command.env("PODLAB_HOME", podlab.folder().join("state"));
    is_refused(&command.output().unwrap(), "/proc");
}

#[test]
fn colour_is_used_only_when_asked_for_or_on_a_terminal() {
    let podlab = Podlab::new();
    let colored = |args: &[&str]| printed(&podlab.run(args)).contains('\u{1b}');
    assert!(!colored(&["list"]));
    assert!(!colored(&["list", "--color", "never"]));
    assert!(colored(&["list", "--color", "always"]));
}

#[test]
fn the_doctor_names_the_cgroup_mode_and_what_is_missing() {
    let podlab = Podlab::new();
    let text = printed(&podlab.run(&["doctor"]));
    let mode = podlab::observe::cgroups(&podlab::observe::Options::default()).unwrap().mode;
    for word in
        ["kernel", "cgroups", &mode.to_string(), "user namespaces", "capabilities", "engines"]
    {
        assert!(text.contains(word), "no {word}: {text}");
    }
}

#[test]
fn the_doctor_tells_an_ordinary_user_what_it_costs_and_how_to_get_it() {
    needs!(Need::Root);
    let text = printed(&Podlab::ordinary().run(&["doctor"]));
    for word in ["CAP_SYS_ADMIN", "without it:", "to get it:", "is not yours to divide"] {
        assert!(text.contains(word), "no {word}: {text}");
    }
}

#[test]
fn the_doctor_tells_which_switch_forbids_user_namespaces() {
    needs!(Need::Root, Need::Userns);
    // In a user namespace of its own a limit may be lowered without the machine noticing.
    let podlab = Podlab::ordinary();
    let inner = podlab.command(&["doctor"]);
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c"]);
    command.arg("echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"").arg("sh");
    command.arg(inner.get_program()).arg("doctor");
    command.env("PODLAB_HOME", podlab.folder().join("state"));
    let output = crate::support::user::as_ordinary(&mut command).output().unwrap();
    let text = printed(&output);
    assert!(text.contains("user.max_user_namespaces is 0"), "{text}{}", said(&output));
    assert!(text.contains("sudo sysctl user.max_user_namespaces=15000"), "{text}");
}
