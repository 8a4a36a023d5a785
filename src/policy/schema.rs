//! JSON Schema of what in a policy reads more than one shape.
use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::mask::Preset;
use super::raw::{RawMask, RawMaskKeys, RawNetwork, RawNetworkKeys};

/// A word, or one key with its options.
impl JsonSchema for RawMask {
    fn schema_name() -> Cow<'static, str> {
        "RawMask".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let presets = Preset::all().iter().map(|preset| preset.name);
        let words: Vec<&str> = ["null", "redact"].into_iter().chain(presets).collect();
        let keys = generator.subschema_for::<RawMaskKeys>();
        json_schema!({
            "description": "What the role sees in place of the value.",
            "anyOf": [{ "enum": words }, keys],
        })
    }
}

/// Bits of an IPv4 address, or bits by version.
impl JsonSchema for RawNetwork {
    fn schema_name() -> Cow<'static, str> {
        "RawNetwork".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let keys = generator.subschema_for::<RawNetworkKeys>();
        json_schema!({ "anyOf": [{ "type": "integer", "minimum": 0, "maximum": 31 }, keys] })
    }
}
