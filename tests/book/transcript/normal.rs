//! Comparing what a terminal showed once with what it shows now.
//!
//! A volatile value is not blanked out but renamed, in the order in which values first appear: `pid1`,
//! `pid2`, `ns1`. So a transcript still says which of them are equal and which differ, and that is
//! what it is for. A number is a process ID only where something in the transcript says so; all other
//! numbers must be the same, a limit or an exit status as well as a process ID inside a namespace.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Whether two transcripts show the same, but for values that no two runs have in common.
pub(crate) fn same(one: &str, other: &str) -> bool {
    normal(one) == normal(other)
}

/// `text` with its volatile values renamed, and each run of blanks made one: columns move with the
/// width of what stands in them.
pub(crate) fn normal(text: &str) -> String {
    let lines: Vec<_> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let text = lines.join("\n");
    let mut names = Names { kinds: kinds(&text), given: HashMap::new(), count: HashMap::new() };
    VOLATILE.replace_all(&text, |found: &Captures| names.name(found)).into_owned()
}

/// Process IDs below these are those inside a namespace, or that of init: they mean something. So does
/// an exit status, which is never above 255. The kernel gives none above 4194304 (proc_sys_kernel(5)).
const PIDS: std::ops::RangeInclusive<u64> = 256..=4_194_304;

/// Inode numbers below this are those of a root folder, or of the first files in a new file system.
const FIRST_VOLATILE_INODE: u64 = 256;

/// Counts of processes from here on are those of a whole machine.
const MANY: u64 = 20;

/// The inode numbers that the kernel gives to namespaces. The number above all, which a uid_map shows,
/// is none.
const NAMESPACES: std::ops::Range<u64> = 0xEFFF_FFF8..0xFFFF_FFFF;

/// What is volatile wherever it stands, one alternative a line, the first that fits; last, any number.
static VOLATILE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?x)
        (?<mapped>[r-][w-][x-][ps]\ [0-9a-f]{8}\ [0-9a-f]+:[0-9a-f]+\b)
        | (?<device>\bdevice\ \d+:\d+\b)
        | (?<time>
            \b\d{4}-\d\d-\d\d[T\ ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|\ ?[+-]\d\d:?\d\d)?
          | \b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\ \d{1,2}\ (?:\d\d:\d\d(?::\d\d)?(?:\ \d{4})?|\d{4})\b
          | \b\d{1,3}:\d\d(?::\d\d)?(?:\.\d+)?\b
          | \b\d+\.\d+\ ?(?:s|ms|µs|us|ns|seconds)\b
          | \b(?:within|after)\ \d+\ ms\b | \b\d+\ ms\ after\b
        )
        | (?<memory>
            \b(?:Vm|Rss|Pss|Shared|Private|Size)[A-Za-z_]*:\ [1-9]\d*\ kB
          | \b(?:total-vm|anon-rss|file-rss|pgtables):[1-9]\d*kB
          | \bmemory\.(?:usage_in_bytes|current)\ \d+
          | \bread\ \d+\ KiB
        )
        | (?<counter>\bmemory\.(?:failcnt|events\ max)\ \d+\ ->\ [1-9]\d*)
        | (?<at>\b[0-9a-f]{8,16}-[0-9a-f]{8,16}\b | \b0x[0-9a-f]{9,16}\b | \bpage\ 0x[0-9a-f]+\b)
        | (?<id>\b(?:[0-9a-f]{12}|[0-9a-f]{64})\b)
        | (?<temporary>(?:\btmp\.|\.tmp)[A-Za-z0-9]{6,12}\b)
        | (?<amount>\b\d+\ ?(?:[KMG]i?B|kB|B|bytes|%|ms|µs|us|ns|s)\b)
        | (?<number>\b\d+\b)
        ",
    )
    .expect("a pattern")
});

/// What says of the numbers in its first group what they are.
static TOLD: LazyLock<[(Kind, Regex); 9]> = LazyLock::new(|| {
    let told = |kind, pattern| (kind, Regex::new(pattern).expect("a pattern"));
    let named = r"(?i)\b(?:[a-z]*pid|tid|tgid|pgid|sid|process|child|parent|cgroup\.proc)s?\b ?[:=#]? ?((?:\d+\b,? ?)+)";
    [
        told(Kind::Pid, named),
        told(Kind::Pid, r"(?:/proc/|\bas )(\d+)"),
        told(Kind::Pid, r"(?:\b[a-z][\w.-]*|\{[\w.-]+\})\((\d+)\)"),
        told(Kind::Pid, r"\b(\d+) (?:has|is|was|exits|exited|ends|ended|waits)\b"),
        told(Kind::Pid, r"Killed process (\d+)"),
        told(Kind::Pid, r"\b(?:judged:|saw|child of) [a-z][\w.-]* (\d+)\b"),
        told(Kind::Inode, r"(?i)\b(?:inode|ino)s?\b ?[:=#]? ?(\d+)"),
        told(Kind::Many, r"\b(\d+) (?:other )?processes\b"),
        told(Kind::Many, r"\b(\d+) in yours\b"),
    ]
});

/// Commands that print process IDs and nothing that says so.
static PRINTS_PIDS: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"\$!|\$\$|\$PPID|BASHPID|State\.Pid|\bpidof\b|\bpgrep\b|cgroup\.procs|/tasks\b";
    Regex::new(pattern).expect("a pattern")
});

/// What a number can be that is not the same twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Pid,
    Namespace,
    Inode,
    Many,
    Id,
    Device,
    Address,
    Temporary,
}

impl Kind {
    /// Whether a number of this kind is another one in each run.
    fn is_volatile(self, number: u64) -> bool {
        match self {
            Kind::Pid => PIDS.contains(&number),
            Kind::Inode => number >= FIRST_VOLATILE_INODE,
            Kind::Many => number >= MANY,
            _ => true,
        }
    }
}

/// The numbers in `text` that something says to be volatile, with what they are.
fn kinds(text: &str) -> HashMap<String, Kind> {
    let mut kinds = HashMap::new();
    let mut note = |kind: Kind, numbers: &str| {
        for number in numbers.split(|c: char| !c.is_ascii_digit()) {
            if number.parse().is_ok_and(|n| kind.is_volatile(n)) {
                kinds.entry(number.to_owned()).or_insert(kind);
            }
        }
    };
    for (kind, pattern) in &*TOLD {
        pattern.captures_iter(text).for_each(|found| note(*kind, &found[1]));
    }
    printed_alone(text).for_each(|line| note(Kind::Pid, line));
    in_tables(text).into_iter().for_each(|(kind, number)| note(kind, number));
    kinds
}

/// The lines of nothing but numbers that a command printed which prints process IDs.
fn printed_alone(text: &str) -> impl Iterator<Item = &str> {
    let mut prints = false;
    text.lines().filter(move |line| {
        if line.starts_with("$ ") {
            prints = PRINTS_PIDS.is_match(line);
        } else if line.starts_with("> ") {
            prints |= PRINTS_PIDS.is_match(line);
        }
        prints && line.chars().all(|c| c.is_ascii_digit() || c == ' ')
    })
}

/// The entries of a table below a heading that says what they are, as ps(1) and lsns(8) print it.
fn in_tables(text: &str) -> Vec<(Kind, &str)> {
    let mut columns = Vec::new();
    let mut found = Vec::new();
    for line in text.lines() {
        let words: Vec<_> = line.split(' ').collect();
        if line.starts_with("$ ") {
            columns.clear();
        } else if words.contains(&"PID") && line == line.to_uppercase() {
            columns = words.iter().map(|word| column(word)).collect();
        } else {
            let entries = columns.iter().zip(words);
            found.extend(entries.filter_map(|(kind, word)| kind.map(|kind| (kind, word))));
        }
    }
    found
}

fn column(heading: &str) -> Option<Kind> {
    match heading {
        "PID" | "PPID" | "PGID" | "SID" | "TGID" | "LWP" | "SPID" => Some(Kind::Pid),
        "NS" => Some(Kind::Namespace),
        _ => None,
    }
}

/// The names given to values so far.
struct Names {
    kinds: HashMap<String, Kind>,
    given: HashMap<(Kind, String), usize>,
    count: HashMap<Kind, usize>,
}

impl Names {
    /// What stands in the place of what was found.
    fn name(&mut self, found: &Captures) -> String {
        let whole = &found[0];
        let is = |group| found.name(group).is_some();
        if is("time") {
            "<time>".to_owned()
        } else if is("memory") {
            whole.split([' ', ':']).next().unwrap_or_default().to_owned() + " <memory>"
        } else if is("counter") {
            whole.rsplit_once(' ').unwrap_or_default().0.to_owned() + " <counted>"
        } else if is("mapped") {
            // Where a file is mapped from depends on how it was built.
            whole.split(' ').next().unwrap_or_default().to_owned() + " <offset> <device>"
        } else if is("device") {
            self.renamed(Kind::Device, whole)
        } else if is("at") {
            self.renamed(Kind::Address, whole)
        } else if is("id") && whole.contains(|c: char| c.is_ascii_alphabetic()) {
            // An engine shows the first twelve digits of a longer identifier.
            self.renamed(Kind::Id, &whole[..12])
        } else if is("temporary") {
            self.renamed(Kind::Temporary, whole)
        } else if is("amount") {
            whole.to_owned()
        } else {
            self.number(whole)
        }
    }

    fn number(&mut self, whole: &str) -> String {
        let namespace = whole.parse().is_ok_and(|number| NAMESPACES.contains(&number));
        let kind = if namespace { Some(Kind::Namespace) } else { self.kinds.get(whole).copied() };
        kind.map_or_else(|| whole.to_owned(), |kind| self.renamed(kind, whole))
    }

    fn renamed(&mut self, kind: Kind, value: &str) -> String {
        if kind == Kind::Many {
            return "<many>".to_owned();
        }
        let count = self.count.entry(kind).or_default();
        let number = self.given.entry((kind, value.to_owned())).or_insert_with(|| {
            *count += 1;
            *count
        });
        format!("<{kind:?} {number}>")
    }
}
