//! System catalogs and settings: what of them a restricted role may read and change.

/// Relations of `pg_catalog` that hold names and definitions, and no stored values. An allowlist: statistics
/// (`pg_stats`, `pg_statistic`), activity (`pg_stat_activity`), large objects, passwords and whatever the next
/// PostgreSQL brings stay out.
const READABLE: &[&str] = &[
    "pg_aggregate",
    "pg_am",
    "pg_amop",
    "pg_amproc",
    "pg_attrdef",
    "pg_attribute",
    "pg_auth_members",
    "pg_available_extension_versions",
    "pg_available_extensions",
    "pg_cast",
    "pg_class",
    "pg_collation",
    "pg_config",
    "pg_constraint",
    "pg_conversion",
    "pg_database",
    "pg_db_role_setting",
    "pg_default_acl",
    "pg_depend",
    "pg_description",
    "pg_enum",
    "pg_event_trigger",
    "pg_extension",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_foreign_table",
    "pg_group",
    "pg_index",
    "pg_indexes",
    "pg_inherits",
    "pg_init_privs",
    "pg_language",
    "pg_largeobject_metadata",
    "pg_locks",
    "pg_matviews",
    "pg_namespace",
    "pg_opclass",
    "pg_operator",
    "pg_opfamily",
    "pg_parameter_acl",
    "pg_partitioned_table",
    "pg_policies",
    "pg_policy",
    "pg_proc",
    "pg_publication",
    "pg_publication_namespace",
    "pg_publication_rel",
    "pg_publication_tables",
    "pg_range",
    "pg_rewrite",
    "pg_roles",
    "pg_rules",
    "pg_seclabel",
    "pg_seclabels",
    "pg_sequence",
    "pg_sequences",
    "pg_settings",
    "pg_shdepend",
    "pg_shdescription",
    "pg_shseclabel",
    "pg_statistic_ext",
    "pg_tables",
    "pg_tablespace",
    "pg_timezone_abbrevs",
    "pg_timezone_names",
    "pg_transform",
    "pg_trigger",
    "pg_ts_config",
    "pg_ts_config_map",
    "pg_ts_dict",
    "pg_ts_parser",
    "pg_ts_template",
    "pg_type",
    "pg_user",
    "pg_views",
];

/// Whether a restricted role may read the relation, by its schema and name alone.
pub fn readable(schema: &str, name: &str) -> bool {
    match schema {
        "pg_catalog" => READABLE.contains(&name),
        "information_schema" => true,
        // The session's own, under the alias that can mean no other.
        "pg_temp" => true,
        _ => !schema.starts_with("pg_toast") && !schema.starts_with("pg_temp"),
    }
}

/// Encodings in which no byte of a multi-byte character can be an ASCII character (`PG_ENCODING_BE_LAST` and below in
/// `src/include/mb/pg_wchar.h`).
pub fn safe_encoding(name: &str) -> bool {
    let folded: String = name
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    !matches!(
        folded.as_str(),
        "sjis"
            | "shiftjis"
            | "mskanji"
            | "win932"
            | "windows932"
            | "shiftjis2004"
            | "big5"
            | "win950"
            | "windows950"
            | "gbk"
            | "win936"
            | "windows936"
            | "uhc"
            | "win949"
            | "windows949"
            | "gb18030"
            | "johab"
    )
}

/// Why a restricted session may not give a setting that value; `None`: it may. `value` is `None` for DEFAULT, RESET and
/// values that are not literal.
pub fn setting_objection(name: &str, value: Option<&str>) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let is = |wanted: &[&str]| {
        value.is_some_and(|value| wanted.iter().any(|word| value.eq_ignore_ascii_case(word)))
    };
    match name.as_str() {
        "role" | "session_authorization" => (value.is_some() && !is(&["none", "default"]))
            .then_some("the session's role is fixed at login"),
        "standard_conforming_strings" => (value.is_some() && !is(&["on", "true", "yes", "1"]))
            .then_some("string literals must read the same to pgveil and to the server"),
        "backslash_quote" => (value.is_some() && is(&["on", "true", "yes", "1"]))
            .then_some("string literals must read the same to pgveil and to the server"),
        "client_min_messages" => (value.is_some() && !is(&["notice", "warning", "error"]))
            .then_some("debug output shows what the server does with stored values"),
        "client_encoding" => value
            .is_some_and(|value| !safe_encoding(value))
            .then_some("the encoding's bytes can hide ASCII characters"),
        "local_preload_libraries" | "session_preload_libraries" | "dynamic_library_path" => {
            Some("it loads code")
        }
        _ if name.starts_with("debug_print_")
            || name.starts_with("log_")
            || name.starts_with("auto_explain.") =>
        {
            Some("debug output shows what the server does with stored values")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_and_activity_are_not_readable() {
        for name in [
            "pg_stats",
            "pg_statistic",
            "pg_stat_activity",
            "pg_largeobject",
            "pg_authid",
            "pg_new_in_99",
        ] {
            assert!(!readable("pg_catalog", name), "{name}");
        }
        assert!(readable("pg_catalog", "pg_class") && readable("crm", "contacts"));
        assert!(!readable("pg_toast", "pg_toast_16384") && !readable("pg_temp_3", "t"));
    }

    #[test]
    fn settings_that_change_what_was_judged_are_refused() {
        for (name, value, refused) in [
            ("role", Some("dba"), true),
            ("role", Some("none"), false),
            ("ROLE", None, false),
            ("standard_conforming_strings", Some("off"), true),
            ("client_min_messages", Some("debug1"), true),
            ("client_min_messages", Some("WARNING"), false),
            ("client_encoding", Some("GB-K"), true),
            ("client_encoding", Some("UTF8"), false),
            ("debug_print_parse", Some("on"), true),
            ("search_path", Some("crm"), false),
            ("datestyle", Some("iso"), false),
        ] {
            assert_eq!(
                setting_objection(name, value).is_some(),
                refused,
                "{name} {value:?}"
            );
        }
    }
}
