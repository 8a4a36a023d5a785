//! Names as PostgreSQL reads and writes them: quoting, and the effective search path.
use crate::catalog::Catalog;

use super::plan::SessionFacts;

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
/// user's name, schemas that do not exist left out. The temporary schema takes no part: a restricted session cannot
/// make objects in it.
pub fn search_path(facts: &SessionFacts, catalog: &Catalog) -> Vec<String> {
    let mut path = Vec::new();
    for element in setting_elements(&facts.search_path) {
        let schema = if element == "$user" {
            facts.user.clone()
        } else {
            element
        };
        if schema != "pg_temp" && catalog.schemas.contains(&schema) && !path.contains(&schema) {
            path.push(schema);
        }
    }
    if !path.iter().any(|schema| schema == "pg_catalog") {
        path.insert(0, "pg_catalog".to_owned());
    }
    path
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
            elements.push(element);
        }
        rest = behind.trim_start().strip_prefix(',').unwrap_or("").trim();
    }
    elements
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
        ] {
            assert_eq!(setting_elements(setting), expected, "{setting}");
        }
    }

    #[test]
    fn pg_catalog_is_first_unless_named() {
        let mut catalog = Catalog::default();
        catalog
            .schemas
            .extend(["public", "crm", "pg_catalog", "joe"].map(String::from));
        let path = |setting: &str| {
            search_path(
                &SessionFacts {
                    values: Default::default(),
                    search_path: setting.into(),
                    user: "joe".into(),
                },
                &catalog,
            )
        };
        assert_eq!(path("\"$user\", public"), ["pg_catalog", "joe", "public"]);
        assert_eq!(path("crm, pg_catalog, nowhere"), ["crm", "pg_catalog"]);
    }
}
