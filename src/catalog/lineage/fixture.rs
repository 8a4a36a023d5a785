//! A small schema for the tests, and sources as text.
//!
//! `=t.c` is the same column, `t.c u.d` computed from these, `-` computed from none, `?` unknown.
use super::attribute_all;
use crate::catalog::{
    AttNum, Catalog, Column, ColumnSource, Function, Oid, Relation, RelationKind, Type, TypeKind,
    Volatility,
};

const TABLES: &[(&str, &str, &[&str])] = &[
    (
        "crm",
        "contacts",
        &["id", "name", "phone", "region", "company_id"],
    ),
    ("crm", "leads", &["id", "name", "phone"]),
    ("crm", "companies", &["id", "title", "parent"]),
    ("pg_catalog", "pg_class", &["oid", "relname"]),
];

pub fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    for (oid, (schema, name, columns)) in (100..).zip(TABLES) {
        let columns: Vec<&str> = columns.to_vec();
        catalog.insert(relation(oid, schema, name, &columns));
    }
    let functions: &[(&str, &str, Volatility, Option<&str>)] = &[
        ("pg_catalog", "upper", Volatility::Immutable, None),
        ("pg_catalog", "lower", Volatility::Immutable, None),
        ("pg_catalog", "count", Volatility::Immutable, None),
        ("pg_catalog", "sum", Volatility::Immutable, None),
        ("pg_catalog", "row_number", Volatility::Immutable, None),
        ("pg_catalog", "row_to_json", Volatility::Stable, None),
        ("pg_catalog", "generate_series", Volatility::Immutable, None),
        ("pg_catalog", "unnest", Volatility::Immutable, None),
        ("pg_catalog", "now", Volatility::Stable, None),
        ("pg_catalog", "random", Volatility::Volatile, None),
        ("pg_catalog", "query_to_xml", Volatility::Volatile, None),
        ("pg_catalog", "table_to_xml", Volatility::Stable, None),
        ("crm", "secret_of", Volatility::Immutable, None),
        ("crm", "upper", Volatility::Immutable, None),
        ("crm", "similarity", Volatility::Immutable, Some("pg_trgm")),
        ("crm", "crosstab", Volatility::Stable, Some("tablefunc")),
    ];
    for (schema, name, volatility, extension) in functions {
        catalog
            .functions
            .entry((*name).to_owned())
            .or_default()
            .push(Function {
                schema: (*schema).to_owned(),
                volatility: *volatility,
                extension: extension.map(str::to_owned),
                security_definer: false,
                built_in: schema == &"pg_catalog",
            });
    }
    for (oid, name, kind) in [
        (900, "region", TypeKind::Domain),
        (901, "sneaky", TypeKind::Base),
    ] {
        let data_type = Type {
            schema: "crm".to_owned(),
            name: name.to_owned(),
            kind,
            category: 'U',
            base: None,
            extension: None,
        };
        catalog.insert_type(oid, data_type);
    }
    catalog
}

pub fn relation(oid: Oid, schema: &str, name: &str, columns: &[&str]) -> Relation {
    let columns = (1..).zip(columns).map(|(num, column)| Column {
        num,
        name: (*column).to_owned(),
        // One column that a join has to coerce.
        type_oid: if (schema, name, *column) == ("crm", "leads", "phone") {
            1043
        } else {
            25
        },
        typmod: -1,
        type_sql: "pg_catalog.text".to_owned(),
        not_null: false,
        generated_from: Vec::new(),
    });
    Relation {
        oid,
        schema: schema.to_owned(),
        name: name.to_owned(),
        kind: RelationKind::Table,
        columns: columns.collect(),
        primary_key: Vec::new(),
        unique: Vec::new(),
        parents: Vec::new(),
        sources: Vec::new(),
        extension: None,
    }
}

pub fn shown(catalog: &Catalog, source: &ColumnSource) -> String {
    let name = |relation: &Oid, column: &AttNum| {
        let relation = &catalog.relations[relation];
        let column = relation
            .column_number(*column)
            .map_or("!", |column| column.name.as_str());
        format!("{}.{column}", relation.name)
    };
    match source {
        ColumnSource::Same { relation, column } => format!("={}", name(relation, column)),
        ColumnSource::Computed { from } if from.is_empty() => "-".to_owned(),
        ColumnSource::Computed { from } => from
            .iter()
            .map(|(relation, column)| name(relation, column))
            .collect::<Vec<_>>()
            .join(" "),
        ColumnSource::Unknown => "?".to_owned(),
    }
}

/// `columns` names the view's columns with what is expected of each.
pub fn check(definition: &str, columns: &[(&str, &str)]) {
    let mut catalog = catalog();
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    catalog.insert(relation(999, "crm", "v", &names));
    let aggregates = ["count", "sum"].map(str::to_owned).into();
    let attributed =
        attribute_all(&catalog, &[(999, definition.to_owned())], &aggregates).expect("analysis");
    let found: Vec<String> = attributed[0]
        .1
        .iter()
        .map(|source| shown(&catalog, source))
        .collect();
    let expected: Vec<&str> = columns.iter().map(|(_, source)| *source).collect();
    assert_eq!(found, expected, "in: {definition}");
}
