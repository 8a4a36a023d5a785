//! Type names as SQL that means the same under any `search_path`.

/// Makes the output of `format_type`, taken with an empty `search_path`, independent of the search path it is read
/// under.
///
/// Types outside `pg_catalog` come qualified already. Of those inside, names the grammar spells with keywords
/// (`character varying(20)`, `timestamp(3) with time zone`) always mean the built-in type; all others (`text`,
/// `uuid`, `"char"`) could be shadowed and get their schema. `builtin` and `element` tell the schema and the internal
/// name (`pg_type.typname`) of the type, of an array's elements where it is one.
pub fn type_sql(formatted: &str, builtin: bool, element: &str) -> String {
    if !builtin || is_keyword_type(formatted, element) {
        formatted.to_owned()
    } else {
        format!("pg_catalog.{formatted}")
    }
}

/// `format_type_extended` (format_type.c) writes a keyword for these internal names, unless a keyword without a
/// length would mean another type: `bpchar` and `bit` without typmod come as `bpchar` and `"bit"`, since plain
/// `character` and `bit` mean a length of 1.
fn is_keyword_type(formatted: &str, element: &str) -> bool {
    match element {
        "bool" | "float4" | "float8" | "int2" | "int4" | "int8" | "interval" | "numeric"
        | "time" | "timetz" | "timestamp" | "timestamptz" | "varbit" | "varchar" => true,
        "bpchar" => formatted.starts_with("character"),
        "bit" => formatted.starts_with("bit"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::type_sql;

    #[test]
    fn keyword_spellings_stay_and_other_builtin_names_are_qualified() {
        for (formatted, element, expected) in [
            ("integer", "int4", "integer"),
            ("character varying(20)", "varchar", "character varying(20)"),
            ("character(3)[]", "bpchar", "character(3)[]"),
            ("bpchar", "bpchar", "pg_catalog.bpchar"),
            ("bit(4)", "bit", "bit(4)"),
            ("\"bit\"", "bit", "pg_catalog.\"bit\""),
            ("\"char\"", "char", "pg_catalog.\"char\""),
            (
                "timestamp(3) with time zone",
                "timestamptz",
                "timestamp(3) with time zone",
            ),
            ("text[]", "text", "pg_catalog.text[]"),
            ("uuid", "uuid", "pg_catalog.uuid"),
        ] {
            assert_eq!(type_sql(formatted, true, element), expected);
        }
    }

    #[test]
    fn types_of_other_schemas_come_qualified_already() {
        assert_eq!(
            type_sql("crm.\"Phone\"[]", false, "Phone"),
            "crm.\"Phone\"[]"
        );
        // A user's type that is called like a built-in one.
        assert_eq!(type_sql("crm.int4", false, "int4"), "crm.int4");
    }
}
