//! What the comparison of transcripts must let pass, and what it must not.

use rstest::rstest;

use super::normal::{normal, same};

#[rstest]
#[case::process_ids("pid 4711, child of 4600 (pid 4600)", "pid 913, child of 27001 (pid 27001)")]
#[case::a_pid_told_once_is_known_everywhere(
    "clone: pid 4712\nit is 4712 to us, 1 to itself",
    "clone: pid 833\nit is 833 to us, 1 to itself"
)]
#[case::nspid("NSpid: 4712 1", "NSpid:\t99120\t1")]
#[case::paths_in_proc("/proc/4712/exe -> /bin/sh", "/proc/513/exe -> /bin/sh")]
#[case::pstree(
    "bash(4711)---fake-init(4712)-+-{tokio}(4713)",
    "bash(1011)---fake-init(2022)-+-{tokio}(3033)"
)]
#[case::namespaces("pid:[4026531836] mnt:[4026532178]", "pid:[4026532999] mnt:[4026531841]")]
#[case::inodes("device 8:1, inode 1447", "device 8:1, inode 99321")]
#[case::container_ids("c0ffee0123ab  busybox", "0123456789ab  busybox")]
#[case::short_and_long_ids(
    "c0ffee0123ab\nc0ffee0123abc0ffee0123abc0ffee0123abc0ffee0123abc0ffee0123abcdef",
    "d0ffee0123ab\nd0ffee0123abc0ffee0123abc0ffee0123abc0ffee0123abc0ffee0123abcdef"
)]
#[case::clock("started 14:03:12 took 0.231 s", "started 09:59:01 took 1.5 s")]
#[case::addresses("heap 0x55d0c8a2b000", "heap 0x7ffd1a2b3c40")]
#[case::counts_of_a_machine("ps sees 143 processes", "ps sees 98 processes")]
#[case::column_widths("  PID CMD\n  912 sh", "PID CMD\n104512 sh")]
#[case::ps(
    "$ ps\n PID PPID CMD\n4711 4600 sh\n1 0 init",
    "$ ps\n PID PPID CMD\n911 900 sh\n1 0 init"
)]
#[case::echoed("$ echo $!\n4712", "$ echo $!\n513")]
#[case::memory_in_use("VmRSS:    1412 kB", "VmRSS:    1380 kB")]
#[case::devices("device 0:43 inode 2, device 8:1", "device 0:51 inode 2, device 254:0")]
#[case::pages_of_memory("the file's page 0x11a883", "the file's page 0x3bb2")]
#[case::a_mapped_file(
    "7f0c12a00000-7f0c12b00000 r-xp 0004c000 00:2b 2 /mnt/program",
    "55aa12a00000-55aa12b00000 r-xp 00011000 00:31 2 /mnt/program"
)]
#[case::a_pid_that_only_its_fate_tells("15287 has ended with it", "833 has ended with it")]
#[case::several_pids("cgroup.procs 15294, 15295", "cgroup.procs 500, 501")]
#[case::the_size_of_a_build("read 9106 KiB from it", "read 612 KiB from it")]
#[case::the_log_of_a_kill(
    "Killed process 15295 (a) total-vm:70048kB, anon-rss:32896kB, file-rss:1600kB, shmem-rss:0kB, UID:0 pgtables:108kB",
    "Killed process 911 (a) total-vm:70052kB, anon-rss:32900kB, file-rss:1604kB, shmem-rss:0kB, UID:0 pgtables:112kB"
)]
#[case::a_counter_that_went_up("memory.failcnt 0 -> 35", "memory.failcnt 0 -> 12")]
#[case::who_was_judged(
    "judged: fake-init 566, child of fake-init 562 on qemu\nsaw fake-init 566: NSpid 566 1",
    "judged: fake-init 912, child of fake-init 900 on qemu\nsaw fake-init 912: NSpid 912 1"
)]
#[case::how_soon(
    "it ended 37 ms after SIGTERM, within 25 ms",
    "it ended 4 ms after SIGTERM, within 0 ms"
)]
#[case::fewer_inside(
    "saw 2 processes in its /proc, 110 in yours",
    "saw 2 processes in its /proc, 98 in yours"
)]
fn these_are_the_same(#[case] one: &str, #[case] other: &str) {
    assert!(same(one, other), "{}\n{}", normal(one), normal(other));
}

#[rstest]
#[case::inner_pid("NSpid: 4712 1", "NSpid: 4712 2")]
#[case::depth("NSpid: 4712 1", "NSpid: 4712 5 1")]
#[case::exit_status("$ echo $?\n137", "$ echo $?\n143")]
#[case::exit_status_after_a_pid("process 4711 exit(137)", "process 4711 exit(143)")]
#[case::exit_status_in_words("exit status 137", "exit status 143")]
#[case::limit("limit 10 MiB", "limit 12 MiB")]
#[case::limit_in_bytes("10485760", "12582912")]
#[case::which_is_equal("pid:[4026531836] pid:[4026531836]", "pid:[4026531836] pid:[4026532178]")]
#[case::which_differs("pid:[4026531836] pid:[4026532178]", "pid:[4026531836] pid:[4026531836]")]
#[case::whose_parent(
    "pid 4711, ppid 4600\npid 4712, ppid 4711",
    "pid 4711, ppid 4600\npid 4712, ppid 4600"
)]
#[case::kind_of_namespace("pid:[4026531836]", "mnt:[4026531836]")]
#[case::a_number_that_nobody_calls_a_pid("ours 4711", "ours 4712")]
#[case::user_id("uid 1000", "uid 1001")]
#[case::uid_map("0 1000 1", "0 0 4294967295")]
#[case::capabilities("CapEff: 00000000a80425fb", "CapEff: 0000000000000000")]
#[case::flags("0x20000000", "0x20020000")]
#[case::a_word("orphan reaped", "orphan left")]
#[case::a_line_more("one\ntwo", "one")]
#[case::few_processes("2 processes", "3 processes")]
#[case::few_against_many("2 processes", "143 processes")]
#[case::counter("oom_kill 0", "oom_kill 1")]
#[case::pids_limit("pids.max 512", "pids.max 1024")]
#[case::what_a_mapping_permits("r-xp 0004c000 00:2b 2", "r--p 0004c000 00:2b 2")]
#[case::private_memory_or_none("Private_Clean: 0 kB", "Private_Clean: 12 kB")]
#[case::another_device("device 0:43, device 0:43", "device 0:43, device 0:44")]
#[case::another_inode("device 0:43 inode 2", "device 0:43 inode 3")]
#[case::another_page("page 0x11a883, page 0x11a883", "page 0x11a883, page 0x277253")]
#[case::a_counter_that_stayed("memory.failcnt 0 -> 35", "memory.failcnt 0 -> 0")]
#[case::killed_or_not("oom_kill 0 -> 1", "oom_kill 0 -> 2")]
#[case::peak("memory.max_usage_in_bytes 0 -> 33554432", "memory.max_usage_in_bytes 0 -> 16777216")]
#[case::amount_in_bytes("touch 8388608 bytes", "touch 16777216 bytes")]
#[case::what_is_no_pid_of_the_judged("saw heron-1111", "saw heron-1112")]
#[case::points("3 of 8 points", "8 of 8 points")]
fn these_are_not_the_same(#[case] one: &str, #[case] other: &str) {
    assert!(!same(one, other), "{}", normal(one));
}
