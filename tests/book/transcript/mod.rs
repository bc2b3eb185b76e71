//! Every transcript in the book is run, and must show what the page shows.
//!
//! `PODLAB_BLESS=1` writes what they show now into the chapters.

mod cases;
mod normal;
mod parse;
mod session;

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use rstest::rstest;

use crate::sources;
use crate::support::docker::ensure_busybox;
use crate::support::need::{Need, met};
use parse::Transcript;
pub(crate) use parse::{Step, transcripts};

#[rstest]
fn a_page_shows_what_a_terminal_shows(#[files("../book/src/*.md")] page: PathBuf) {
    let text = sources::text(&page);
    let transcripts = transcripts(&text).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
    let sessions = transcripts.chunk_by(|_, next| next.continued);
    let differing: Vec<_> = sessions.flat_map(differences).collect();
    if std::env::var_os("PODLAB_BLESS").is_some_and(|value| value == "1") {
        bless(&page, text, &differing);
    } else {
        assert!(
            differing.is_empty(),
            "{}",
            differing.iter().map(Difference::tell).collect::<String>()
        );
    }
}

/// A transcript that is not what the machine shows now.
struct Difference<'t> {
    transcript: &'t Transcript,
    now: Result<String, String>,
}

/// How the transcripts of one session differ from what the machine shows, if they can be run here.
fn differences(session: &[Transcript]) -> Vec<Difference<'_>> {
    let needs: Vec<_> = session[0].needs.iter().map(|name| Need::named(name)).collect();
    if !met(&needs) {
        return Vec::new();
    }
    if needs.contains(&Need::Docker) {
        ensure_busybox();
    }
    let mut outputs = match session::run(session) {
        Ok(outputs) => outputs.into_iter(),
        Err(why) => return vec![Difference { transcript: &session[0], now: Err(why) }],
    };
    let shown = session.iter().map(|transcript| {
        let outputs: Vec<_> = outputs.by_ref().take(transcript.steps.len()).collect();
        (transcript, transcript.with_outputs(&outputs))
    });
    shown
        .filter(|(transcript, now)| !normal::same(&transcript.text(), now))
        .map(|(transcript, now)| Difference { transcript, now: Ok(now) })
        .collect()
}

impl Difference<'_> {
    /// Both texts, and the first line in which they differ when volatile values have got their names.
    fn tell(&self) -> String {
        let page = self.transcript.text();
        let now = match &self.now {
            Ok(now) => now,
            Err(why) => return format!("\nthe page shows:\n{page}\nbut {why}\n"),
        };
        let (was, is) = (normal::normal(&page), normal::normal(now));
        let line = was.lines().zip(is.lines()).find(|(was, is)| was != is);
        let (was, is) = line.unwrap_or(("a line fewer", "or a line more"));
        format!(
            "\nthe page shows:\n{page}\nthe terminal shows:\n{now}\nfirst\n    {was}\nagainst\n    {is}\n"
        )
    }
}

/// Writes what the machine shows into `page`, from the last transcript to the first.
fn bless(page: &Path, mut text: String, differing: &[Difference]) {
    for Difference { transcript, now } in differing.iter().rev() {
        let now = now.as_ref().unwrap_or_else(|why| panic!("{}: {why}", page.display()));
        text.replace_range(transcript.body.clone(), now);
    }
    fs::write(page, text).expect("write the page");
}
