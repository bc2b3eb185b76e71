//! The code that pages quote. mdBook is silent where an anchor is missing, and shows an empty block.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use regex::Regex;
use rstest::rstest;

use crate::sources;

/// `{{#include FILE:ANCHOR}}` in a page.
struct Quote {
    file: PathBuf,
    anchor: String,
}

/// The quotes in `page`, or the first directive that is none. One behind a backslash is shown as it is.
fn quotes(page: &Path) -> Result<Vec<Quote>, String> {
    let directive = Regex::new(r"(\\?)\{\{\s*#(.*?)\}\}").expect("a pattern");
    let folder = page.parent().expect("a page is in a folder");
    let text = sources::text(page);
    let directives = directive.captures_iter(&text).filter(|found| found[1].is_empty());
    directives
        .map(|found| {
            let rest = found[2].strip_prefix("include ").and_then(|rest| rest.split_once(':'));
            let (file, anchor) = rest.ok_or(format!("{}: not an include by anchor", &found[0]))?;
            Ok(Quote { file: folder.join(file.trim()), anchor: anchor.trim().to_owned() })
        })
        .collect()
}

/// What stands between the two ends of `anchor` in `source`.
fn quoted<'s>(source: &'s str, anchor: &str) -> Result<&'s str, String> {
    let marks = Regex::new(r"(?m)^.*ANCHOR(?:_END)?:.*$").expect("a pattern");
    let one_of = |kind: &str| {
        let word =
            Regex::new(&format!(r"\b{kind}:\s*{}\s*$", regex::escape(anchor))).expect("a pattern");
        let mut found = marks.find_iter(source).filter(|mark| word.is_match(mark.as_str()));
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(format!("no {kind}: {anchor}")),
            _ => Err(format!("more than one {kind}: {anchor}")),
        }
    };
    let (start, end) = (one_of("ANCHOR")?.end(), one_of("ANCHOR_END")?.start());
    let between = source.get(start..end).ok_or(format!("{anchor} ends before it starts"))?;
    if marks.is_match(between) {
        return Err(format!("another anchor inside {anchor}"));
    }
    if between.trim().is_empty() {
        return Err(format!("nothing in {anchor}"));
    }
    Ok(between)
}

#[rstest]
fn every_quote_is_of_code_that_is_there(#[files("../book/src/*.md")] page: PathBuf) {
    for Quote { file, anchor } in
        quotes(&page).unwrap_or_else(|e| panic!("{}: {e}", page.display()))
    {
        if let Err(error) = quoted(&sources::text(&file), &anchor) {
            panic!("{}: {}: {error}", page.display(), file.display());
        }
    }
}

#[test]
fn every_lab_is_in_a_chapter_of_the_course() {
    let of_chapters: BTreeSet<_> = podlab::course::labs().map(|lab| lab.name).collect();
    let labs = sources::labs();
    assert_eq!(labs.iter().map(|lab| sources::stem(lab)).collect::<BTreeSet<_>>(), of_chapters);
}

#[test]
fn an_anchor_gives_what_is_between_its_ends() {
    let source = "a\n// ANCHOR: one\nb\n// ANCHOR_END: one\n// ANCHOR: one-more\nc\n// ANCHOR_END: one-more\n";
    assert_eq!(quoted(source, "one").map(str::trim), Ok("b"));
    assert_eq!(quoted(source, "one-more").map(str::trim), Ok("c"));
}

#[rstest]
#[case::missing("// ANCHOR: other\nb\n// ANCHOR_END: other\n")]
#[case::without_end("// ANCHOR: one\nb\n")]
#[case::twice("// ANCHOR: one\nb\n// ANCHOR_END: one\n// ANCHOR: one\nb\n// ANCHOR_END: one\n")]
#[case::empty("// ANCHOR: one\n\n// ANCHOR_END: one\n")]
#[case::nested("// ANCHOR: one\nb\n// ANCHOR: two\nc\n// ANCHOR_END: two\n// ANCHOR_END: one\n")]
#[case::backwards("// ANCHOR_END: one\nb\n// ANCHOR: one\n")]
fn an_anchor_that_gives_nothing_is_found(#[case] source: &str) {
    assert!(quoted(source, "one").is_err());
}
