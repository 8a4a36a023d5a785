//! `pgveil schema`: JSON Schemas for editors and CI, generated from the types that files are read into.
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::{CliError, print};
use crate::audit;
use crate::config::raw::RawSettings;
use crate::policy::raw::RawPolicy;

/// Print the JSON Schema of policies, of pgveil.yaml or of the audit record
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    pgveil schema policy > policy.schema.json\n  \
    pgveil schema config > pgveil.schema.json\n\n\
    An editor with a YAML language server completes and checks a file that begins with\n  \
    # yaml-language-server: $schema=policy.schema.json")]
pub struct SchemaArgs {
    /// What the schema is of
    #[arg(value_enum)]
    pub of: SchemaOf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// Policy files
    Policy,
    /// pgveil.yaml
    Config,
    /// Lines of the audit record
    Audit,
}

/// # Errors
/// Standard output cannot be written.
pub fn run(args: &SchemaArgs) -> Result<ExitCode, CliError> {
    print(&text(args.of))?;
    Ok(ExitCode::SUCCESS)
}

/// Where the repository has a schema, from its root on.
pub const fn file(of: SchemaOf) -> &'static str {
    match of {
        SchemaOf::Policy => "deploy/policy.schema.json",
        SchemaOf::Config => "deploy/pgveil.schema.json",
        SchemaOf::Audit => audit::schema::FILE,
    }
}

/// A schema as the file has it.
pub fn text(of: SchemaOf) -> String {
    match of {
        SchemaOf::Policy => written(schema::<RawPolicy>("A pgveil policy")),
        SchemaOf::Config => written(schema::<RawSettings>("pgveil.yaml")),
        SchemaOf::Audit => audit::schema::text(),
    }
}

fn schema<T: JsonSchema>(title: &str) -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    schema["title"] = json!(title);
    schema
}

fn written(schema: Value) -> String {
    format!("{schema:#}\n")
}
