//! JSON Schema of what configuration files are made of. The raw types derive theirs; these are the pieces that read
//! whatever comes and are judged afterwards.
use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::yaml::{Entries, OneOrMany, Reference, Scalar, Spanned, Unsupported, Value};

impl<T: JsonSchema> JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }
    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }
    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// An implementation that stands where it is used.
macro_rules! inline {
    ($type:ty, $name:literal, |$generator:ident| $schema:expr) => {
        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

inline!(
    Scalar,
    "Scalar",
    |_generator| json_schema!({ "type": ["string", "number", "boolean"] })
);

inline!(Unsupported, "Unsupported", |_generator| json_schema!({
    "not": {},
    "description": "Part of the language, and not supported yet.",
}));

inline!(OneOrMany, "OneOrMany", |generator| {
    let leaf = generator.subschema_for::<Scalar>();
    json_schema!({ "anyOf": [leaf, { "type": "array", "items": leaf }] })
});

impl<T: JsonSchema> JsonSchema for Entries<T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("Entries_of_{}", T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<T>();
        json_schema!({ "type": "object", "additionalProperties": value })
    }
}

/// A value, a list of values, or a reference to where the value is.
impl JsonSchema for Value {
    fn schema_name() -> Cow<'static, str> {
        "Value".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let leaf = generator.subschema_for::<Scalar>();
        let reference = generator.subschema_for::<Reference>();
        let own = generator.subschema_for::<Value>();
        json_schema!({ "anyOf": [leaf, { "type": "array", "items": own }, reference] })
    }
}
