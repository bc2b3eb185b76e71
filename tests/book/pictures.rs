//! The pictures: text, in words too, and readable on a light page and on a dark one.

use roxmltree::{Document, Node};

use crate::sources;

/// The background of the page in mdBook's themes: light and rust, navy, coal and ayu.
const PAGES: [&str; 5] = ["#ffffff", "#e1e1db", "#161923", "#141617", "#0f1419"];

/// The least contrast, as WCAG 2 measures it, of a line or of large words.
const LEAST: f64 = 3.0;

/// The least contrast of words on a box, where a better colour can be chosen.
const LEAST_ON_BOX: f64 = 4.5;

/// What is wrong with the picture, in the order of the text.
fn faults(text: &str) -> Vec<String> {
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => return vec![error.to_string()],
    };
    let root = document.root_element();
    let title = root
        .first_element_child()
        .filter(|first| first.has_tag_name(("http://www.w3.org/2000/svg", "title")));
    let mut faults = Vec::new();
    if title.and_then(|title| title.text()).is_none_or(|title| title.trim().is_empty()) {
        faults.push("does not begin with a <title>".to_owned());
    }
    if root.attribute("viewBox").is_none() {
        faults.push("no viewBox".to_owned());
    }
    faults.extend(root.descendants().filter(Node::is_element).flat_map(faults_of));
    faults
}

fn faults_of(node: Node) -> Vec<String> {
    let name = node.tag_name().name();
    let mut faults = Vec::new();
    if ["style", "script", "image", "foreignObject"].contains(&name) || node.has_attribute("style")
    {
        faults.push(format!("<{name}>: only shapes and words, with their colours as attributes"));
    }
    faults.extend(
        node.attributes()
            .filter(|a| a.name() == "href" && !a.value().starts_with('#'))
            .map(|a| a.value().to_owned()),
    );
    for &attribute in paints(node) {
        let value = inherited(node, attribute).unwrap_or(if attribute == "fill" {
            "#000000"
        } else {
            "none"
        });
        if value != "none" && !value.starts_with("url(#") {
            faults.extend(
                unreadable(node, value)
                    .map(|why| format!("<{name} {attribute}=\"{value}\">: {why}")),
            );
        }
    }
    faults
}

/// The attributes whose colours have to stand out: words are filled, lines are stroked. A box may be as
/// faint as it likes.
fn paints(node: Node) -> &'static [&'static str] {
    match node.tag_name().name() {
        "text" | "tspan" => &["fill"],
        "path" | "line" | "polyline" | "rect" | "circle" | "ellipse" | "polygon" => &["stroke"],
        _ => &[],
    }
}

fn inherited<'a>(node: Node<'a, '_>, attribute: &str) -> Option<&'a str> {
    node.ancestors().find_map(|node| node.attribute(attribute))
}

/// Why `colour` cannot be read where `node` stands: on the box that `data-on` names, or on the page.
fn unreadable(node: Node, colour: &str) -> Option<String> {
    let Some(luminance) = luminance(colour) else {
        return Some("not a colour of the form #rrggbb".to_owned());
    };
    let on_box = inherited(node, "data-on");
    if let Some(backdrop) = on_box {
        let shapes =
            node.document().descendants().filter(|n| n.attribute("fill") == Some(backdrop));
        if shapes.filter(|shape| paints(*shape) == ["stroke"]).count() == 0 {
            return Some(format!("nothing is filled with {backdrop}"));
        }
    }
    let least = if on_box.is_some() { LEAST_ON_BOX } else { LEAST };
    let backdrops = on_box.map_or(PAGES.to_vec(), |one| vec![one]);
    let poor = backdrops
        .into_iter()
        .find(|b| contrast(luminance, self::luminance(b).unwrap_or(luminance)) < least);
    poor.map(|backdrop| format!("cannot be read on {backdrop}"))
}

/// The relative luminance of `#rrggbb`, from 0 to 1, as WCAG 2 defines it.
fn luminance(colour: &str) -> Option<f64> {
    let hex = colour.strip_prefix('#').filter(|hex| hex.len() == 6)?;
    let channel = |at: usize| {
        let value = f64::from(u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()?) / 255.0;
        Some(if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) })
    };
    Some(0.2126 * channel(0)? + 0.7152 * channel(2)? + 0.0722 * channel(4)?)
}

fn contrast(one: f64, other: f64) -> f64 {
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn every_picture_can_be_read_on_a_light_page_and_on_a_dark_one() {
    for picture in sources::pictures() {
        let faults = faults(&sources::text(&picture));
        assert!(faults.is_empty(), "{}: {faults:#?}", picture.display());
    }
}

#[test]
fn every_picture_is_shown_by_a_page() {
    let pages: String = sources::pages().iter().map(|page| sources::text(page)).collect();
    for picture in sources::pictures() {
        let name = format!("(images/{}.svg)", sources::stem(&picture));
        assert!(pages.contains(&name), "no page shows {}", picture.display());
    }
}

fn picture(inside: &str) -> String {
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><title>A box</title>{inside}</svg>"#
    )
}

#[test]
fn a_readable_picture_has_no_faults() {
    for inside in [
        r##"<g fill="#808080"><text>word</text></g>"##,
        r##"<rect fill="#eeeeee" stroke="#1c7ed6"/>"##,
        r##"<rect fill="#1864ab"/><g data-on="#1864ab"><text fill="#ffffff">word</text></g>"##,
    ] {
        assert_eq!(faults(&picture(inside)), [""; 0], "{inside}");
    }
}

#[test]
fn an_unreadable_picture_has_faults() {
    for inside in [
        "<text>black by default</text>",
        r#"<text fill="white">by name</text>"#,
        r#"<text fill="currentColor">black in an image</text>"#,
        r##"<text fill="#eeeeee">faint on a light page</text>"##,
        r##"<line stroke="#222222"/>"##,
        r##"<text data-on="#1864ab" fill="#ffffff">on a box that is not there</text>"##,
        r##"<rect fill="#1864ab"/><text data-on="#1864ab" fill="#1c7ed6">blue on blue</text>"##,
        "<style>text { fill: red }</style>",
        r#"<use href="https://example.org/a.svg"/>"#,
    ] {
        assert_eq!(faults(&picture(inside)).len(), 1, "{inside}");
    }
    assert!(!faults("<svg><g></svg>").is_empty());
    assert_eq!(faults(r#"<svg xmlns="http://www.w3.org/2000/svg"/>"#).len(), 2);
}
