//! The rest of the checker's tests, in a machine with pure cgroup v2 and systemd: that it reads and follows
//! that machine, keeps a room there and gives the tour. What they ask of podlab is asked of the one in there.

use crate::foundation::{NO_V1, held};
use crate::inside::Inside;
use crate::judge::Judge;
use crate::machine::turn;
use crate::needs;
use crate::support::need::Need;

/// Not `cli`, `formats` and `observe::recorded`: they are about podlab's words and documents, and so the
/// same on every machine.
const MODULES: [&str; 7] = [
    "observe::cgroups::",
    "observe::mounts::",
    "observe::namespaces::",
    "observe::processes::",
    "room::",
    "tour::",
    "watch::",
];

#[test]
fn podlab_reads_and_follows_a_machine_with_cgroup_v2_alone() {
    needs!(Need::Vm);
    let _turn = turn();
    let inside = Inside::shared();
    Judge::of(&inside.machine).during(|judge| {
        held(&inside.as_root(judge, "checker", &MODULES.map(str::to_owned)), &NO_V1);
    });
}
