//! YAML with positions: how every configuration file of pgveil is read.
//!
//! Leaves are read as what they are ([`Scalar`]) and judged afterwards, so that one run reports all wrong values, each at
//! its own place. Unknown keys, duplicate keys and broken syntax stop the reading of a file at the first one.
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_yaml::{Error, MergeKeyPolicy};

use super::diagnostics::{Diagnostic, Diagnostics};
use super::source::{Origin, Source};

/// Deepest nesting of a configuration file; the deepest that means anything has 6 levels.
const MAX_DEPTH: usize = 16;
/// Most values in a configuration file, aliases expanded.
const MAX_NODES: usize = 200_000;

/// Reads a document into raw types.
pub fn read<T: DeserializeOwned>(source: &Arc<Source>) -> Result<T, Diagnostics> {
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! { max_depth: MAX_DEPTH, max_nodes: MAX_NODES, max_documents: 1 },
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        reject_unsupported_tags: true,
        // Merged keys would come in an order nobody wrote, and the order of roles decides.
        merge_keys: MergeKeyPolicy::Error,
        with_snippet: false,
    };
    serde_yaml::from_str_with_options(&source.text, options)
        .map_err(|error| explain(source, &error).into())
}

fn explain(source: &Arc<Source>, error: &Error) -> Diagnostic {
    let message = match error {
        Error::SerdeUnknownField { field, .. } => format!("unknown key `{field}`"),
        Error::SerdeMissingField { field, .. } => format!("missing key `{field}`"),
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            format!("the key `{key}` stands here twice")
        }
        Error::MultipleDocuments { .. } => {
            "a second document starts here: a file holds one".to_owned()
        }
        Error::MergeKeyNotAllowed { .. } => "merge keys (`<<`) are not supported".to_owned(),
        Error::Unexpected { expected, .. } => format!("expected {}", shape(expected)),
        Error::SerdeInvalidType {
            unexpected,
            expected,
            ..
        } => format!("expected {expected}, found {unexpected}"),
        Error::AliasError { error, .. } => return explain(source, error),
        other => first_line(&other.to_string()),
    };
    let Some(location) = error.location() else {
        return Diagnostic::file(&source.path, message);
    };
    let diagnostic = Diagnostic::error(&Origin::new(source, location), message);
    match error {
        Error::SerdeUnknownField {
            field, expected, ..
        } => match outdented(source, &diagnostic, expected) {
            Some(way_out) => diagnostic.suggest(way_out),
            None => unknown(diagnostic, field, expected),
        },
        Error::Unexpected { expected, .. } if *expected == "mapping start" => {
            match keyless(source, &diagnostic) {
                Some(written) => diagnostic.suggest(written),
                None => diagnostic,
            }
        }
        Error::MergeKeyNotAllowed { .. } => {
            diagnostic.suggest("write the keys out, or use an alias for a whole value")
        }
        Error::DuplicateMappingKey { .. } => {
            diagnostic.suggest("keep one of the two; what belongs together stands under one key")
        }
        _ => match shape_of_lines(&diagnostic.message) {
            Some(way_out) => diagnostic.suggest(way_out),
            None => diagnostic,
        },
    }
}

/// What to do where the parser stumbles over how lines are indented; it says so in words that only its makers know.
fn shape_of_lines(message: &str) -> Option<&'static str> {
    if message.contains("tabs") {
        return Some("indent with spaces: YAML takes no tabs");
    }
    ["did not find expected key", "did not find expected '-'", "mapping values are not allowed"]
        .iter()
        .any(|words| message.contains(words))
        .then_some(
            "look at the indentation of this line and the one before: keys of one level begin in the same column, and a \
             colon within a text needs quotes",
        )
}

/// The key above that what stands at the place is under, if it is one of those that could stand there: it is then read as
/// a name, for it is indented too little.
fn outdented(
    source: &Source,
    diagnostic: &Diagnostic,
    expected: &[&'static str],
) -> Option<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let place = diagnostic.line?;
    let own = indent(source.line(place)?);
    let above = (1..place).rev().find_map(|number| {
        let line = source.line(number)?;
        let text = line.trim();
        (!text.is_empty() && !text.starts_with('#') && indent(line) < own).then_some(text)
    })?;
    let key = above.strip_suffix(':')?;
    expected.contains(&key).then(|| {
        format!("`{key}` above is read as a name here, beside others of its level: indent it further if it is the key")
    })
}

/// How what stands there is meant, where most people leave the key out.
fn keyless(source: &Source, diagnostic: &Diagnostic) -> Option<String> {
    let line = source.line(diagnostic.line?)?;
    let skip = usize::try_from(diagnostic.column?.checked_sub(1)?).ok()?;
    let name: String = line
        .chars()
        .skip(skip)
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    (line.trim_start().starts_with("who:") && !name.is_empty())
        .then(|| format!("an entry of `who` says what it names, as in `{{ db_user: {name} }}`"))
}

fn unknown(diagnostic: Diagnostic, field: &str, expected: &[&'static str]) -> Diagnostic {
    let diagnostic = diagnostic.did_you_mean(field, expected.iter().copied());
    if diagnostic.suggestion.is_some() || expected.is_empty() {
        return diagnostic;
    }
    let keys: Vec<String> = expected.iter().map(|key| format!("`{key}`")).collect();
    diagnostic.suggest(format!("the keys here are {}", keys.join(", ")))
}

fn shape(expected: &str) -> &str {
    match expected {
        "mapping start" => "keys and values, as in `key: value`",
        "sequence start" => "a list, as in `[a, b]`",
        other => other,
    }
}

fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.rsplit_once(" at line ")
        .map_or(line, |(message, _)| message)
        .to_owned()
}

/// A value, and where it stands.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Spanned<T>(serde_yaml::Spanned<T>);

impl<T> Deref for Spanned<T> {
    type Target = serde_yaml::Spanned<T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// What may stand at a key that the language has and this version does not take.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Unsupported(IgnoredAny);

/// A leaf as it stands in the file. Reading one never fails: what is not a leaf is recorded as such.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List,
    Mapping,
}

impl Scalar {
    /// What it is, for `expected ..., found ...`.
    pub fn describe(&self) -> String {
        match self {
            Scalar::Null => "nothing".to_owned(),
            Scalar::Bool(value) => format!("the boolean `{value}`"),
            Scalar::Integer(value) => format!("the number `{value}`"),
            Scalar::Float(value) => format!("the number `{value}`"),
            Scalar::Text(value) if value.is_empty() => "empty text".to_owned(),
            Scalar::Text(value) => format!("the text `{value}`"),
            Scalar::List => "a list".to_owned(),
            Scalar::Mapping => "keys and values".to_owned(),
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Scalar::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn boolean(&self) -> Option<bool> {
        match self {
            Scalar::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub fn integer(&self) -> Option<i128> {
        match self {
            Scalar::Integer(value) => Some(*value),
            _ => None,
        }
    }
}

/// A leaf, a list of values, or a reference to where the value stands.
#[derive(Debug, Clone)]
pub enum Value {
    Scalar(Scalar),
    List(Vec<Spanned<Value>>),
    Reference(Reference),
}

/// The values of a list, or the one that stands in its place.
pub fn each(leaf: &Spanned<Value>) -> Vec<&Spanned<Value>> {
    match &leaf.value {
        Value::List(list) => list.iter().collect(),
        _ => vec![leaf],
    }
}

/// `{ env: NAME }` or `{ file: PATH }`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// The environment variable that has the value.
    pub env: Option<Spanned<String>>,
    /// The file that has the value.
    pub file: Option<Spanned<String>>,
}

/// One leaf or a list of leaves.
#[derive(Debug, Clone)]
pub enum OneOrMany {
    One(Scalar),
    Many(Vec<Spanned<Scalar>>),
}

/// Keys of the writer's choice with their values, in the order of the file.
#[derive(Debug, Clone)]
pub struct Entries<T>(pub Vec<(Spanned<String>, T)>);

impl<T> Default for Entries<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// Makes a leaf of whatever comes, as the base of the visitors below.
macro_rules! visit_scalars {
    ($wrap:expr) => {
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($wrap(Scalar::Null))
        }
        fn visit_none<E>(self) -> Result<Self::Value, E> {
            Ok($wrap(Scalar::Null))
        }
        fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
            Ok($wrap(Scalar::Bool(value)))
        }
        fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
            Ok($wrap(Scalar::Integer(value.into())))
        }
        fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
            Ok($wrap(Scalar::Integer(value.into())))
        }
        fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
            Ok($wrap(Scalar::Float(value)))
        }
        fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
            Ok($wrap(Scalar::Text(value.to_owned())))
        }
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a value")
        }
    };
}

fn drain<'de, A: SeqAccess<'de>>(mut list: A) -> Result<(), A::Error> {
    while list.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

fn collect<'de, T: Deserialize<'de>, A: SeqAccess<'de>>(mut list: A) -> Result<Vec<T>, A::Error> {
    let mut items = Vec::new();
    while let Some(item) = list.next_element()? {
        items.push(item);
    }
    Ok(items)
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Leaf;
        impl<'de> Visitor<'de> for Leaf {
            type Value = Scalar;
            visit_scalars!(std::convert::identity);
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Scalar, A::Error> {
                drain(list).map(|()| Scalar::List)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Mapping)
            }
        }
        deserializer.deserialize_any(Leaf)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Value;
            visit_scalars!(Value::Scalar);
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Value, A::Error> {
                collect(list).map(Value::List)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Value, A::Error> {
                Reference::deserialize(MapAccessDeserializer::new(map)).map(Value::Reference)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = OneOrMany;
            visit_scalars!(OneOrMany::One);
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<OneOrMany, A::Error> {
                collect(list).map(OneOrMany::Many)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OneOrMany, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(OneOrMany::One(Scalar::Mapping))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entries<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Pairs<T> {
            type Value = Entries<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("keys and values, as in `key: value`")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Pairs(PhantomData))
    }
}
