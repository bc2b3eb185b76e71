//! The built pages: every link, fragment and asset leads somewhere, and nothing comes from elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use podlab::book::Pages;
use regex::Regex;
use scraper::{Html, Selector};

use crate::sources::built;

/// A page with the ids that a fragment can name.
struct Page {
    html: Html,
    ids: BTreeSet<String>,
}

fn selector(pattern: &str) -> Selector {
    Selector::parse(pattern).expect("a selector")
}

fn html(pages: &Pages) -> BTreeMap<String, Page> {
    let pages = pages.iter().filter(|(path, _)| path.ends_with(".html"));
    pages.map(|(path, data)| (path.to_owned(), Page::of(&String::from_utf8_lossy(data)))).collect()
}

impl Page {
    fn of(text: &str) -> Page {
        let html = Html::parse_document(text);
        let ids = html
            .select(&selector("[id]"))
            .filter_map(|e| e.attr("id"))
            .map(str::to_owned)
            .collect();
        Page { html, ids }
    }

    /// The values of `attribute` of the elements that `pattern` selects.
    fn all(&self, pattern: &str, attribute: &str) -> Vec<&str> {
        self.html.select(&selector(pattern)).filter_map(|e| e.attr(attribute)).collect()
    }
}

/// The path in the book that `link` on the page `from` leads to, and the fragment. Nothing above the
/// book's own folder can be reached.
fn target(from: &str, link: &str) -> Option<(String, Option<String>)> {
    let (path, fragment) =
        link.split_once('#').map_or((link, None), |(p, f)| (p, Some(f.to_owned())));
    let path = path.split('?').next().unwrap_or_default();
    if path.is_empty() {
        return Some((from.to_owned(), fragment));
    }
    let mut parts: Vec<_> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some((parts.join("/"), fragment))
}

/// Why `link` on the page `from` leads nowhere, if it does.
fn fault(pages: &Pages, html: &BTreeMap<String, Page>, from: &str, link: &str) -> Option<String> {
    let Some((path, fragment)) = target(from, link) else {
        return Some(format!("{from}: {link}: out of the book"));
    };
    if pages.get(&path).is_none() {
        return Some(format!("{from}: {link}: no such page"));
    }
    let fragment = fragment.filter(|fragment| !fragment.is_empty())?;
    let found = html.get(&path).is_some_and(|page| page.ids.contains(&fragment));
    (!found).then(|| format!("{from}: {link}: no such place on the page"))
}

fn has_scheme(link: &str) -> bool {
    link.starts_with("//")
        || link.split(['/', '#', '?']).next().is_some_and(|part| part.contains(':'))
}

#[test]
fn every_link_inside_the_book_leads_to_a_place_in_it() {
    let pages = built();
    let html = html(pages);
    let links = html
        .iter()
        .flat_map(|(from, page)| page.all("a[href]", "href").into_iter().map(move |l| (from, l)));
    let inside = links.filter(|(_, link)| !has_scheme(link));
    let faults: Vec<_> =
        inside.filter_map(|(from, link)| fault(pages, &html, from, link)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_link_out_of_the_book_is_a_web_address() {
    let address = Regex::new(r"^https?://[a-z0-9.-]+\.[a-z]+(/[^\s]*)?$").expect("a pattern");
    let outside = |page: &Page| -> Vec<String> {
        page.all("a[href]", "href")
            .into_iter()
            .filter(|l| has_scheme(l))
            .map(str::to_owned)
            .collect()
    };
    let pages = built();
    let links: BTreeSet<_> = html(pages).values().flat_map(outside).collect();
    let (good, bad): (Vec<_>, Vec<_>) = links.iter().partition(|link| address.is_match(link));
    println!("not fetched: {good:#?}");
    assert!(bad.is_empty(), "{bad:#?}");
}

#[test]
fn everything_a_page_shows_or_runs_comes_from_the_book() {
    let pages = built();
    let html = html(pages);
    let loaded = [
        ("img", "src"),
        ("script", "src"),
        ("link", "href"),
        ("iframe", "src"),
        ("object", "data"),
    ];
    for (from, page) in &html {
        for link in loaded.iter().flat_map(|(pattern, attribute)| page.all(pattern, attribute)) {
            assert!(!has_scheme(link), "{from}: {link}: from elsewhere");
            assert_eq!(fault(pages, &html, from, link), None);
        }
    }
}

#[test]
fn everything_a_style_sheet_names_comes_from_the_book() {
    let pages = built();
    let url = Regex::new(r#"url\(\s*["']?([^"')]+)["']?\s*\)"#).expect("a pattern");
    for (from, data) in pages.iter().filter(|(path, _)| path.ends_with(".css")) {
        for found in url.captures_iter(&String::from_utf8_lossy(data)) {
            assert_eq!(fault(pages, &BTreeMap::new(), from, &found[1]), None);
        }
    }
}

#[test]
fn every_picture_says_in_words_what_it_shows() {
    for (path, page) in html(built()) {
        for picture in page.html.select(&selector("img")) {
            let words = picture.attr("alt").unwrap_or_default().split_whitespace().count();
            assert!(words > 2, "{path}: {:?} has no text alternative", picture.attr("src"));
        }
    }
}

#[test]
fn a_link_is_followed_from_the_page_it_is_on() {
    let to =
        |path: &str, fragment: Option<&str>| Some((path.to_owned(), fragment.map(str::to_owned)));
    assert_eq!(target("a.html", "b.html#c"), to("b.html", Some("c")));
    assert_eq!(target("a.html", "#c"), to("a.html", Some("c")));
    assert_eq!(target("x/a.html", "../b.html?q"), to("b.html", None));
    assert_eq!(target("a.html", "../b.html"), None);
}

#[test]
fn a_broken_link_is_found() {
    let pages = built();
    let html = html(pages);
    for link in ["nowhere.html", "introduction.html#nowhere", "#nowhere", "../introduction.html"] {
        assert!(fault(pages, &html, "introduction.html", link).is_some(), "{link}");
    }
    assert_eq!(fault(pages, &html, "introduction.html", "contributing.html#a-chapter"), None);
}
