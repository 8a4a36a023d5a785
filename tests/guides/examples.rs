//! Every YAML example loads: a whole file as it stands, a part of one together with the least of the rest.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pgveil::{config, policy};

use crate::text::{Document, GUIDES, TOPICS, root};

/// Keys at the top of a policy; all others are of `pgveil.yaml`.
const OF_POLICIES: [&str; 10] = [
    "version",
    "data",
    "roles",
    "unmatched",
    "people",
    "groups",
    "applications",
    "directory",
    "regions",
    "traps",
];
/// What stands in for a secret, long enough for every key that takes one.
const SECRET: &str = "a-secret-of-thirty-two-letters-and-more";
/// What the roles of an example mask that does not say what it is.
const DATA: &str = "data:
  phone: { columns: [crm.contacts.phone] }
  id_card: { columns: [crm.contacts.id_card] }
";
const ROLES: &str = "roles:
  dpo: { who: [{ db_user: dpo }], unmasked: true }
";

/// A folder of the test's own, empty but for a policy.
pub fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("policies")).expect("a folder");
    folder
}

/// Loads settings, with a value for every variable of the environment.
pub fn load_settings(path: &Path) -> config::Settings {
    let environment = |_: &str| Some(SECRET.to_owned());
    config::load_with(path, &environment).unwrap_or_else(|found| panic!("{found}"))
}

fn keys(block: &str) -> Vec<&str> {
    let top = block.lines().filter_map(|line| line.split_once(':'));
    top.map(|(key, _)| key)
        .filter(|key| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .collect()
}

fn load_policy(folder: &Path, block: &str) {
    let keys = keys(block);
    let mut text = String::new();
    for (key, part) in [
        ("version", "version: 1\n"),
        ("data", DATA),
        ("roles", ROLES),
    ] {
        if !keys.contains(&key) {
            text.push_str(part);
        }
    }
    text.push_str(block);
    let path = folder.join("policies/example.yaml");
    fs::write(&path, &text).expect("written");
    if let Err(found) = policy::load(&path) {
        panic!("{found}\n{text}");
    }
}

fn load_configuration(folder: &Path, block: &str) {
    // Files that are named are there.
    for named in block.split("/etc/pgveil/").skip(1) {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let name: String = named.chars().take_while(|c| is_name(*c)).collect();
        let file = folder.join(name);
        if !file.exists() {
            fs::write(file, SECRET).expect("written");
        }
    }
    let keys = keys(block);
    let mut text = String::new();
    for (key, part) in [
        (
            "upstream",
            "upstream: { host: localhost, catalog_user: { name: pgveil } }\n",
        ),
        ("policies", "policies: policies\n"),
    ] {
        if !keys.contains(&key) {
            text.push_str(part);
        }
    }
    let here = format!("{}/", folder.display());
    text.push_str(&block.replace("/etc/pgveil/", &here));
    let path = folder.join("pgveil.yaml");
    fs::write(&path, text).expect("written");
    load_settings(&path);
}

#[test]
fn every_example_of_the_documents_loads() {
    let (mut policies, mut configurations) = (0, 0);
    for path in GUIDES.iter().chain(&TOPICS).chain(&["README.md"]) {
        let folder = folder("guides-examples");
        for block in Document::read(path).blocks() {
            if block.language != "yaml" {
                continue;
            }
            let keys = keys(&block.text);
            // Cases of a policy have a test of their own.
            if keys.contains(&"cases") {
                continue;
            }
            let of_policy = keys.iter().filter(|key| OF_POLICIES.contains(key)).count();
            match of_policy {
                0 => {
                    load_configuration(&folder, &block.text);
                    configurations += 1;
                }
                all if all == keys.len() => {
                    load_policy(&folder, &block.text);
                    policies += 1;
                }
                _ => panic!("{path}: neither a policy nor a configuration: {keys:?}"),
            }
        }
    }
    assert!(policies >= 20, "{policies} policies");
    assert!(configurations >= 10, "{configurations} configurations");
}

/// Cases say what they say of the demo's policy.
#[test]
fn cases_in_the_documents_hold() {
    let folder = folder("guides-cases");
    let tests = folder.join("tests");
    fs::create_dir_all(&tests).expect("a folder");
    let copy = |from: &str, to: &Path| {
        fs::copy(root().join(from), to).unwrap_or_else(|error| panic!("{from}: {error}"));
    };
    copy("policies/crm.yaml", &folder.join("crm.yaml"));
    let snapshot = "policies/tests/crm.catalog.zst";
    copy(snapshot, &tests.join("crm.catalog.zst"));
    for fixture in ["schema.sql", "rows.sql"] {
        fs::write(tests.join(fixture), "").expect("written");
    }
    let mut tried = 0;
    for path in TOPICS {
        for block in Document::read(path).blocks() {
            if block.language != "yaml" || !keys(&block.text).contains(&"cases") {
                continue;
            }
            let file = tests.join("example.yaml");
            fs::write(&file, &block.text).expect("written");
            let output = Command::new(env!("CARGO_BIN_EXE_pgveil"))
                .arg("test")
                .arg(&file)
                .output()
                .expect("pgveil runs");
            let told = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{path}: {told}\n{output:?}");
            assert!(told.contains(" 0 failed"), "{path}: {told}");
            tried += 1;
        }
    }
    assert!(tried > 0, "no cases");
}

#[test]
fn json_in_the_documents_is_json() {
    for path in GUIDES.iter().chain(&TOPICS) {
        for block in Document::read(path).blocks() {
            if block.language == "json" {
                let read: Result<serde_json::Value, _> = serde_json::from_str(&block.text);
                assert!(read.is_ok(), "{path}: {read:?}");
            }
        }
    }
}

#[test]
fn all_sinks_of_the_operators_guide_are_there() {
    let guide = Document::read("docs/operators-guide.md");
    let blocks = guide.blocks();
    let sinks = blocks
        .iter()
        .find(|block| block.text.lines().any(|line| line == "  sinks:"));
    let sinks = &sinks.expect("an example of sinks").text;
    let folder = folder("guides-sinks");
    load_configuration(&folder, sinks);
    let settings = load_settings(&folder.join("pgveil.yaml"));
    assert_eq!(settings.audit.sinks.len(), 9);
}
