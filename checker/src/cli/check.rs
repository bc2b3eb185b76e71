//! `podlab check` and `podlab judge`.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::caller::Caller;
use crate::error::Error;
use crate::exercise::Exercise;
use crate::exercises;
use crate::facts::{Evidence, Request};
use crate::judge;
use crate::report::style::Style;
use crate::report::{Report, tap, text};
use crate::session::Session;

use super::{Done, Format, On, learner, lookup, print};

/// What `podlab check` takes.
#[derive(clap::Args)]
pub(super) struct CheckArgs {
    /// The exercises; the next unfinished one if none is named
    #[arg(value_parser = lookup::EXERCISE)]
    exercises: Vec<String>,
    /// All exercises
    #[arg(long, conflicts_with = "exercises")]
    all: bool,
    /// Judge this process
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(1..))]
    pid: Option<i32>,
    /// How to write the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write all that the verdict rests on to this file; one exercise only
    #[arg(long, value_name = "FILE")]
    evidence: Option<PathBuf>,
    #[command(flatten)]
    pub(super) on: On,
}

/// An evidence file larger than this is not read.
const MOST_BYTES: u64 = 256 << 20;

pub(super) fn check(session: &Session, args: &CheckArgs, style: Style) -> Result<Done, Error> {
    let chosen = chosen(session, args)?;
    if args.evidence.is_some() && chosen.len() != 1 {
        return Err(Error::new("--evidence takes one exercise at a time")
            .hint("name one: podlab check EXERCISE --evidence FILE"));
    }
    let mut judged = Vec::new();
    for exercise in chosen {
        let (judgement, evidence) = session.check(exercise, args.pid, &mut announce)?;
        // The verdict is worth more than its record.
        if let Err(error) = session.record(&judgement) {
            eprintln!("podlab: not kept: {error}");
        }
        if let Some(path) = &args.evidence {
            session.home.caller().with_rights(|| write_evidence(path, &evidence))?;
        }
        judged.push(judgement);
    }
    finish(&Report { on: session.machine.name(), ..Report::new(judged) }, args.format, style)
}

pub(super) fn judge_file(
    path: &Path,
    caller: &Caller,
    format: Format,
    style: Style,
) -> Result<Done, Error> {
    let mut evidence = caller.with_rights(|| read_evidence(path))?;
    let exercise = exercises::by_id(&evidence.exercise).ok_or_else(|| {
        Error::file(path, format!("no exercise named '{}'", shortened(&evidence.exercise)))
            .hint("it was recorded by another version of podlab")
    })?;
    let judgement = judge::judge(exercise, &mut evidence, &mut judge::recorded_only);
    finish(&Report::new(vec![judgement]), format, style)
}

fn chosen(session: &Session, args: &CheckArgs) -> Result<Vec<&'static Exercise>, Error> {
    if args.all {
        return Ok(exercises::ALL.iter().collect());
    }
    if args.exercises.is_empty() {
        return Ok(vec![learner::named_or_next(session, None)?]);
    }
    Ok(args.exercises.iter().map(|id| lookup::exercise(id)).collect())
}

fn announce(request: &Request) {
    if let Request::Terminate { process } = request {
        eprintln!("podlab: last, SIGTERM to process {}: it is asked to end", process.pid);
    }
}

fn finish(report: &Report, format: Format, style: Style) -> Result<Done, Error> {
    let rendered = match format {
        Format::Text => {
            let on = report.on.as_deref();
            let parts = report.exercises.iter().map(|judged| text::judgement(judged, on, style));
            parts.collect::<Vec<_>>().join("\n")
        }
        Format::Json => serde_json::to_string_pretty(report).expect("a report is JSON") + "\n",
        Format::Tap => tap::report(report),
    };
    print(&rendered)?;
    let outcomes = report.exercises.iter().map(|judged| judged.outcome);
    Ok(outcomes.map(Done::from).max_by_key(severity).unwrap_or(Done::Holds))
}

/// A failure says more than what could not be judged.
fn severity(done: &Done) -> u8 {
    match done {
        Done::Holds => 0,
        Done::CannotTell => 1,
        Done::Fails => 2,
    }
}

/// Writes beside the file and renames: a link in its place is replaced, not followed.
fn write_evidence(path: &Path, evidence: &Evidence) -> Result<(), Error> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // A device would be replaced by a file, for everyone.
    let is_special = |kind: std::fs::FileType| !kind.is_file() && !kind.is_symlink();
    if path.symlink_metadata().is_ok_and(|there| is_special(there.file_type())) {
        return Err(Error::file(path, "not a regular file").hint("name a file, new or old"));
    }
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer(&mut file, evidence)?;
        file.write_all(b"\n")?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|error| Error::file(path, error))
}

fn read_evidence(path: &Path) -> Result<Evidence, Error> {
    let mut content = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(MOST_BYTES).read_to_end(&mut content)
    } else {
        open_regular(path).and_then(|file| file.take(MOST_BYTES).read_to_end(&mut content))
    };
    read.map_err(|error| Error::file(path, error))?;
    let wrong = |why: String| {
        Error::file(path, format!("not evidence that podlab wrote: {}", shortened(&why)))
            .hint("record it again: podlab check EXERCISE --evidence FILE")
    };
    let evidence: Evidence =
        serde_json::from_slice(&content).map_err(|error| wrong(error.to_string()))?;
    if evidence.schema != Evidence::SCHEMA {
        return Err(wrong(format!("schema '{}', not '{}'", evidence.schema, Evidence::SCHEMA)));
    }
    Ok(evidence)
}

/// What a document of unknown origin holds may be of any length; an error is one line to be read.
fn shortened(text: &str) -> String {
    const MOST: usize = 200;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Opens without waiting for a writer, should it be a FIFO.
fn open_regular(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(std::io::Error::other("not a regular file"))
    }
}
