//! Values within `json` and `jsonb` documents and arrays, gathered by the path that leads to them.
//!
//! A key of a document can be data itself (`{"w.li@example.com": {...}}`). A path is shown only as far as its keys stand in
//! several documents and look like names of fields; others are one step, `*`, and are looked at as values.
use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;

use super::class::Kind;
use super::look::{Finding, Subject, look};
use super::name::{self, Name};
use super::tally::Sample;

/// Most levels, paths of a column, and values of a path.
const MAX_DEPTH: usize = 12;
const MAX_PATHS: usize = 2_000;
const MAX_VALUES: usize = 1_000;
/// An object with more different keys over a sample is a map from data to data.
const MAX_KEYS: usize = 60;
/// A key has to stand in so many documents to be shown.
const MIN_DOCUMENTS: usize = 2;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Step {
    Key(String),
    Each,
    /// What stands behind keys that are data.
    Any,
    /// Such keys themselves.
    Keys,
}

type Path = Vec<Step>;

/// Something found within a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Within {
    /// `contact.phones[*].number`; `*` stands for keys that are data.
    pub path: String,
    /// The path as `json:` of a mask takes it; that of the object around it where keys are data; `None` for the whole.
    pub maskable: Option<String>,
    pub finding: Finding,
}

#[derive(Default)]
struct Leaf {
    sample: Sample,
    numbers: usize,
    fractions: usize,
}

/// Looks at each path of the documents. `subject` is the column's.
pub fn look_within(subject: &Subject, documents: &Sample) -> Vec<Within> {
    let parsed: Vec<Value> = documents
        .values
        .iter()
        .filter_map(|text| serde_json::from_str(text).ok())
        .collect();
    let fields = Fields::of(&parsed);
    let mut leaves: BTreeMap<Path, Leaf> = BTreeMap::new();
    for document in &parsed {
        fields.gather(document, &mut Vec::new(), &mut leaves);
    }
    let mut found: Vec<Within> = Vec::new();
    for (path, leaf) in leaves {
        let inner = subject_of(subject, &path, &leaf);
        if let Some(finding) = look(&inner, &leaf.sample) {
            found.push(Within {
                path: written(&path),
                maskable: maskable(&path),
                finding,
            });
        }
    }
    // What a document that cannot be read whole says is text.
    found
}

/// The elements of arrays that were read as JSON, each a value of its own.
pub fn elements(arrays: &Sample) -> Sample {
    let mut sample = Sample {
        oversized: arrays.oversized,
        ..Sample::default()
    };
    for text in &arrays.values {
        let Ok(value) = serde_json::from_str::<Value>(text) else {
            continue;
        };
        let mut open = vec![&value];
        while let Some(value) = open.pop() {
            match value {
                Value::Array(inner) if sample.values.len() < MAX_VALUES => open.extend(inner),
                Value::String(text) if !text.trim().is_empty() => sample.values.push(text.clone()),
                Value::Number(number) => sample.values.push(number.to_string()),
                _ => {}
            }
        }
    }
    sample.values.truncate(MAX_VALUES);
    sample
}

/// Which keys of which objects are names of fields.
struct Fields {
    shown: HashMap<Path, HashSet<String>>,
}

impl Fields {
    fn of(documents: &[Value]) -> Self {
        // Paths are counted with all keys as they are first, level by level from the top, so that what lies below a map
        // from data to data is one place.
        let mut fields = Fields {
            shown: HashMap::new(),
        };
        for depth in 0..MAX_DEPTH {
            let mut counts: HashMap<Path, HashMap<String, usize>> = HashMap::new();
            for document in documents {
                fields.count(document, &mut Vec::new(), depth, &mut counts);
            }
            if counts.is_empty() || fields.shown.len() > MAX_PATHS {
                break;
            }
            for (path, keys) in counts {
                let shown = match keys.len() > MAX_KEYS {
                    true => HashSet::new(),
                    false => keys
                        .into_iter()
                        .filter(|(key, count)| *count >= MIN_DOCUMENTS && is_field(key))
                        .map(|(key, _)| key)
                        .collect(),
                };
                fields.shown.insert(path, shown);
            }
        }
        fields
    }

    fn step(&self, path: &Path, key: &str) -> Step {
        let shown = self.shown.get(path).is_some_and(|keys| keys.contains(key));
        match shown {
            true => Step::Key(key.to_owned()),
            false => Step::Any,
        }
    }

    fn count(
        &self,
        value: &Value,
        path: &mut Path,
        depth: usize,
        counts: &mut HashMap<Path, HashMap<String, usize>>,
    ) {
        match value {
            Value::Object(object) if path.len() == depth => {
                let keys = counts.entry(path.clone()).or_default();
                for key in object.keys().take(MAX_PATHS) {
                    if keys.len() < MAX_PATHS || keys.contains_key(key) {
                        *keys.entry(key.clone()).or_default() += 1;
                    }
                }
            }
            Value::Object(object) => {
                for (key, inner) in object {
                    path.push(self.step(path, key));
                    self.count(inner, path, depth, counts);
                    path.pop();
                }
            }
            Value::Array(list) if path.len() < depth => {
                path.push(Step::Each);
                for inner in list {
                    self.count(inner, path, depth, counts);
                }
                path.pop();
            }
            _ => {}
        }
    }

    fn gather(&self, value: &Value, path: &mut Path, leaves: &mut BTreeMap<Path, Leaf>) {
        if path.len() > MAX_DEPTH {
            return;
        }
        match value {
            Value::Object(object) => {
                for (key, inner) in object {
                    let step = self.step(path, key);
                    if step == Step::Any {
                        path.push(Step::Keys);
                        add(leaves, path, key, false, false);
                        path.pop();
                    }
                    path.push(step);
                    self.gather(inner, path, leaves);
                    path.pop();
                }
            }
            Value::Array(list) => {
                path.push(Step::Each);
                for inner in list {
                    self.gather(inner, path, leaves);
                }
                path.pop();
            }
            Value::String(text) => add(leaves, path, text, false, false),
            Value::Number(number) => {
                add(leaves, path, &number.to_string(), true, number.is_f64());
            }
            Value::Null | Value::Bool(_) => {}
        }
    }
}

fn add(leaves: &mut BTreeMap<Path, Leaf>, path: &Path, text: &str, number: bool, fraction: bool) {
    if leaves.len() >= MAX_PATHS && !leaves.contains_key(path) || text.trim().is_empty() {
        return;
    }
    let leaf = leaves.entry(path.clone()).or_default();
    if leaf.sample.values.len() < MAX_VALUES {
        leaf.sample.values.push(text.to_owned());
        leaf.numbers += usize::from(number);
        leaf.fractions += usize::from(fraction);
    }
}

/// Whether a key can be the name of a field: letters, digits and what joins words, no value of a class.
fn is_field(key: &str) -> bool {
    let letters = key
        .chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | ' ' | '$' | ':' | '.'));
    let digits = key.chars().filter(char::is_ascii_digit).count();
    let starts = key
        .chars()
        .next()
        .is_some_and(|c| c.is_alphabetic() || matches!(c, '_' | '$'));
    letters
        && starts
        && digits <= 3
        && key.chars().count() <= 40
        && !key.contains('@')
        && super::person::likeness(key) == super::person::Likeness::None
}

fn subject_of(column: &Subject, path: &Path, leaf: &Leaf) -> Subject {
    let keys: Vec<&str> = path
        .iter()
        .filter_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Each | Step::Any | Step::Keys => None,
        })
        .collect();
    let last = match path.last() {
        Some(Step::Any | Step::Keys) => "",
        _ => keys.last().copied().unwrap_or_default(),
    };
    let around = keys.split_last().map_or(&[][..], |(_, around)| around);
    let within_people = around.iter().any(|key| name::is_of_people(&Name::new(key)));
    let kind = match leaf.numbers == leaf.sample.values.len() {
        true if leaf.fractions > 0 => Kind::Decimal,
        true => Kind::Integer,
        false => Kind::Text,
    };
    Subject {
        // At the root the column's own name says what the values are.
        name: match keys.is_empty() && !matches!(path.last(), Some(Step::Any | Step::Keys)) {
            true => column.name.clone(),
            false => Name::new(last),
        },
        comment: None,
        table: column.table.clone(),
        people: within_people || around.is_empty() && column.people,
        kind,
        type_name: column.type_name.clone(),
        this_year: column.this_year,
    }
}

fn written(path: &Path) -> String {
    let mut text = String::new();
    for step in path {
        let dot = if text.is_empty() { "" } else { "." };
        match step {
            Step::Each => text.push_str("[*]"),
            Step::Any | Step::Keys => text.push_str(&format!("{dot}*")),
            Step::Key(key) if key.contains(['.', '[']) => text.push_str(&format!("{dot}\"{key}\"")),
            Step::Key(key) => text.push_str(&format!("{dot}{key}")),
        }
    }
    match text.is_empty() {
        true => "$".to_owned(),
        false => text,
    }
}

fn maskable(path: &Path) -> Option<String> {
    let end = path
        .iter()
        .position(|step| matches!(step, Step::Any | Step::Keys))
        .unwrap_or(path.len());
    let known = path.get(..end).unwrap_or_default();
    (!known.is_empty()).then(|| written(&known.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject {
        Subject {
            name: Name::new("profile"),
            comment: None,
            table: Name::new("users"),
            people: true,
            kind: Kind::Document,
            type_name: "jsonb".to_owned(),
            this_year: 2026,
        }
    }

    fn found(documents: &[String]) -> Vec<(String, &'static str)> {
        let sample = Sample {
            values: documents.to_vec(),
            oversized: 0,
        };
        look_within(&subject(), &sample)
            .into_iter()
            .filter(|within| within.finding.confidence >= 0.6)
            .map(|within| (within.path, within.finding.class.name))
            .collect()
    }

    #[test]
    fn paths_lead_to_what_is_found() {
        let documents: Vec<String> = (0..20)
            .map(|i| {
                format!(
                    r#"{{"contact": {{"mobile": "138{:08}", "theme": "dark"}}, "mails": [{{"to": "u{i}@mail.example"}}], "n": {i}}}"#,
                    (i * 7_919_777u64) % 100_000_000
                )
            })
            .collect();
        assert_eq!(
            found(&documents),
            [
                ("contact.mobile".to_owned(), "phone"),
                ("mails[*].to".to_owned(), "email")
            ]
        );
    }

    #[test]
    fn keys_that_are_data_are_not_shown() {
        let documents: Vec<String> = (0..20)
            .map(|i| format!(r#"{{"seen": {{"anna{i}@mail.example": 1, "bob@mail.example": 2}}}}"#))
            .collect();
        let found = found(&documents);
        assert_eq!(found, [("seen.*".to_owned(), "email")]);
    }

    #[test]
    fn arrays_are_their_elements() {
        let arrays = Sample {
            values: vec![r#"["a", ["b", 3], null]"#.to_owned(), "broken".to_owned()],
            oversized: 0,
        };
        let mut values = elements(&arrays).values;
        values.sort();
        assert_eq!(values, ["3", "a", "b"]);
    }
}
