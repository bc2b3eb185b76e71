//! The exercise *recover-the-program*: right by several means, and each way to get it wrong.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::check::{Checked, Podlab};
use crate::means::{self, Container, Started};
use crate::needs;
use crate::support::need::Need;
use crate::support::user;

const EXERCISE: &str = "recover-the-program";

/// What the program does, which is a shell: says that it runs, and waits.
const LIFE: &str = "echo ready; read _";

/// A learner, a program in a folder of its own, and the process that runs it.
struct Learner {
    podlab: Podlab,
    program: PathBuf,
    process: Started,
    name: String,
}

impl Learner {
    fn new() -> Learner {
        Learner::with_program("program")
    }

    fn with_program(name: &str) -> Learner {
        let podlab = Podlab::new();
        let folder = podlab.folder().join("there");
        fs::create_dir(&folder).expect("a folder");
        let program = folder.join(name);
        user::copy_program(Path::new("/bin/sh"), &program);
        let process = Started::ready(Command::new(&program).args(["-c", LIFE]));
        Learner::of(podlab, program, process)
    }

    fn of(podlab: Podlab, program: PathBuf, process: Started) -> Learner {
        let name = podlab.params(EXERCISE).name("file");
        Learner { podlab, program, process, name }
    }

    fn pid(&self) -> i32 {
        self.process.pid()
    }

    fn folder(&self) -> &Path {
        self.program.parent().expect("a folder")
    }

    /// Where the file is to be.
    fn wanted(&self) -> PathBuf {
        self.folder().join(&self.name)
    }

    fn delete(&self) {
        fs::remove_file(&self.program).expect("rm");
    }

    /// The whole of the right solution.
    fn recover(&self) {
        self.delete();
        let exe = format!("/proc/{}/exe", self.pid());
        user::copy_program(Path::new(&exe), &self.wanted());
    }

    /// Runs a shell script in the folder, with the process as `$1` and the name as `$2`.
    fn shell(&self, script: &str) {
        run(self.given(&mut means::sh(script), "sh"));
    }

    /// `command` in the folder, with a name for itself, the process and the name as its arguments.
    fn given<'c>(&self, command: &'c mut Command, itself: &str) -> &'c mut Command {
        command.arg(itself).arg(self.pid().to_string()).arg(&self.name);
        command.current_dir(self.folder())
    }

    fn check(&self) -> Checked {
        self.podlab.check_pid(EXERCISE, self.pid())
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

#[test]
fn it_holds_by_cp() {
    let learner = Learner::new();
    learner.shell(r#"rm program; cp "/proc/$1/exe" "$2""#);
    learner.check().holds();
}

#[test]
fn it_holds_by_redirection_and_chmod() {
    let learner = Learner::new();
    learner.shell(r#"rm program; cat "/proc/$1/exe" >"$2"; chmod +x "$2""#);
    learner.check().holds();
}

#[test]
fn it_holds_by_dd() {
    let learner = Learner::new();
    learner.shell(r#"rm program; dd if="/proc/$1/exe" of="$2" status=none; chmod 700 "$2""#);
    learner.check().holds();
}

#[test]
fn it_holds_by_python() {
    let learner = Learner::new();
    let script = "import os, shutil, sys\n\
                  _, _, pid, name = sys.argv\n\
                  os.unlink('program')\n\
                  shutil.copy(f'/proc/{pid}/exe', name)";
    run(learner.given(&mut means::python(script), "python"));
    learner.check().holds();
}

#[test]
fn it_holds_by_sendfile_in_c() {
    needs!(Need::Program("gcc"));
    let learner = Learner::new();
    let source = "#include <fcntl.h>\n\
                  #include <stdio.h>\n\
                  #include <sys/sendfile.h>\n\
                  #include <unistd.h>\n\
                  int main(int argc, char **argv) {\n\
                      char exe[64];\n\
                      if (argc < 4 || unlink(\"program\")) return 1;\n\
                      snprintf(exe, sizeof exe, \"/proc/%s/exe\", argv[2]);\n\
                      int from = open(exe, O_RDONLY), to = open(argv[3], O_CREAT | O_WRONLY, 0755);\n\
                      while (sendfile(to, from, 0, 1 << 16) > 0);\n\
                      return 0;\n\
                  }\n";
    let program = means::compile_c(source, learner.podlab.folder(), "recover");
    run(learner.given(&mut Command::new(program), "recover"));
    learner.check().holds();
}

#[test]
fn it_holds_in_a_container() {
    needs!(Need::Root, Need::Docker);
    let podlab = Podlab::new();
    let name = podlab.params(EXERCISE).name("file");
    let script = format!("rm /tmp/sh; cp /proc/1/exe /tmp/{name}; {STAY}");
    let container = in_container(&format!("cp /bin/busybox /tmp/sh; exec /tmp/sh -c '{script}'"));
    podlab.check_pid(EXERCISE, container.pid()).holds();
}

/// The program of an image is kept in a lower layer: the container's overlay only hides it, and the
/// file still counts one link.
#[test]
fn it_holds_for_a_program_of_the_image() {
    needs!(Need::Root, Need::Docker);
    let podlab = Podlab::new();
    let name = podlab.params(EXERCISE).name("file");
    let script = format!("mkfifo /stay; cp /proc/1/exe /bin/{name}; rm /bin/busybox; {WAIT}");
    let container = in_container(&script);
    podlab.check_pid(EXERCISE, container.pid()).holds();
}

const STAY: &str = "mkfifo /stay; echo ready; read _ </stay";
const WAIT: &str = "echo ready; read _ </stay";

/// A container whose PID 1 runs a shell script that says `ready` and stays.
fn in_container(script: &str) -> Container {
    let container = Container::run(&["--network", "none", "busybox", "sh", "-c", script]);
    container.printed("ready");
    container
}

#[test]
fn it_holds_below_another_root() {
    needs!(Need::Root, Need::Program("busybox"), Need::Program("chroot"));
    let podlab = Podlab::new();
    let jail = podlab.folder().join("jail");
    fs::create_dir_all(jail.join("bin")).expect("a folder");
    let busybox = crate::support::need::program("busybox").expect("it is there");
    let program = jail.join("bin/sh");
    user::copy_program(&busybox, &program);
    let mut chroot = Command::new("chroot");
    let process = Started::ready(chroot.arg(&jail).args(["/bin/sh", "-c", LIFE]));
    let learner = Learner::of(podlab, program, process);
    learner.recover();
    learner.check().holds();
}

/// The lab deletes its program itself, on a file system that only its own mount namespace has.
#[test]
fn it_holds_within_the_lab() {
    let podlab = Podlab::new();
    let name = podlab.params(EXERCISE).name("file");
    let script = format!("cp /proc/$FIRST/exe /mnt/{name}; echo $FIRST; read _");
    let mut lab = Command::new(podlab.lab("program-and-process"));
    lab.args(["--", "sh", "-c", &script]).stderr(std::process::Stdio::null());
    let lab = Started::new(&mut lab);
    let first = lab.line().parse().expect("a PID");
    podlab.check_pid(EXERCISE, first).holds();
}

#[test]
fn it_holds_for_an_ordinary_user() {
    let podlab = Podlab::ordinary().judged_from_outside();
    let program = user::copy_of(Path::new("/bin/sh"), podlab.folder());
    let mut command = Command::new(&program);
    let process = Started::ready(user::as_ordinary(command.args(["-c", LIFE])));
    let learner = Learner::of(podlab, program, process);
    let script = r#"cd "$3"; rm sh; cp "/proc/$1/exe" "$2""#;
    let mut shell = means::sh(script);
    learner.given(&mut shell, "sh").arg(learner.folder());
    run(user::as_ordinary(&mut shell));
    learner.check().holds();
}

#[test]
fn it_holds_when_the_content_was_saved_before() {
    let learner = Learner::new();
    learner.shell(r#"cp program "$2"; rm program"#);
    learner.check().holds();
}

#[test]
fn a_file_that_another_took_the_place_of_is_deleted_too() {
    let learner = Learner::new();
    learner.shell(r#"cp /bin/cat new; mv new program; cp "/proc/$1/exe" "$2""#);
    learner.check().holds();
}

#[test]
fn it_holds_in_a_folder_that_was_removed_and_made_again() {
    let learner = Learner::new();
    learner.shell(r#"d=$PWD; rm -r "$d"; mkdir "$d"; cp "/proc/$1/exe" "$d/$2""#);
    learner.check().holds();
}

#[test]
fn the_old_name_may_be_the_new_one() {
    let podlab = Podlab::new();
    let name = podlab.params(EXERCISE).name("file");
    let program = podlab.folder().join(name);
    user::copy_program(Path::new("/bin/sh"), &program);
    let process = Started::ready(Command::new(&program).args(["-c", LIFE]));
    let learner = Learner::of(podlab, program, process);
    learner.recover();
    learner.check().holds();
}

#[test]
fn of_several_deleted_programs_the_recovered_one_is_judged() {
    let learner = Learner::new();
    learner.recover();
    means::next_tick();
    let later = Learner::new();
    later.delete();
    let checked = learner.podlab.check(EXERCISE, &[]);
    let subject = checked.judgement.subject.clone().expect("a process");
    let is_judged = |pid| subject.contains(&format!("program {pid},"));
    // As many more may have been deleted by others on this machine meanwhile.
    if is_judged(learner.pid()) || is_judged(later.pid()) {
        checked.holds();
    }
}

#[test]
fn a_room_of_a_podlab_that_was_built_anew_is_not_taken_for_the_learners_work() {
    needs!(Need::Userns);
    let podlab = Podlab::ordinary();
    podlab.start(EXERCISE);
    podlab.start("locked-room");
    // A file that runs cannot be written to, so this is another file of the same name.
    user::copy_program(Path::new(env!("CARGO_BIN_EXE_podlab")), &podlab.folder().join("podlab"));
    let checked = podlab.check(EXERCISE, &[]);
    assert!(podlab.run(&["reset", "locked-room"]).status.success());
    let subject = checked.judgement.subject.unwrap_or_default();
    assert!(!subject.contains("locked-room"), "{subject}");
}

#[test]
fn the_process_is_found_without_being_named() {
    let learner = Learner::new();
    means::next_tick();
    learner.podlab.start(EXERCISE);
    let later = Started::ready(Command::new(&learner.program).args(["-c", LIFE]));
    learner.recover();
    let checked = learner.podlab.check(EXERCISE, &[]);
    // Others on this machine may delete programs, too: what was found must be one.
    let subject = checked.judgement.subject.clone().expect("a process");
    if subject.contains(&format!("program {},", later.pid())) {
        checked.holds();
    }
    assert!(!subject.contains(&format!("program {},", learner.pid())), "from before: {subject}");
}

#[test]
fn nothing_recovered_is_no_solution() {
    let learner = Learner::new();
    learner.delete();
    learner.check().fails_only("recovered");
}

#[test]
fn a_file_in_another_folder_is_no_solution() {
    let learner = Learner::new();
    learner.shell(r#"rm program; cp "/proc/$1/exe" "../$2""#);
    learner.check().fails_only("recovered");
}

#[test]
fn a_planted_fifo_or_folder_is_looked_at_and_not_opened() {
    for plant in [r#"mkfifo "$2""#, r#"mkdir "$2""#] {
        let learner = Learner::new();
        learner.shell(&format!("rm program; {plant}"));
        learner.check().fails_only("recovered");
    }
}

#[test]
fn a_program_that_was_never_deleted_is_named() {
    let learner = Learner::new();
    learner.shell(r#"cp program "$2""#);
    learner.check().fails_by("deleted", "never-deleted");
}

#[test]
fn a_file_whose_honest_name_ends_in_deleted_is_not_deleted() {
    let learner = Learner::with_program("program (deleted)");
    learner.shell(r#"cp "program (deleted)" "$2""#);
    learner.check().fails_by("deleted", "never-deleted");
    learner.delete();
    learner.check().holds();
}

#[test]
fn a_renamed_program_is_named() {
    let learner = Learner::new();
    learner.shell(r#"mv program moved; cp "/proc/$1/exe" "$2""#);
    learner.check().fails_by("deleted", "renamed");
}

#[test]
fn another_name_that_is_left_is_named() {
    for other in ["other", "../other"] {
        let learner = Learner::new();
        learner.shell(&format!(r#"ln program {other}; rm program; cp "/proc/$1/exe" "$2""#));
        learner.check().fails_by("deleted", "another-name-left");
    }
}

#[test]
fn the_file_itself_under_the_new_name_is_no_recovery() {
    let learner = Learner::new();
    learner.shell(r#"ln program "$2"; rm program"#);
    learner.check().fails_by("deleted", "another-name-left");
}

#[test]
fn another_name_on_an_overlay_is_named() {
    needs!(Need::Root, Need::Docker);
    let podlab = Podlab::new();
    let name = podlab.params(EXERCISE).name("file");
    let script = format!("ln /tmp/sh /tmp/other; rm /tmp/sh; cp /proc/1/exe /tmp/{name}; {STAY}");
    let container = in_container(&format!("cp /bin/busybox /tmp/sh; exec /tmp/sh -c '{script}'"));
    podlab.check_pid(EXERCISE, container.pid()).fails_by("deleted", "another-name-left");
}

#[test]
fn a_link_in_place_of_a_copy_is_named() {
    let learner = Learner::new();
    learner.delete();
    symlink(format!("/proc/{}/exe", learner.pid()), learner.wanted()).expect("ln -s");
    learner.check().fails_by("recovered", "linked-not-copied");
}

#[test]
fn wrong_bytes_are_named() {
    // Another size, nothing, the same size, and more than would ever be read.
    for write in [r#"cp /bin/cat "$2""#, r#": >"$2""#, FLIPPED, r#"truncate -s 4T "$2""#] {
        let learner = Learner::new();
        learner.shell(&format!("rm program; {write}"));
        learner.check().fails_by("recovered", "wrong-bytes");
    }
}

/// The right size, one byte at the end wrong.
const FLIPPED: &str = r#"cp "/proc/$1/exe" "$2" && size=$(stat -c %s "$2") &&
    truncate -s $((size - 1)) "$2" && printf '\377' >>"$2""#;

#[test]
fn a_file_that_may_not_be_executed_is_named() {
    let learner = Learner::new();
    learner.shell(r#"rm program; cat "/proc/$1/exe" >"$2""#);
    learner.check().fails_by("runnable", "not-executable");
}

#[test]
fn a_script_in_place_of_a_program_is_named() {
    for call in ["/bin/sh job.sh", "./job.sh", r#""$PWD/job.sh""#] {
        let podlab = Podlab::new();
        let script = podlab.folder().join("job.sh");
        fs::write(&script, format!("#!/bin/sh\n{LIFE}\n")).expect("a script");
        fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("chmod");
        let mut shell = means::sh(&format!("exec {call}"));
        let process = Started::ready(shell.current_dir(podlab.folder()));
        let learner = Learner::of(podlab, script, process);
        learner.delete();
        learner.check().fails_by("deleted", "script-deleted");
    }
}

#[test]
fn a_program_in_memory_is_named() {
    let podlab = Podlab::new();
    let mut python = means::python(
        "import os, sys\n\
         memory = os.memfd_create('program')\n\
         os.write(memory, open('/bin/sh', 'rb').read())\n\
         os.execve(memory, ['sh', '-c', sys.argv[1]], os.environ)",
    );
    let process = Started::ready(python.arg(LIFE));
    podlab.check_pid(EXERCISE, process.pid()).fails_by("deleted", "never-a-file");
}

#[test]
fn a_program_that_has_ended_is_named_by_its_zombie() {
    let podlab = Podlab::new();
    let mut python = means::python(
        "import os, signal\n\
         child = os.fork()\n\
         if child == 0:\n\
         \x20   os._exit(0)\n\
         os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)\n\
         print('ready')\n\
         signal.pause()",
    );
    let parent = Started::ready(&mut python);
    let [zombie] = means::children(parent.pid())[..] else { panic!("no zombie") };
    podlab.check_pid(EXERCISE, zombie).fails_by("deleted", "program-ended");
}

#[test]
fn a_program_that_has_ended_is_named_where_the_recovered_one_runs() {
    let learner = Learner::new();
    learner.recover();
    let recovered = Started::ready(Command::new(learner.wanted()).args(["-c", LIFE]));
    let checked = learner.podlab.check_pid(EXERCISE, recovered.pid());
    checked.fails_by("deleted", "program-ended");
}

#[test]
fn what_may_not_be_read_cannot_be_judged() {
    needs!(Need::Root);
    let learner = Learner::new();
    learner.recover();
    Podlab::ordinary().check_pid(EXERCISE, learner.pid()).cannot_tell(&["deleted"]);
}
