//! How long reading 2,000 processes takes, beside the bare system calls and beside lsns(8):
//!
//! ```text
//! cargo bench -p podlab --bench snapshot
//! ```
//!
//! Everything is measured in the same run, each in turn, round after round. The table has the least
//! and the median time of each, and the median over the rounds of how it compares with the bare calls
//! and with lsns. On a busy machine the least times say most.
//!
//! On 22 November 2026, two cores, Linux 6.18, with nothing else at work:
//!
//! ```text
//!                                             least ms    median   of bare   of lsns
//! bare calls: namespaces, cgroups, status        102.4     115.7      1.00      0.25
//! observe, 1 thread: the same                    111.8     116.9      1.05      0.26
//! bare calls: full record                        138.2     142.3      1.00      0.32
//! observe, 1 thread: full record                 148.6     152.6      1.07      0.34
//! observe, all cores: full record                 81.1      90.2      0.61      0.19
//! snapshot, 1 thread: everything                 161.6     165.4      1.16      0.37
//! snapshot, all cores: everything                 91.8     105.0      0.69      0.22
//! lsns                                           429.7     447.8      3.17      1.00
//! lsns with parents and owners                   438.1     444.5      3.18      1.00
//! ```

use std::hint::black_box;
use std::io;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use podlab::observe::{Buffer, OpenProcess, Options, Proc, snapshot};

mod bare;
mod crowd;

use bare::Bare;
use crowd::{Crowd, ROOMS, SIZE};

/// How often each is measured.
const ROUNDS: usize = 21;

/// What lsns is asked for to be comparable: parents and owners of the namespaces too.
const COLUMNS: &str = "NS,TYPE,NPROCS,PID,PPID,COMMAND,UID,PNS,ONS";

/// One thing to measure: its name, and what does it once.
type Case = (&'static str, fn() -> io::Result<()>);

/// In the order in which they are measured; the rows `BARE_*` and `LSNS` are what others are
/// compared with.
const CASES: [Case; 9] = [
    ("bare calls: namespaces, cgroups, status", || bare(Bare::short)),
    ("observe, 1 thread: the same", || short().map_err(io::Error::other)),
    ("bare calls: full record", || bare(Bare::full)),
    ("observe, 1 thread: full record", || processes(1)),
    ("observe, all cores: full record", || processes(0)),
    ("snapshot, 1 thread: everything", || everything(1)),
    ("snapshot, all cores: everything", || everything(0)),
    ("lsns", || lsns(&[])),
    ("lsns with parents and owners", || lsns(&["-o", COLUMNS])),
];
const BARE_SHORT: usize = 0;
const BARE_FULL: usize = 2;
const LSNS: usize = 7;

fn main() -> ExitCode {
    // `cargo test --benches` runs it too, without this argument: no measurement there.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    match Crowd::start().and_then(|_crowd| measure()) {
        Ok(rounds) => {
            print(&rounds);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("snapshot: {error}");
            ExitCode::FAILURE
        }
    }
}

type Round = [Duration; CASES.len()];

fn measure() -> io::Result<Vec<Round>> {
    (0..ROUNDS)
        .map(|_| {
            let mut round = [Duration::ZERO; CASES.len()];
            for (time, (_, run)) in round.iter_mut().zip(CASES) {
                let start = Instant::now();
                run()?;
                *time = start.elapsed();
            }
            Ok(round)
        })
        .collect()
}

fn bare(read: fn(&mut Bare) -> usize) -> io::Result<()> {
    black_box(read(&mut Bare::new()));
    Ok(())
}

fn short() -> Result<(), podlab::observe::Error> {
    let proc = Proc::open(&Options::default())?;
    let mut buffer = Buffer::new();
    let mut kept = Vec::new();
    for pid in proc.pids()? {
        let Some(mut process) = OpenProcess::open(&proc, pid, &mut buffer)? else { continue };
        kept.push((process.namespaces()?, process.cgroups()?, process.status()?));
    }
    black_box(kept);
    Ok(())
}

fn processes(threads: usize) -> io::Result<()> {
    let options = Options { threads, ..Options::default() };
    black_box(podlab::observe::processes(&options, None).map_err(io::Error::other)?);
    Ok(())
}

fn everything(threads: usize) -> io::Result<()> {
    let options = Options { threads, ..Options::default() };
    black_box(snapshot(&options).map_err(io::Error::other)?);
    Ok(())
}

fn lsns(arguments: &[&str]) -> io::Result<()> {
    let status = Command::new("lsns").args(arguments).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("lsns: {status}"))) }
}

fn print(rounds: &[Round]) {
    println!("{SIZE} processes in {ROOMS} sets of namespaces, {ROUNDS} rounds\n");
    println!("{:42} {:>9} {:>9} {:>9} {:>9}", "", "least ms", "median", "of bare", "of lsns");
    for (case, (name, _)) in CASES.iter().enumerate() {
        let bare = if case < BARE_FULL { BARE_SHORT } else { BARE_FULL };
        let (least, middle) = spread(rounds.iter().map(|round| round[case].as_secs_f64() * 1e3));
        let of = |to: usize| spread(rounds.iter().map(|round| quotient(round, case, to))).1;
        println!("{name:42} {least:9.1} {middle:9.1} {:9.2} {:9.2}", of(bare), of(LSNS));
    }
}

fn quotient(round: &Round, case: usize, to: usize) -> f64 {
    round[case].as_secs_f64() / round[to].as_secs_f64()
}

/// The least and the median.
fn spread(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    (values[0], values[values.len() / 2])
}
