//! The table of settings in the operator's guide has every key that `pgveil.yaml` may have, and no other; the defaults
//! in it are the program's.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::examples::{folder, load_settings};
use crate::text::{Document, root};

const GUIDES: [&str; 2] = ["docs/operators-guide.md", "docs/zh/operators-guide.md"];
/// What stands for a name of the writer's choice.
const NAME: &str = "<name>";

/// The fields of the raw types, by type: `(key, type)`.
type Types = BTreeMap<String, Vec<(String, String)>>;

/// Reads the raw types as text: what serde makes of them is not to be had at run time.
fn raw_types(folder: &Path, types: &mut Types) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("a source").path();
        if path.is_dir() {
            raw_types(&path, types);
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source");
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            let name = line
                .strip_prefix("pub struct Raw")
                .and_then(|rest| rest.strip_suffix(" {"));
            let Some(name) = name else { continue };
            let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "}").collect();
            types.insert(format!("Raw{name}"), fields(&body));
        }
    }
}

fn fields(body: &[&str]) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut renamed = None;
    let mut declaration = String::new();
    for line in body.iter().map(|line| line.trim()) {
        if declaration.is_empty() && (line.starts_with("//") || line.starts_with('#')) {
            if let Some((_, rest)) = line.split_once("rename = \"") {
                renamed = rest.split('"').next().map(str::to_owned);
            }
            continue;
        }
        declaration.push_str(line);
        if !declaration.ends_with(',') {
            continue;
        }
        let field = declaration.strip_prefix("pub ").unwrap_or(&declaration);
        let (name, kind) = field.split_once(": ").expect("a field and its type");
        let name = name.trim_start_matches("r#").to_owned();
        fields.push((renamed.take().unwrap_or(name), kind.to_owned()));
        declaration.clear();
    }
    fields
}

/// The paths of all leaves under a type.
fn paths(types: &Types, name: &str, prefix: &str, found: &mut BTreeSet<String>) {
    for (key, kind) in &types[name] {
        let mut path = format!("{prefix}{key}");
        if kind.contains("Entries<") || kind.contains("BTreeMap<") {
            path = format!("{path}.{NAME}");
        }
        let inner = kind.split_once("Raw").map(|(_, rest)| {
            let rest: String = rest
                .chars()
                .take_while(char::is_ascii_alphanumeric)
                .collect();
            format!("Raw{rest}")
        });
        match inner.filter(|inner| types.contains_key(inner)) {
            Some(inner) => paths(types, &inner, &format!("{path}."), found),
            None => {
                found.insert(path);
            }
        }
    }
}

#[test]
fn the_table_of_settings_has_every_key_and_no_other() {
    let mut types = Types::new();
    raw_types(&root().join("src/config"), &mut types);
    let mut known = BTreeSet::new();
    paths(&types, "RawSettings", "", &mut known);
    assert!(known.len() > 80, "{known:?}");
    for path in GUIDES {
        let mut listed = BTreeSet::new();
        for row in Document::read(path).table("settings") {
            assert_eq!(row.len(), 4, "{path}: {row:?}");
            let key = row[0].trim_matches('`').to_owned();
            assert!(listed.insert(key), "{path}: {} stands there twice", row[0]);
        }
        let missing: Vec<_> = known.difference(&listed).collect();
        let unknown: Vec<_> = listed.difference(&known).collect();
        assert!(missing.is_empty(), "{path} leaves out {missing:?}");
        assert!(unknown.is_empty(), "{path} has what is none: {unknown:?}");
    }
}

/// Every section, with what it cannot do without.
fn base() -> Value {
    let http = "http://127.0.0.1:9999";
    json!({
        "upstream": { "host": "localhost", "catalog_user": { "name": "pgveil" } },
        "policies": "policies",
        "auth": { "tokens": { "<name>": {
            "issuer": "https://login.example.com", "audience": "a", "person_claim": "sub", "accounts": { "a": {} },
        } } },
        "admin": { "listen": "127.0.0.1:9432" },
        "application_keys": { "<name>": { "secret": "a-secret-of-thirty-two-letters-and-more" } },
        "notify": { "smtp": { "host": "localhost", "from": "a@example.com", "to": { "legal": "b@example.com" } } },
        "console": {
            "listen": "127.0.0.1:9443",
            "oidc": { "issuer": "https://login.example.com", "client_id": "c", "person_claim": "email", "groups": { "a": "b" } },
        },
        "audit": { "sinks": {
            "file": { "type": "file", "path": "audit.jsonl" },
            "stdout": { "type": "stdout" },
            "syslog": { "type": "syslog", "address": "localhost:6514" },
            "splunk_hec": { "type": "splunk_hec", "url": http, "token": "t" },
            "elasticsearch": { "type": "elasticsearch", "url": http, "index": "i" },
            "webhook": { "type": "webhook", "url": http, "secret": "a-secret-of-many-letters" },
            "nats": { "type": "nats", "url": "nats://127.0.0.1:4222", "subject": "s" },
            "otlp": { "type": "otlp", "url": http },
        } },
    })
}

/// The types of sinks that a key is for, from the words before the colon of its meaning; all if there are none.
fn sinks(meaning: &str, all: &[String]) -> Vec<String> {
    // In both languages.
    let words = meaning.split([':', '：']).next().unwrap_or_default();
    let named: Vec<String> = words
        .split([',', '、'])
        .map(str::trim)
        .filter(|word| all.iter().any(|known| known == word) || *word == "kafka")
        .map(str::to_owned)
        .collect();
    match named.is_empty() {
        true => all.to_vec(),
        false => named
            .into_iter()
            .filter(|word| all.contains(word))
            .collect(),
    }
}

fn put(settings: &mut Value, path: &[&str], value: &Value) {
    match path {
        [last] => settings[*last] = value.clone(),
        [first, rest @ ..] => put(&mut settings[*first], rest, value),
        [] => {}
    }
}

/// Whoever writes every default out has said nothing.
#[test]
fn the_defaults_of_the_table_are_the_defaults() {
    let folder = folder("guides-settings");
    let load = |settings: &Value| {
        // YAML takes JSON.
        let path = folder.join("pgveil.yaml");
        fs::write(&path, settings.to_string()).expect("written");
        load_settings(&path)
    };
    let silent = load(&base());
    for path in GUIDES {
        let mut written = base();
        let mut defaults = 0;
        let all: Vec<String> = written["audit"]["sinks"]
            .as_object()
            .expect("sinks")
            .keys()
            .cloned()
            .collect();
        for row in Document::read(path).table("settings") {
            let default = row[2].strip_prefix('`').and_then(|d| d.strip_suffix('`'));
            let Some(default) = default.filter(|d| !d.contains('`')) else {
                continue;
            };
            let value = match serde_json::from_str(default) {
                Ok(value) => value,
                Err(_) => Value::from(default),
            };
            let key: Vec<&str> = row[0].trim_matches('`').split('.').collect();
            match key.as_slice() {
                ["audit", "sinks", NAME, own] => {
                    for sink in sinks(&row[3], &all) {
                        put(&mut written, &["audit", "sinks", &sink, own], &value);
                    }
                }
                key => put(&mut written, key, &value),
            }
            defaults += 1;
        }
        assert!(defaults > 40, "{path}: {defaults} defaults");
        assert_eq!(load(&written), silent, "{path}");
    }
}
