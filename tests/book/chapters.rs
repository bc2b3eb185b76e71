//! The shape of the chapters: headings, sections, the table of contents.

use std::path::PathBuf;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use rstest::rstest;

use crate::sources;

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

/// The chapters have numbers; the introduction and what stands at the end have none.
fn chapters() -> Vec<(String, String)> {
    contents()
        .into_iter()
        .filter(|(title, _)| title.starts_with(|c: char| c.is_ascii_digit()))
        .collect()
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
fn every_chapter_has_all_sections_in_their_order() {
    for (_, file) in chapters() {
        let headings = headings(&sources::text(&sources::root().join("book/src").join(&file)));
        let ids = headings.iter().filter(|h| h.level == HeadingLevel::H2).map(|h| h.id.clone());
        assert_eq!(ids.map(Option::unwrap_or_default).collect::<Vec<_>>(), SECTIONS, "{file}");
    }
}

#[test]
fn every_chapter_opens_with_a_question_and_a_picture() {
    for (_, file) in chapters() {
        let text = sources::text(&sources::root().join("book/src").join(&file));
        let opening = text.split("\n## ").next().unwrap_or_default();
        let pictures = |event: &Event| matches!(event, Event::Start(Tag::Image { .. }));
        assert!(opening.contains('?'), "{file} asks nothing before its first section");
        assert!(
            Parser::new(opening).any(|event| pictures(&event)),
            "{file} opens without a picture"
        );
    }
}
