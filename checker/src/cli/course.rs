//! The list of the course.

use std::fmt::Write;

use serde::Serialize;

use crate::course::CHAPTERS;
use crate::progress::State;
use crate::report::style::{Style, Tone};

/// The document that `podlab list --json` writes.
#[derive(Serialize)]
struct List {
    schema: &'static str,
    chapters: Vec<ListedChapter>,
}

#[derive(Serialize)]
struct ListedChapter {
    number: u8,
    id: &'static str,
    title: &'static str,
    labs: Vec<&'static str>,
    exercises: Vec<ListedExercise>,
}

#[derive(Serialize)]
struct ListedExercise {
    id: &'static str,
    title: &'static str,
    points: u32,
    points_possible: u32,
    done: bool,
}

fn list(state: &State) -> List {
    let chapters = CHAPTERS.iter().map(|chapter| ListedChapter {
        number: chapter.number,
        id: chapter.stem,
        title: chapter.title,
        labs: chapter.labs.iter().map(|lab| lab.name).collect(),
        exercises: chapter
            .exercises()
            .map(|exercise| {
                let progress = state.of(exercise.id);
                ListedExercise {
                    id: exercise.id,
                    title: exercise.title,
                    points: progress.points,
                    points_possible: exercise.points(),
                    done: progress.done,
                }
            })
            .collect(),
    });
    List { schema: "podlab/list/v1", chapters: chapters.collect() }
}

pub(super) fn json(state: &State) -> String {
    serde_json::to_string_pretty(&list(state)).expect("a list is JSON") + "\n"
}

pub(super) fn text(state: &State, style: Style) -> String {
    let list = list(state);
    let mut text = String::new();
    for chapter in &list.chapters {
        let title = format!("{:>2}  {}", chapter.number, chapter.title);
        let _ = writeln!(text, "{}", style.paint(Tone::Strong, &title));
        for lab in &chapter.labs {
            let _ = writeln!(text, "      lab       {lab}");
        }
        for exercise in &chapter.exercises {
            let _ = writeln!(text, "   {}", exercise_line(exercise, style));
        }
    }
    let all = list.chapters.iter().flat_map(|chapter| &chapter.exercises);
    let done = all.clone().filter(|exercise| exercise.done).count();
    let _ = writeln!(text, "\n{done} of {} exercises done", all.count());
    text
}

fn exercise_line(exercise: &ListedExercise, style: Style) -> String {
    let mark = match exercise.done {
        true => style.paint(Tone::Good, style.mark("✔  ", "ok ")),
        false => "   ".to_owned(),
    };
    let ListedExercise { id, title, points, points_possible, .. } = exercise;
    format!("{mark}exercise  {id:<20} {title:<32} {points}/{points_possible}")
}
