//! The shape of the chapters: headings, sections, the table of contents.

use std::path::PathBuf;

use podlab::course::{self, CHAPTERS, Chapter, Lab};
use podlab::exercises;
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use rstest::rstest;

use crate::sources;
use crate::transcript::{Step, transcripts};

/// The sections of a chapter, in their order, by the ids of their headings.
const SECTIONS: [&str; 6] =
    ["experiment", "in-docker", "mistakes", "predict", "exercise", "read-on"];

/// A heading as the page has it.
struct Heading {
    level: HeadingLevel,
    id: Option<String>,
    title: String,
}

fn headings(text: &str) -> Vec<Heading> {
    let mut found: Vec<Heading> = Vec::new();
    let mut inside = false;
    for event in Parser::new_ext(text, Options::ENABLE_HEADING_ATTRIBUTES) {
        match event {
            Event::Start(Tag::Heading { level, id, .. }) => {
                inside = true;
                found.push(Heading { level, id: id.map(String::from), title: String::new() });
            }
            Event::End(TagEnd::Heading(_)) => inside = false,
            Event::Text(part) | Event::Code(part) if inside => {
                found.last_mut().expect("inside a heading").title.push_str(&part);
            }
            _ => {}
        }
    }
    found
}

/// The title and the file of each entry of the table of contents.
fn contents() -> Vec<(String, String)> {
    let text = sources::text(&sources::root().join("book/src/SUMMARY.md"));
    let mut entries: Vec<(String, String)> = Vec::new();
    let mut inside = false;
    for event in Parser::new(&text) {
        match event {
            Event::Start(Tag::Link { dest_url, .. }) => {
                inside = true;
                entries.push((String::new(), dest_url.to_string()));
            }
            Event::End(TagEnd::Link) => inside = false,
            Event::Text(part) | Event::Code(part) if inside => {
                entries.last_mut().expect("inside a link").0.push_str(&part);
            }
            _ => {}
        }
    }
    entries
}

/// The text of each chapter of the course, with the chapter.
fn chapters() -> impl Iterator<Item = (&'static Chapter, String)> {
    let folder = sources::root().join("book/src");
    CHAPTERS.iter().map(move |chapter| {
        (chapter, sources::text(&folder.join(chapter.stem).with_extension("md")))
    })
}

#[rstest]
fn every_heading_has_an_explicit_id(
    #[files("../book/src/*.md")]
    #[exclude("SUMMARY")]
    page: PathBuf,
) {
    for heading in headings(&sources::text(&page)) {
        assert!(heading.id.is_some(), "{}: {} has no {{#id}}", page.display(), heading.title);
    }
}

#[test]
fn the_table_of_contents_names_every_page_by_its_title() {
    let mut listed = Vec::new();
    for (title, file) in contents() {
        let page = sources::root().join("book/src").join(&file);
        let headings = headings(&sources::text(&page));
        let first = headings.first().unwrap_or_else(|| panic!("{file} has no heading"));
        assert_eq!((first.level, &first.title), (HeadingLevel::H1, &title), "{file}");
        listed.push(page);
    }
    listed.sort();
    let pages = sources::pages().into_iter().filter(|page| !page.ends_with("SUMMARY.md"));
    assert_eq!(listed, pages.collect::<Vec<_>>());
}

#[test]
fn every_page_in_the_table_of_contents_is_built() {
    for (_, file) in contents() {
        assert!(
            sources::built().get(&file.replace(".md", ".html")).is_some(),
            "mdBook passes over {file}"
        );
    }
}

#[test]
fn the_table_of_contents_has_the_chapters_of_the_course() {
    let numbered = |(title, _): &(String, String)| title.starts_with(|c: char| c.is_ascii_digit());
    let expected = CHAPTERS.iter().map(|chapter| {
        (format!("{}. {}", chapter.number, chapter.title), format!("{}.md", chapter.stem))
    });
    assert_eq!(
        contents().into_iter().filter(numbered).collect::<Vec<_>>(),
        expected.collect::<Vec<_>>()
    );
}

#[test]
fn every_chapter_has_all_sections_in_their_order() {
    for (chapter, text) in chapters() {
        let headings = headings(&text);
        let ids = headings.iter().filter(|h| h.level == HeadingLevel::H2).map(|h| h.id.clone());
        assert_eq!(
            ids.map(Option::unwrap_or_default).collect::<Vec<_>>(),
            SECTIONS,
            "{}",
            chapter.stem
        );
    }
}

#[test]
fn every_chapter_opens_with_a_question_and_a_picture() {
    for (Chapter { stem, .. }, text) in chapters() {
        let opening = text.split("\n## ").next().unwrap_or_default();
        let picture = |event: &Event| matches!(event, Event::Start(Tag::Image { .. }));
        assert!(opening.contains('?'), "{stem} asks nothing before its first section");
        assert!(
            Parser::new(opening).any(|event| picture(&event)),
            "{stem} opens without a picture"
        );
    }
}

#[test]
fn every_chapter_quotes_its_labs_and_runs_them() {
    for (Chapter { stem, labs, .. }, text) in chapters() {
        let transcripts = transcripts(&text).expect("transcripts");
        for Lab { name, .. } in *labs {
            assert!(text.contains(&format!("bin/{name}.rs:")), "{stem} does not quote {name}");
            let runs = |step: &Step| step.command.split([' ', '\n']).any(|word| word == *name);
            let run = transcripts.iter().flat_map(|transcript| &transcript.steps).any(runs);
            assert!(run, "no transcript in {stem} runs {name}");
        }
    }
}

#[test]
fn every_exercise_is_named_where_its_chapter_sets_it() {
    for (chapter, text) in chapters() {
        let section = text.split("\n## ").find(|section| section.contains("{#exercise}"));
        for exercise in chapter.exercises() {
            let named = section.is_some_and(|section| section.contains(exercise.id));
            assert!(named, "{} does not name {}", chapter.stem, exercise.id);
        }
    }
}

#[test]
fn every_exercise_has_its_chapter() {
    let stray =
        exercises::ALL.iter().filter(|exercise| course::chapter(exercise.chapter).is_none());
    assert_eq!(stray.map(|exercise| exercise.id).collect::<Vec<_>>(), [""; 0]);
}
