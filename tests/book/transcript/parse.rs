//! The transcripts of a chapter: what was typed and what a terminal showed, in order.

use std::ops::Range;

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag};

/// A `console` block with the comment before it that makes it a transcript.
#[derive(Debug)]
pub(crate) struct Transcript {
    /// What of the machine it needs, as `tests/support` names it.
    pub(crate) needs: Vec<String>,
    /// Whether it is run without privileges.
    pub(crate) ordinary: bool,
    /// Whether it goes on where the one before it on the page ended.
    pub(crate) continued: bool,
    /// The commands, each with what it printed.
    pub(crate) steps: Vec<Step>,
    /// The bytes of the chapter between the fences.
    pub(crate) body: Range<usize>,
}

/// One command and what it printed.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Step {
    /// What was typed; the lines of one command are joined by newlines.
    pub(crate) command: String,
    /// What the terminal then showed, each line ended by a newline.
    pub(crate) output: String,
}

impl Transcript {
    /// What stands between the fences when the commands print `outputs`.
    pub(crate) fn with_outputs(&self, outputs: &[String]) -> String {
        let steps = self.steps.iter().zip(outputs);
        steps.map(|(step, output)| format!("{}{output}", step.prompt())).collect()
    }

    /// What stands between the fences now.
    pub(crate) fn text(&self) -> String {
        self.steps.iter().map(|step| format!("{}{}", step.prompt(), step.output)).collect()
    }
}

impl Step {
    /// The command as a terminal shows it, with its prompts.
    fn prompt(&self) -> String {
        format!("$ {}\n", self.command.replace('\n', "\n> "))
    }
}

/// The transcripts of `chapter`, or what is wrong with its `console` blocks.
pub(crate) fn transcripts(chapter: &str) -> Result<Vec<Transcript>, String> {
    let mut found = Vec::new();
    let mut comment = (String::new(), 0);
    for (event, range) in Parser::new(chapter).into_offset_iter() {
        match event {
            Event::Html(html) => comment = (html.to_string(), range.end),
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(kind))) if &*kind == "console" => {
                let before = (comment.1 == range.start).then_some(comment.0.trim());
                found.push(transcript(chapter, range, before.unwrap_or_default())?);
            }
            _ => {}
        }
    }
    Ok(found)
}

fn transcript(chapter: &str, block: Range<usize>, comment: &str) -> Result<Transcript, String> {
    let text = &chapter[block.clone()];
    let line = chapter[..block.start].lines().count() + 1;
    let start = text.find('\n').map_or(text.len(), |end| end + 1);
    let end = text.trim_end().rfind('\n').map_or(start, |end| end + 1);
    let marked = comment.strip_prefix("<!-- transcript").and_then(|rest| rest.strip_suffix("-->"));
    let marked = marked.ok_or(format!("line {line}: a console block that is not a transcript"))?;
    let told = |why: String| format!("line {line}: {why}");
    let mut transcript = Transcript {
        needs: Vec::new(),
        ordinary: false,
        continued: false,
        steps: steps(&text[start..end]).map_err(told)?,
        body: block.start + start..block.start + end,
    };
    for word in marked.split_whitespace() {
        match word.split_once('=') {
            Some(("needs", needs)) => {
                transcript.needs = needs.split(',').map(str::to_owned).collect();
            }
            Some(("as", "ordinary")) => transcript.ordinary = true,
            None if word == "continued" => transcript.continued = true,
            _ => return Err(told(format!("'{word}' means nothing in a transcript's comment"))),
        }
    }
    Ok(transcript)
}

fn steps(body: &str) -> Result<Vec<Step>, String> {
    let mut steps: Vec<Step> = Vec::new();
    for line in body.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { command: command.to_owned(), output: String::new() });
            continue;
        }
        let step = steps.last_mut().ok_or(format!("'{line}' comes before any command"))?;
        match line.strip_prefix("> ").filter(|_| step.output.is_empty()) {
            Some(more) => step.command.extend(["\n", more]),
            None => step.output.extend([line, "\n"]),
        }
    }
    if steps.is_empty() { Err("a transcript without a command".to_owned()) } else { Ok(steps) }
}

#[test]
fn commands_and_their_output_are_told_apart() {
    let chapter = "Text.\n\n<!-- transcript needs=root,docker -->\n```console\n$ a\none\n\n$ b \\\n> c\n```\n";
    let found = transcripts(chapter).expect("a transcript");
    let [transcript] = &found[..] else { panic!("{found:?}") };
    assert_eq!(transcript.needs, ["root", "docker"]);
    let step =
        |command: &str, output: &str| Step { command: command.into(), output: output.into() };
    assert_eq!(transcript.steps, [step("a", "one\n\n"), step("b \\\nc", "")]);
    assert_eq!(&chapter[transcript.body.clone()], transcript.text());
}

#[test]
fn a_console_block_without_the_comment_directly_before_it_is_refused() {
    for chapter in [
        "```console\n$ a\n```\n",
        "<!-- transcript -->\n\nText.\n\n```console\n$ a\n```\n",
        "<!-- a remark -->\n```console\n$ a\n```\n",
        "<!-- transcript with=luck -->\n```console\n$ a\n```\n",
        "<!-- transcript -->\n```console\nno command\n```\n",
    ] {
        assert!(transcripts(chapter).is_err(), "{chapter}");
    }
}

#[test]
fn a_block_inside_another_block_is_not_a_transcript() {
    let chapter = "````markdown\n<!-- transcript -->\n```console\n$ a\n```\n````\n";
    assert!(transcripts(chapter).expect("no error").is_empty());
}
