//! The shape of a line of the audit record as a JSON Schema, draft 2020-12: from the types that write it.
use schemars::Schema;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use serde_json::{Map, Value, json};

use super::record::Record;

/// Where the schema lives in pgveil's own repository.
pub const FILE: &str = "deploy/audit-record.schema.json";

/// The schema of one line. Every property is described. Properties that it does not name may stand in records of later
/// versions.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .for_serialize()
        .with_transform(AsWritten);
    let mut schema = settings.into_generator().into_root_schema_for::<Record>();
    chained(&mut schema);
    schema.to_value()
}

/// The schema as the file has it.
pub fn text() -> String {
    let mut text = serde_json::to_string_pretty(&schema()).unwrap_or_default();
    text.push('\n');
    text
}

/// What [`super::chain`] puts before the record.
fn chained(schema: &mut Schema) {
    let hash = |description: &str| json!({"description": description, "type": "string", "pattern": "^[0-9a-f]{64}$"});
    let of_the_chain = [
        (
            "hash",
            hash("SHA-256 of the line's bytes behind this member, newline excluded."),
        ),
        (
            "prev",
            hash(
                "The `hash` of the line before; of the first line, SHA-256 of `pgveil audit chain 1`, a newline and `chain`.",
            ),
        ),
        (
            "seq",
            json!({"description": "Counts the lines of the chain.", "type": "integer", "minimum": 1}),
        ),
    ];
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    object.insert("title".into(), "A line of pgveil's audit record".into());
    if let Some(Value::Array(required)) = object.get_mut("required") {
        required.extend(of_the_chain.iter().map(|(name, _)| Value::from(*name)));
    }
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        properties.extend(of_the_chain.map(|(name, schema)| (name.to_owned(), schema)));
    }
}

/// Fields that do not apply are left out, never null; and descriptions are for people who do not read the source.
#[derive(Debug, Clone)]
struct AsWritten;

impl Transform for AsWritten {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(object) = schema.as_object_mut() {
            never_null(object);
            if let Some(Value::String(description)) = object.get_mut("description") {
                *description = plain(description);
            }
        }
        transform_subschemas(self, schema);
    }
}

fn never_null(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    let Some(Value::Array(choices)) = schema.get_mut("anyOf") else {
        return;
    };
    choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
    if let [Value::Object(only)] = choices.as_slice() {
        let only = only.clone();
        schema.remove("anyOf");
        schema.extend(only);
    }
}

/// Without the first paragraph's line breaks, the code of examples, and links into the documentation of the code.
fn plain(description: &str) -> String {
    let text = description.split("\n\n").next().unwrap_or_default();
    text.replace('\n', " ")
        .replace("[`Record::", "`")
        .replace("[`", "`")
        .replace("`]", "`")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each schema within a schema that should say what it is for: properties, and words of an enumeration.
    fn described<'s>(path: &str, schema: &'s Value, missing: &mut Vec<String>, seen: &mut usize) {
        let children = |value: &'s Value| value.as_object().into_iter().flatten();
        for (name, property) in children(&schema["properties"]) {
            let path = format!("{path}.{name}");
            *seen += 1;
            if property["description"].as_str().is_none_or(str::is_empty) {
                missing.push(path.clone());
            }
            described(&path, property, missing, seen);
        }
        for word in schema["oneOf"].as_array().into_iter().flatten() {
            *seen += 1;
            if word["const"].is_null() || word["description"].is_null() {
                missing.push(format!("{path}: {word}"));
            }
        }
        if schema.get("enum").is_some() {
            missing.push(format!("{path}: words without a description"));
        }
        for (name, definition) in children(&schema["$defs"]) {
            described(name, definition, missing, seen);
        }
    }

    #[test]
    fn every_property_and_every_word_is_described() {
        let (mut missing, mut seen) = (Vec::new(), 0);
        described("record", &schema(), &mut missing, &mut seen);
        assert!(missing.is_empty(), "{missing:#?}");
        assert!(seen > 70, "only {seen}");
    }

    #[test]
    fn nothing_may_be_null_and_no_description_speaks_of_code() {
        let text = text();
        for wrong in ["null", "[`", "::", "```"] {
            assert!(!text.contains(wrong), "{wrong}");
        }
    }

    /// With `PGVEIL_BLESS=1` the file is written instead.
    #[test]
    fn the_file_is_what_the_types_say() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
        if std::env::var_os("PGVEIL_BLESS").is_some() {
            std::fs::write(&path, text()).expect("the schema is written");
        }
        let file = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            file == text(),
            "{FILE} is not what src/audit/record.rs says: run this test with PGVEIL_BLESS=1"
        );
    }
}
