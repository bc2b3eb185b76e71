//! The exercise *two-lives*: right by several means, and each way to get it wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use podlab::judge::CheckOutcome;

use crate::check::Podlab;
use crate::means::{self, Container, Started};
use crate::needs;
use crate::support::need::Need;
use crate::support::user;

const EXERCISE: &str = "two-lives";

/// What each life does, as a shell: says that it is there, and waits for a line on descriptor 3,
/// which stays open as long as the test.
const LIFE: &str = "echo ready; read _ <&3";

/// A learner and the two directories that they were given.
struct Learner {
    podlab: Podlab,
    names: [String; 2],
    a: PathBuf,
    b: PathBuf,
}

impl Learner {
    fn new() -> Learner {
        Learner::of(Podlab::new())
    }

    fn of(podlab: Podlab) -> Learner {
        let params = podlab.params(EXERCISE);
        let names = [params.name("a"), params.name("b")];
        let [a, b] = names.each_ref().map(|name| {
            let place = podlab.folder().join(name);
            fs::create_dir(&place).expect("a directory of that name");
            place
        });
        Learner { podlab, names, a, b }
    }

    fn check(&self) -> crate::check::Checked {
        self.podlab.check(EXERCISE, &[])
    }

    /// `command` with the two directories as its arguments.
    fn with_places<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.arg(&self.a).arg(&self.b)
    }

    /// A shell script with the directories as `$1` and `$2` and a life as `$life`.
    fn shell(&self, script: &str) -> Command {
        let script = format!("exec 3<&0; export life='{LIFE}'; {script}; wait");
        let mut command = means::sh(&script);
        command.arg("sh");
        self.with_places(&mut command);
        command
    }

    /// Runs a program in each of the two directories.
    fn both(&self, one: &Path, other: &Path) -> Started {
        let script = r#"(cd "$1" && exec "$3" -c "$life") & (cd "$2" && exec "$4" -c "$life") & :"#;
        two_ready(self.shell(script).arg(one).arg(other))
    }
}

/// Starts a command that starts two lives.
fn two_ready(command: &mut Command) -> Started {
    let started = Started::ready(command);
    assert_eq!(started.line(), "ready", "{command:?}");
    started
}

/// `/bin/sh`, under this name.
fn copy_of_sh(place: &Path, name: &str) -> PathBuf {
    let copy = place.join(name);
    user::copy_program(Path::new("/bin/sh"), &copy);
    copy
}

#[test]
fn two_lives_hold_by_background_jobs_of_a_shell() {
    let learner = Learner::new();
    let _lives = learner.both(Path::new("/bin/sh"), Path::new("/bin/sh"));
    learner.check().holds();
}

#[test]
fn two_lives_hold_by_fork_in_python() {
    let learner = Learner::new();
    let mut python = means::python(
        "import os, signal, sys\n\
         os.chdir(sys.argv[1])\n\
         if os.fork() == 0:\n\
         \x20   os.chdir(sys.argv[2])\n\
         \x20   print('ready')\n\
         signal.pause()",
    );
    let _lives = Started::ready(learner.with_places(&mut python));
    learner.check().holds();
}

/// A C program that calls `make` for a child, and lets the two stand in the two directories.
fn in_c(learner: &Learner, make: &str) -> Command {
    let source = format!(
        "#define _GNU_SOURCE\n\
         #include <sched.h>\n\
         #include <unistd.h>\n\
         int main(int argc, char **argv) {{\n\
             if (argc < 3 || chdir(argv[1])) return 1;\n\
             pid_t child = {make}();\n\
             if (child < 0) return 2;\n\
             if (child == 0) {{\n\
                 if (chdir(argv[2]) || write(1, \"ready\\n\", 6) != 6) _exit(3);\n\
             }}\n\
             for (;;) pause();\n\
         }}\n"
    );
    Command::new(means::compile_c(&source, learner.podlab.folder(), make))
}

#[test]
fn two_lives_hold_by_fork_in_c() {
    needs!(Need::Program("gcc"));
    let learner = Learner::new();
    let _lives = Started::ready(learner.with_places(&mut in_c(&learner, "fork")));
    learner.check().holds();
}

#[test]
fn two_lives_hold_by_env_and_setpriv() {
    needs!(Need::Program("env"), Need::Program("setpriv"));
    let learner = Learner::new();
    let script =
        r#"env -C "$1" setpriv --no-new-privs sh -c "$life" & env -C "$2" sh -c "$life" & :"#;
    let _lives = two_ready(&mut learner.shell(script));
    learner.check().holds();
}

#[test]
fn two_lives_hold_in_one_container() {
    needs!(Need::Root, Need::Docker);
    let learner = Learner::new();
    let [a, b] = learner.names.each_ref().map(|name| format!("/srv/{name}"));
    let stay = format!("mkdir {b}; mkfifo /stay; echo ready; read _ </stay");
    let first = ["--network", "none", "--workdir", &a, "busybox", "sh", "-c", &stay];
    let container = Container::run(&first);
    container.printed("ready");
    let id = container.inspect("{{.Id}}");
    let mut second = Command::new("docker");
    second.args(["exec", "--workdir", &b, &id, "sh", "-c", "echo ready; read _ </stay"]);
    let _second = Started::ready(&mut second);
    learner.check().holds();
}

#[test]
fn two_lives_hold_for_an_ordinary_user() {
    let learner = Learner::of(Podlab::ordinary().judged_from_outside());
    let script = r#"(cd "$1" && exec sh -c "$life") & (cd "$2" && exec sh -c "$life") & :"#;
    let _lives = two_ready(user::as_ordinary(&mut learner.shell(script)));
    learner.check().holds();
}

#[test]
fn links_to_a_program_are_the_same_program() {
    let learner = Learner::new();
    let program = copy_of_sh(learner.podlab.folder(), "program");
    let (hard, symbolic) = (learner.a.join("hard"), learner.b.join("symbolic"));
    fs::hard_link(&program, &hard).expect("a hard link");
    std::os::unix::fs::symlink(&program, &symbolic).expect("a symbolic link");
    let _lives = learner.both(&hard, &symbolic);
    learner.check().holds();
}

#[test]
fn naming_one_of_the_two_by_its_pid_is_enough() {
    let learner = Learner::new();
    let lives = learner.both(Path::new("/bin/sh"), Path::new("/bin/sh"));
    let [one, ..] = means::children(lives.pid())[..] else { panic!("no child") };
    learner.podlab.check_pid(EXERCISE, one).holds();
}

#[test]
fn the_best_pair_counts_not_the_latest() {
    let learner = Learner::new();
    let _right = learner.both(Path::new("/bin/sh"), Path::new("/bin/sh"));
    let _later = Started::ready(&mut in_place(&learner.a, &copy_of_sh(&learner.b, "other")));
    learner.check().holds();
}

/// A command that runs a shell as a life in a directory.
fn in_place(place: &Path, shell: &Path) -> Command {
    let mut command = Command::new(shell);
    command.args(["-c", "echo ready; read _"]).current_dir(place);
    command
}

#[test]
fn nothing_is_no_solution() {
    Learner::new().check().fails_only("two-homes");
}

#[test]
fn two_processes_elsewhere_are_no_solution() {
    let learner = Learner::new();
    let below = learner.a.join("below");
    fs::create_dir(&below).expect("a directory");
    let sh = Path::new("/bin/sh");
    let _one = Started::ready(&mut in_place(&below, sh));
    let _other = Started::ready(&mut in_place(learner.podlab.folder(), sh));
    learner.check().fails_only("two-homes");
}

#[test]
fn a_neighbours_directories_do_not_fit() {
    let (learner, neighbour) = (Learner::new(), Learner::new());
    let _lives = neighbour.both(Path::new("/bin/sh"), Path::new("/bin/sh"));
    neighbour.check().holds();
    learner.check().fails_only("two-homes");
}

#[test]
fn processes_from_before_the_start_do_not_count() {
    let learner = Learner::new();
    let _lives = learner.both(Path::new("/bin/sh"), Path::new("/bin/sh"));
    means::next_tick();
    learner.podlab.start(EXERCISE);
    let checked = learner.check();
    checked.fails_only("two-homes");
    let CheckOutcome::Fails { saw, .. } = &checked.result("two-homes").result else { return };
    assert!(saw.starts_with("no process in either that began after podlab start"), "{saw}");
}

#[test]
fn both_in_one_place_is_named() {
    let learner = Learner::new();
    let shells = || in_place(&learner.a, Path::new("/bin/sh"));
    let _one = Started::ready(&mut shells());
    let _other = Started::ready(&mut shells());
    learner.check().fails_by("two-homes", "both-in-one-place");
}

#[test]
fn one_life_only_is_named() {
    let learner = Learner::new();
    let _one = Started::ready(&mut in_place(&learner.b, &copy_of_sh(&learner.b, "alone")));
    learner.check().fails_by("two-homes", "one-life-only");
}

#[test]
fn a_life_that_is_already_over_is_named() {
    let learner = Learner::new();
    let mut python = means::python(
        "import os, signal, sys\n\
         os.chdir(sys.argv[1])\n\
         child = os.fork()\n\
         if child == 0:\n\
         \x20   os.chdir(sys.argv[2])\n\
         \x20   os._exit(0)\n\
         os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)\n\
         print('ready')\n\
         signal.pause()",
    );
    let _one = Started::ready(learner.with_places(&mut python));
    learner.check().fails_by("two-homes", "already-over");
}

#[test]
fn a_removed_directory_is_named() {
    let learner = Learner::new();
    let _lives = learner.both(Path::new("/bin/sh"), Path::new("/bin/sh"));
    fs::remove_dir(&learner.b).expect("rmdir");
    learner.check().fails_by("two-homes", "directory-removed");
    fs::create_dir(&learner.b).expect("mkdir");
    learner.check().fails_by("two-homes", "directory-removed");
}

#[test]
fn a_copied_program_is_named() {
    let learner = Learner::new();
    let one = copy_of_sh(&learner.a, "program");
    let other = copy_of_sh(&learner.b, "program");
    let _lives = learner.both(&one, &other);
    learner.check().fails_by("one-program", "copied-program");
}

#[test]
fn two_programs_are_named() {
    needs!(Need::Program("bash"));
    let learner = Learner::new();
    let _lives = learner.both(Path::new("/bin/sh"), Path::new("/bin/bash"));
    learner.check().fails_by("one-program", "two-programs");
}

#[test]
fn two_containers_of_one_image_are_named() {
    needs!(Need::Root, Need::Docker);
    let learner = Learner::new();
    let run = |name: &str| {
        let place = format!("/srv/{name}");
        let stay = "mkfifo /stay; echo ready; read _ </stay";
        let args = ["--network", "none", "--workdir", &place, "busybox", "sh", "-c", stay];
        let container = Container::run(&args);
        container.printed("ready");
        container
    };
    let _containers = learner.names.each_ref().map(|name| run(name));
    learner.check().fails_by("one-program", "two-containers");
}

#[test]
fn a_shared_memory_is_named() {
    needs!(Need::Program("gcc"));
    let learner = Learner::new();
    let _lives = Started::ready(learner.with_places(&mut in_c(&learner, "vfork")));
    learner.check().fails_by("own-memory", "shared-memory");
}

#[test]
fn what_may_not_be_read_cannot_be_judged() {
    needs!(Need::Root);
    let learner = Learner::of(Podlab::ordinary());
    let roots = learner.both(Path::new("/bin/sh"), Path::new("/bin/sh"));
    let [one, ..] = means::children(roots.pid())[..] else { panic!("no child") };
    learner.podlab.check_pid(EXERCISE, one).cannot_tell(&["two-homes"]);
}
