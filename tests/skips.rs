//! What tests leave out stands in `tests/skips.txt`, with its reason; and what stands there is left out.
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// `tests/state/crash.rs` is `state::crash`, `src/sql/lex.rs` is `pgveil::sql::lex`.
fn module(path: &Path) -> String {
    let path = path.strip_prefix(root()).expect("of this crate");
    let mut parts: Vec<String> = path
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    match parts.remove(0).as_str() {
        "src" => parts.insert(0, "pgveil".to_owned()),
        _ => parts.retain(|part| part != "main"),
    }
    parts.retain(|part| part != "mod" && part != "lib");
    parts.join("::")
}

fn name_of_function(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("fn ")?;
    rest.split('(').next()
}

#[test]
fn what_is_left_out_is_listed_and_what_is_listed_exists() {
    let listed = fs::read_to_string(root().join("tests/skips.txt")).expect("tests/skips.txt");
    let listed: Vec<(&str, &str)> = listed
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            line.split_once(": ")
                .unwrap_or_else(|| panic!("`{line}` gives no reason"))
        })
        .collect();
    let mut paths = Vec::new();
    for folder in ["src", "tests"] {
        sources(&root().join(folder), &mut paths);
    }
    let (mut ignored, mut functions) = (BTreeSet::new(), BTreeSet::new());
    for path in &paths {
        let text = fs::read_to_string(path).expect("a source");
        let mut waiting = false;
        for line in text.lines() {
            waiting |= line.trim_start().starts_with("#[ignore");
            if let Some(name) = name_of_function(line) {
                functions.insert(name.to_owned());
                if waiting {
                    ignored.insert(format!("{}::{name}", module(path)));
                }
                waiting = false;
            }
        }
    }
    assert!(!ignored.is_empty(), "none was found");
    let names: BTreeSet<String> = listed
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .filter(|name| name.contains("::"))
        .collect();
    assert_eq!(names, ignored, "listed, and those with `#[ignore]`");
    for (name, reason) in listed {
        assert!(reason.len() > 10, "{name}: {reason}");
        let test = !name.contains("::") && name.contains('_') && !name.contains('/');
        assert!(
            !test || functions.contains(name),
            "{name} is listed, and no test is called so"
        );
    }
}
