//! System catalogs and settings: what of them a restricted role may read and change.

use crate::policy::compiled::RolePolicy;
use crate::policy::system::closes_serializable;
pub use crate::policy::system::{readable, writable};

/// Of a value that is not known: no setting has it.
pub const ANY_VALUE: &str = "\u{0}";

/// Beginnings of names of settings that can send to the client what the server does inside.
const TALKATIVE: &[&str] = &[
    "debug_",
    "log_",
    "trace_",
    "track_",
    "auto_explain.",
    "plpgsql.",
];

/// `parse_bool`: an unambiguous beginning of true, yes or on, or 1, in any case.
fn is_on(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    let begins = |word: &str| !value.is_empty() && word.starts_with(&value);
    begins("true") || begins("yes") || value == "on" || value == "1"
}

/// What there is against a value of a setting, for a role and a database user.
pub fn objection(role: &RolePolicy, user: &str, name: &str, value: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    let isolates = matches!(
        name.as_str(),
        "transaction_isolation" | "default_transaction_isolation"
    );
    let known = ["read uncommitted", "read committed", "repeatable read"];
    let is_known = known.iter().any(|known| known.eq_ignore_ascii_case(value));
    if isolates && !is_known && closes_serializable(role) {
        return Some(
            "whether a serializable transaction fails would depend on rows that the role does not see; REPEATABLE READ may be had",
        );
    }
    // Nothing changes. Names of roles are compared as they are.
    if name == "role" && value == user && !user.is_empty() {
        return None;
    }
    setting_objection(&name, Some(value))
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
        "standard_conforming_strings" => (value.is_some() && !value.is_some_and(is_on))
            .then_some("string literals must read the same to pgveil and to the server"),
        "backslash_quote" => {
            let harmless = ["off", "no", "false", "0", "safe_encoding"];
            (value.is_some() && !is(&harmless))
                .then_some("string literals must read the same to pgveil and to the server")
        }
        "client_min_messages" => (value.is_some() && !is(&["notice", "warning", "error"]))
            .then_some("debug output shows what the server does with stored values"),
        "local_preload_libraries" | "session_preload_libraries" | "dynamic_library_path" => {
            Some("it loads code")
        }
        "session_replication_role" => Some("it turns triggers and rules off"),
        "gin_fuzzy_search_limit" | "temp_file_limit" => value
            .is_some()
            .then_some("what comes back would depend on rows that the role does not see"),
        "allow_system_table_mods" | "ignore_system_indexes" => {
            Some("it changes how the system catalogs are read")
        }
        _ if TALKATIVE.iter().any(|prefix| name.starts_with(prefix)) => {
            Some("debug output shows what the server does with stored values")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_change_what_was_judged_are_refused() {
        for (name, value, refused) in [
            ("role", Some("dba"), true),
            ("role", Some("none"), false),
            ("ROLE", None, false),
            ("standard_conforming_strings", Some("off"), true),
            ("client_min_messages", Some("debug1"), true),
            ("client_min_messages", Some("WARNING"), false),
            ("client_encoding", Some("GBK"), false),
            ("standard_conforming_strings", Some("TR"), false),
            ("standard_conforming_strings", Some("o"), true),
            ("standard_conforming_strings", None, false),
            ("backslash_quote", Some("\u{0}"), true),
            ("backslash_quote", Some("safe_encoding"), false),
            ("session_replication_role", Some("replica"), true),
            ("row_security", Some("off"), false),
            ("Plpgsql.print_strict_params", Some("on"), true),
            ("client_encoding", Some("UTF8"), false),
            ("debug_print_parse", Some("on"), true),
            ("search_path", Some("crm"), false),
            ("datestyle", Some("iso"), false),
            ("gin_fuzzy_search_limit", Some("25"), true),
            ("GIN_fuzzy_search_limit", None, false),
            ("temp_file_limit", Some("1MB"), true),
            ("work_mem", Some("64kB"), false),
        ] {
            assert_eq!(
                setting_objection(name, value).is_some(),
                refused,
                "{name} {value:?}"
            );
        }
    }
}
