//! The schemas of policies and of pgveil.yaml are those of the types, know every key that is read, and take what ships.
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use clap::ValueEnum;
use pgveil::cli::schema::{SchemaOf, file, text};
use pgveil::config::raw::RawSettings;
use pgveil::config::{Source, yaml};
use pgveil::policy::raw::RawPolicy;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::cases::{out, root, run};
use super::support::{fed, skip};

fn read(of: SchemaOf) -> Value {
    let path = root().join(file(of));
    if std::env::var_os("PGVEIL_BLESS").is_some() {
        std::fs::write(&path, text(of)).expect("written");
    }
    let text = std::fs::read_to_string(&path).expect("the schema is in the repository");
    serde_json::from_str(&text).expect("a schema is JSON")
}

#[test]
fn the_files_are_what_the_command_prints() {
    for of in SchemaOf::value_variants() {
        read(*of);
        let word = of.to_possible_value().expect("a word");
        let printed = out(&run(&["schema", word.get_name()]));
        let kept = std::fs::read_to_string(root().join(file(*of))).expect("a file");
        assert!(
            kept == printed,
            "{} is not what the types say: write it with PGVEIL_BLESS=1",
            file(*of)
        );
    }
}

/// A key that no type has, and that is like none.
const NO_KEY: &str = "zqxzqxzqxzqx";

/// What YAML has around an object that the schema describes.
#[derive(Clone)]
enum Step {
    Key(String),
    /// A key of the writer's choice.
    Any,
    Item,
}

fn within(path: &[Step], inner: &str) -> String {
    match path {
        [] => inner.to_owned(),
        [Step::Key(key), rest @ ..] => format!("{{ {key}: {} }}", within(rest, inner)),
        [Step::Any, rest @ ..] => format!("{{ any: {} }}", within(rest, inner)),
        [Step::Item, rest @ ..] => format!("[{}]", within(rest, inner)),
    }
}

/// Walks over all objects with keys, each once, and holds their keys against those that reading knows.
struct Walk<'a> {
    schema: &'a Value,
    /// The keys that are read at a place.
    keys: &'a dyn Fn(&[Step]) -> Vec<String>,
    seen: Vec<String>,
    objects: usize,
}

impl Walk<'_> {
    fn at(&mut self, node: &Value, path: &[Step]) {
        if let Some(reference) = node["$ref"].as_str() {
            if self.seen.contains(&reference.to_owned()) {
                return;
            }
            self.seen.push(reference.to_owned());
            let pointer = reference.trim_start_matches('#');
            let target = self.schema.pointer(pointer).expect("what is referred to");
            return self.at(target, path);
        }
        for one in node["anyOf"].as_array().into_iter().flatten() {
            self.at(one, path);
        }
        let with = |step: Step| [path, &[step]].concat();
        if node.get("items").is_some() {
            self.at(&node["items"], &with(Step::Item));
        }
        if node["additionalProperties"].is_object() {
            self.at(&node["additionalProperties"], &with(Step::Any));
        }
        let Some(properties) = node["properties"].as_object() else {
            return;
        };
        assert_eq!(
            node["additionalProperties"],
            json!(false),
            "{}",
            within(path, "")
        );
        let mut known: Vec<String> = properties.keys().cloned().collect();
        known.sort();
        let mut read = (self.keys)(path);
        read.sort();
        assert_eq!(known, read, "{}", within(path, "..."));
        self.objects += 1;
        for (key, value) in properties {
            self.at(value, &with(Step::Key(key.clone())));
        }
    }
}

/// The keys that reading offers where it meets one that it does not know.
fn offered<T: DeserializeOwned>(path: &[Step]) -> Vec<String> {
    let text = within(path, &format!("{{ {NO_KEY}: 1 }}"));
    let source = Arc::new(Source {
        path: PathBuf::from("x.yaml"),
        text: text.clone(),
    });
    let findings = match yaml::read::<T>(&source) {
        Ok(_) => panic!("{text} is read"),
        Err(findings) => findings,
    };
    let finding = findings.iter().next().expect("a finding");
    assert_eq!(finding.message, format!("unknown key `{NO_KEY}`"), "{text}");
    let suggestion = finding.suggestion.as_deref().expect("the keys");
    let listed = suggestion
        .strip_prefix("the keys here are ")
        .expect("the keys");
    listed
        .split(", ")
        .map(|key| key.trim_matches('`').to_owned())
        .collect()
}

#[test]
fn every_key_that_is_read_is_in_the_schema() {
    for (of, keys, least) in [
        (
            SchemaOf::Policy,
            &offered::<RawPolicy> as &dyn Fn(&[Step]) -> Vec<String>,
            12,
        ),
        (SchemaOf::Config, &offered::<RawSettings>, 18),
    ] {
        let schema = read(of);
        let mut walk = Walk {
            schema: &schema,
            keys,
            seen: Vec::new(),
            objects: 0,
        };
        walk.at(&schema, &[]);
        assert!(
            walk.objects >= least,
            "{} objects of {}",
            walk.objects,
            file(of)
        );
    }
}

/// Reads a schema and YAML files; prints a JSON array of what is wrong with each.
const VALIDATE: &str = r#"
import json, sys
from jsonschema import Draft202012Validator
schema = json.loads(sys.stdin.readline())
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
for line in sys.stdin:
    print(json.dumps([f"{e.json_path}: {e.message}" for e in validator.iter_errors(json.loads(line))]))
"#;

fn complaints(schema: &Value, documents: &[Value]) -> Option<Vec<Vec<String>>> {
    let own = root().join("target/schema/bin/python");
    let python = [own, PathBuf::from("python3")].into_iter().find(|python| {
        let tried = Command::new(python)
            .args(["-c", "import jsonschema"])
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    })?;
    let mut input = format!("{schema}\n");
    for document in documents {
        input.push_str(&format!("{document}\n"));
    }
    let output = fed(Command::new(python).args(["-c", VALIDATE]), input);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let found: Vec<_> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("a list of texts"))
        .collect();
    assert_eq!(found.len(), documents.len());
    Some(found)
}

/// A YAML file as JSON has it, by the reader of pgveil's own files.
fn as_json(path: &str) -> Value {
    #[derive(serde::Deserialize)]
    #[serde(transparent)]
    struct Any(Value);
    let text = std::fs::read_to_string(root().join(path)).expect("a file");
    let source = Arc::new(Source {
        path: path.into(),
        text,
    });
    yaml::read::<Any>(&source)
        .unwrap_or_else(|found| panic!("{found}"))
        .0
}

#[test]
fn what_ships_is_valid_and_what_is_wrong_is_not() {
    let name = "what_ships_is_valid_and_what_is_wrong_is_not";
    let mut wrong_policy = as_json("policies/crm.yaml");
    wrong_policy["roles"]["agent"]["mask"]["phone"] = json!("redcat");
    let mut wrong_role = as_json("policies/crm.yaml");
    wrong_role["roles"]["agent"]["unmaskd"] = json!(true);
    let mut wrong_word = as_json("policies/crm.yaml");
    wrong_word["roles"]["agent"]["unlisted"] = json!("hide");
    let documents = [
        as_json("policies/crm.yaml"),
        as_json("tests/cases/policy/design.yaml"),
        wrong_policy,
        wrong_role,
        wrong_word,
    ];
    let Some(found) = complaints(&read(SchemaOf::Policy), &documents) else {
        return skip(name, "no Python with jsonschema");
    };
    assert_eq!(found[..2], [Vec::<String>::new(), Vec::new()]);
    assert!(
        found[2..].iter().all(|found| !found.is_empty()),
        "{found:#?}"
    );
    let mut wrong = as_json("deploy/pgveil.yaml");
    wrong["upstreem"] = json!({});
    let full = as_json("tests/cases/config/full.yaml");
    let found = complaints(
        &read(SchemaOf::Config),
        &[as_json("deploy/pgveil.yaml"), full, wrong],
    )
    .expect("a Python");
    assert_eq!(found[..2], [Vec::<String>::new(), Vec::new()]);
    assert_eq!(found[2].len(), 1, "{found:#?}");
}
