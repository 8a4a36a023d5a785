//! System catalogs and settings: what of them a restricted role may read and change.

pub use crate::policy::system::{readable, writable};

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
