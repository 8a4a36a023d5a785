//! Labelled schemas: what is in each column, and a database made of them.
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::generate::value;
use crate::support::Postgres;

const ROWS: u64 = 150;

/// A column as `schemas/*.tsv` has it.
pub struct Labelled {
    /// With its schema.
    pub table: String,
    pub column: String,
    pub data_type: String,
    pub label: String,
    values: Option<String>,
    comment: Option<String>,
}

impl Labelled {
    pub fn name(&self) -> String {
        format!("{}.{}", self.table, self.column)
    }

    /// Whether the class is one that the label allows.
    pub fn is(&self, class: &str) -> bool {
        self.label.split('|').any(|label| label == class)
    }

    pub fn sensitive(&self) -> bool {
        !matches!(self.label.as_str(), "-" | "?")
    }

    pub fn counted(&self) -> bool {
        self.label != "?"
    }
}

pub fn read(name: &str) -> Vec<Labelled> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/scan/schemas/{name}.tsv"));
    let text = fs::read_to_string(path).expect("a schema");
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let [table, column, data_type, label, rest @ ..] = fields.as_slice() else {
                panic!("{name}: {line}");
            };
            let table = match table.contains('.') {
                true => (*table).to_owned(),
                false => format!("public.{table}"),
            };
            Labelled {
                table,
                column: (*column).to_owned(),
                data_type: (*data_type).to_owned(),
                label: (*label).to_owned(),
                values: rest.first().map(|text| (*text).to_owned()),
                comment: rest.get(1).map(|text| (*text).to_owned()),
            }
        })
        .collect()
}

/// Makes the tables in a database of that name, with rows where the schema says how values are made.
pub fn create(server: &Postgres, database: &str, columns: &[Labelled]) {
    server.create_database(database);
    let mut tables: BTreeMap<&str, Vec<&Labelled>> = BTreeMap::new();
    for column in columns {
        tables.entry(&column.table).or_default().push(column);
    }
    let mut sql = String::new();
    for table in tables.keys() {
        let (schema, _) = table.split_once('.').expect("a schema");
        let _ = writeln!(sql, "CREATE SCHEMA IF NOT EXISTS {schema};");
    }
    for (table, columns) in &tables {
        let defined: Vec<String> = columns
            .iter()
            .map(|column| format!("\"{}\" {}", column.column, column.data_type))
            .collect();
        let (schema, name) = table.split_once('.').expect("a schema");
        let table = format!("{schema}.\"{name}\"");
        let _ = writeln!(sql, "CREATE TABLE {table} ({});", defined.join(", "));
        for column in columns {
            if let Some(comment) = &column.comment {
                let _ = writeln!(
                    sql,
                    "COMMENT ON COLUMN {table}.\"{}\" IS '{comment}';",
                    column.column
                );
            }
        }
        if columns.iter().all(|column| column.values.is_none()) {
            continue;
        }
        let rows: Vec<String> = (1..=ROWS).map(|row| self::row(columns, row)).collect();
        let _ = writeln!(sql, "INSERT INTO {table} VALUES {};", rows.join(",\n"));
    }
    sql.push_str("ANALYZE;");
    server.sql(database, &sql);
}

fn row(columns: &[&Labelled], row: u64) -> String {
    let values: Vec<String> = columns
        .iter()
        .map(|column| {
            let spec = column.values.as_deref();
            match spec.and_then(|spec| value(spec, &column.name(), row)) {
                Some(text) => format!("'{}'", text.replace('\'', "''")),
                None => "NULL".to_owned(),
            }
        })
        .collect();
    format!("({})", values.join(", "))
}
