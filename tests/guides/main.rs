//! The documents hold: their examples load, their commands exist, their links lead somewhere, their tables are the
//! program's, and the two languages say the same.
mod commands;
mod elsewhere;
mod examples;
mod languages;
mod links;
mod running;
mod settings;
#[path = "../support/mod.rs"]
mod support;
mod text;

use pgveil::admin::metrics::TABLE;

use text::{Document, GUIDES, TOPICS};

#[test]
fn the_table_of_metrics_is_the_programs() {
    let guide = Document::read("docs/operators-guide.md");
    let mut expected = String::from("| metric | kind | what it says |\n| --- | --- | --- |\n");
    for (name, kind, help) in TABLE {
        expected.push_str(&format!("| `{name}` | {kind} | {help} |\n"));
    }
    assert_eq!(
        guide.between("metrics"),
        expected,
        "copy the table from this message into {}:\n{expected}",
        guide.path
    );
}

#[test]
fn the_chinese_table_of_metrics_has_the_same_metrics() {
    let guide = Document::read("docs/zh/operators-guide.md");
    let rows = guide.table("metrics");
    let found: Vec<_> = rows
        .iter()
        .map(|row| (row[0].trim_matches('`'), row[1].as_str()))
        .collect();
    let expected: Vec<_> = TABLE.iter().map(|(name, kind, _)| (*name, *kind)).collect();
    assert_eq!(found, expected);
    for row in rows {
        assert!(!row[2].is_ascii(), "{} is not translated", row[0]);
    }
}

/// What a comment in a statement may say; no metrics.
const KEYS_OF_COMMENTS: [&str; 2] = ["pgveil_reason", "pgveil_purpose"];

/// A metric that a guide names exists; `_bucket` and the like are of histograms.
#[test]
fn metrics_that_are_named_exist() {
    let others = ["README.md", "SECURITY.md"];
    for path in GUIDES.iter().chain(&TOPICS).chain(&others) {
        let document = Document::read(path);
        for span in document.inline() {
            let is_metric = span.starts_with("pgveil_")
                && span.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            if is_metric && !KEYS_OF_COMMENTS.contains(&span) {
                let known = TABLE.iter().any(|(name, ..)| *name == span);
                assert!(known, "{path}: there is no metric `{span}`");
            }
        }
    }
}
