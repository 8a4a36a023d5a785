//! Names as PostgreSQL reads and writes them: quoting, and the effective search path.
use crate::catalog::Catalog;

use super::plan::SessionFacts;
use super::temporary::SCHEMA;

/// An identifier as it is written in SQL, always quoted: no keyword list of any version can then change what it means.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `"schema"."name"`.
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", quoted(schema), quoted(name))
}

/// A string literal; `standard_conforming_strings` is on in every restricted session.
pub fn literal(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

/// The schemas in which an unqualified name is looked up, in order (`recomputeNamespacePath` in
/// `src/backend/catalog/namespace.c`): `pg_catalog` first unless the setting names it, `"$user"` the schema of the
/// user's name, schemas that do not exist left out. The session's temporary schema, where it has one, comes first of
/// all unless the setting names it.
pub fn search_path(facts: &SessionFacts, catalog: &Catalog) -> Vec<String> {
    let mut path = Vec::new();
    for schema in schemas_of_setting(facts) {
        if catalog.schemas.contains(&schema) && !path.contains(&schema) {
            path.push(schema);
        }
    }
    for first in ["pg_catalog", "pg_temp"] {
        if catalog.schemas.contains(first) && !path.iter().any(|schema| schema == first) {
            path.insert(0, first.to_owned());
        }
    }
    path
}

/// The schema in which a permanent relation is made that is named without one: the first of the setting that is there.
/// `None`: there is none, or it would be a temporary one.
pub fn creation_schema(facts: &SessionFacts, catalog: &Catalog) -> Option<String> {
    let mut schemas = schemas_of_setting(facts);
    // The session's temporary schema need not be there to be made.
    let first = schemas.find(|name| name == SCHEMA || catalog.schemas.contains(name));
    first.filter(|name| name != SCHEMA)
}

/// The schemas that the setting names, whether they are there or not.
fn schemas_of_setting(facts: &SessionFacts) -> impl Iterator<Item = String> {
    let elements = setting_elements(&facts.search_path).into_iter();
    elements.map(|element| match element.as_str() {
        "$user" => facts.user.clone(),
        _ => element,
    })
}

/// The elements of a list setting (`SplitIdentifierString` in `src/backend/utils/adt/varlena.c`).
fn setting_elements(setting: &str) -> Vec<String> {
    let mut elements = Vec::new();
    let mut rest = setting.trim();
    while !rest.is_empty() {
        let (element, behind) = match rest.strip_prefix('"') {
            Some(body) => quoted_element(body),
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (name, behind) = rest.split_at(end);
                (name.trim().to_ascii_lowercase(), behind)
            }
        };
        if !element.is_empty() {
            elements.push(truncated(element));
        }
        rest = behind.trim_start().strip_prefix(',').unwrap_or("").trim();
    }
    elements
}

/// `NAMEDATALEN - 1`, in bytes: longer names are cut (`truncate_identifier`).
const NAME_BYTES: usize = 63;

fn truncated(mut name: String) -> String {
    let mut end = name.len().min(NAME_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    name
}

/// An element of a list setting as SET stores it (`flatten_set_variable_args`, guc_funcs.c). Keywords are quoted there
/// and not here; both read the same.
pub fn setting_element(name: &str) -> String {
    let plain = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if plain { name.to_owned() } else { quoted(name) }
}

fn quoted_element(body: &str) -> (String, &str) {
    let mut name = String::new();
    let mut rest = body;
    while let Some(end) = rest.find('"') {
        let (part, behind) = rest.split_at(end);
        name.push_str(part);
        let behind = behind.get(1..).unwrap_or("");
        match behind.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return (name, behind),
        }
    }
    (name, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_path_setting_is_read_as_postgresql_reads_it() {
        for (setting, expected) in [
            ("\"$user\", public", vec!["$user", "public"]),
            ("crm", vec!["crm"]),
            ("", vec![]),
            ("\"\"", vec![]),
            ("A, \"B c\",d", vec!["a", "B c", "d"]),
            ("\"a\"\"b\", c", vec!["a\"b", "c"]),
            (
                "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
                vec!["nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"],
            ),
        ] {
            assert_eq!(setting_elements(setting), expected, "{setting}");
        }
    }

    #[test]
    fn what_set_stores_reads_back_as_it_was_given() {
        for name in ["crm", "A b", "$user", "q\"q", "", "9a", "pg_temp"] {
            let expected: Vec<&str> = Some(name)
                .filter(|name| !name.is_empty())
                .into_iter()
                .collect();
            assert_eq!(setting_elements(&setting_element(name)), expected);
        }
    }

    #[test]
    fn what_is_made_is_made_in_the_first_schema_of_the_setting() {
        let mut catalog = Catalog::default();
        let schemas = ["public", "crm", "pg_catalog", "joe"];
        catalog.schemas.extend(schemas.map(String::from));
        for (setting, expected) in [
            ("\"$user\", public", Some("joe")),
            ("nowhere, crm, public", Some("crm")),
            ("pg_catalog, crm", Some("pg_catalog")),
            ("pg_temp, crm", None),
            ("nowhere", None),
            ("", None),
        ] {
            let facts = SessionFacts {
                search_path: setting.into(),
                user: "joe".into(),
                ..SessionFacts::default()
            };
            let found = creation_schema(&facts, &catalog);
            assert_eq!(found.as_deref(), expected, "{setting}");
        }
    }

    #[test]
    fn pg_catalog_is_first_unless_named() {
        let mut catalog = Catalog::default();
        catalog
            .schemas
            .extend(["public", "crm", "pg_catalog", "joe"].map(String::from));
        let path_in = |catalog: &Catalog, setting: &str| {
            search_path(
                &SessionFacts {
                    values: Default::default(),
                    search_path: setting.into(),
                    user: "joe".into(),
                    ..SessionFacts::default()
                },
                catalog,
            )
        };
        let path = |setting: &str| path_in(&catalog, setting);
        assert_eq!(path("\"$user\", public"), ["pg_catalog", "joe", "public"]);
        assert_eq!(path("crm, pg_catalog, nowhere"), ["crm", "pg_catalog"]);
        let mut catalog = catalog.clone();
        catalog.schemas.insert("pg_temp".to_owned());
        let path = |setting: &str| path_in(&catalog, setting);
        assert_eq!(path("crm"), ["pg_temp", "pg_catalog", "crm"]);
        assert_eq!(path("crm, pg_temp"), ["pg_catalog", "crm", "pg_temp"]);
    }
}
