//! The documents that podlab writes, held against their schemas in the repository.

use std::fs;
use std::path::{Path, PathBuf};

use podlab::facts::Evidence;
use podlab::report::Report;
use rstest::rstest;
use serde_json::Value;

use crate::check::Podlab;

fn schema_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schema").join(name)
}

#[rstest]
#[case::report("report.v1.json", schemars::schema_for!(Report).into())]
#[case::evidence("evidence.v1.json", schemars::schema_for!(Evidence).into())]
fn the_schema_in_the_repository_is_that_of_the_types(#[case] name: &str, #[case] schema: Value) {
    let path = schema_file(name);
    let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
    if std::env::var_os("PODLAB_BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), text, "PODLAB_BLESS=1 writes it anew");
}

fn validate(schema: &str, document: &Value) -> Result<(), String> {
    let schema: Value = serde_json::from_slice(&fs::read(schema_file(schema)).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    validator.validate(document).map_err(|error| format!("{error} at {}", error.instance_path()))
}

#[test]
fn a_report_follows_its_schema() {
    let output = Podlab::new().run(&["check", "--all", "--format", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    validate("report.v1.json", &report).unwrap();
    assert_eq!(report["exercises"].as_array().unwrap().len(), podlab::exercises::ALL.len());
}

#[test]
fn a_report_with_a_verdict_of_a_fifth_kind_does_not() {
    let output = Podlab::new().run(&["check", "fake-init", "--format", "json"]);
    let mut report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["exercises"][0]["checks"][0]["verdict"] = "perhaps".into();
    assert!(validate("report.v1.json", &report).is_err());
}

#[test]
fn evidence_follows_its_schema() {
    let podlab = Podlab::new();
    let file = podlab.folder().join("evidence");
    podlab.run(&["check", "fake-init", "--evidence", file.to_str().unwrap()]);
    let evidence: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    validate("evidence.v1.json", &evidence).unwrap();
}

/// A reader of TAP 14, as much of it as a harness needs: the plan, and each point's number, verdict
/// and directive.
fn read_tap(text: &str) -> (usize, Vec<(bool, bool)>) {
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("TAP version 14"));
    let plan = lines.next().unwrap().strip_prefix("1..").unwrap().parse().unwrap();
    let mut points = Vec::new();
    let mut in_block = false;
    for line in lines {
        match line {
            "  ---" => in_block = true,
            "  ..." => in_block = false,
            _ if in_block => assert!(line.starts_with("  "), "{line}"),
            _ => {
                let ok = !line.starts_with("not ");
                let rest = line.trim_start_matches("not ").strip_prefix("ok ").expect(line);
                let (number, _) = rest.split_once(" - ").expect(line);
                assert_eq!(number.parse::<usize>().unwrap(), points.len() + 1);
                points.push((ok, line.contains(" # SKIP ")));
            }
        }
    }
    assert!(!in_block);
    (plan, points)
}

#[test]
fn tap_has_a_point_for_each_check_that_agrees_with_the_exit_status() {
    let output = Podlab::new().run(&["check", "--all", "--format", "tap"]);
    let (plan, points) = read_tap(&String::from_utf8(output.stdout).unwrap());
    let checks: usize = podlab::exercises::ALL.iter().map(|exercise| exercise.checks.len()).sum();
    assert_eq!((plan, points.len()), (checks, checks));
    let failed = points.iter().any(|(ok, _)| !ok);
    assert_eq!(output.status.code(), Some(if failed { 1 } else { 2 }));
}
