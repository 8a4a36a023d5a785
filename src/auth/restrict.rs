//! What a restricted session may not ask for in its startup packet.
//!
//! A startup parameter is a `SET` that no planner sees. Those that would widen what the session may see, or change
//! how the server reads the texts pgveil has judged, are refused before the server gets them.
use crate::wire::error::{ErrorFields, sqlstate};
use crate::wire::startup::StartupMessage;

/// Parameters of the packet that are no settings of the server (`ProcessStartupPacket`).
const NOT_SETTINGS: [&[u8]; 4] = [b"user", b"database", b"replication", b"options"];
/// Settings that no restricted session may give, whatever the value, with the reason.
const DENIED: [(&str, &str); 10] = [
    ("role", "it changes who the session is"),
    ("session_authorization", "it changes who the session is"),
    (
        "session_replication_role",
        "it turns triggers and rules off",
    ),
    ("allow_system_table_mods", "it opens the system catalogs"),
    (
        "session_preload_libraries",
        "it loads code into the session",
    ),
    ("local_preload_libraries", "it loads code into the session"),
    ("dynamic_library_path", "it changes which code is loaded"),
    (
        "ignore_system_indexes",
        "it changes how the system catalogs are read",
    ),
    (
        "gin_fuzzy_search_limit",
        "what comes back would depend on rows that the role does not see",
    ),
    (
        "temp_file_limit",
        "what comes back would depend on rows that the role does not see",
    ),
];
/// Beginnings of names of settings that can send to the client what the server does inside.
const DENIED_PREFIXES: [&str; 6] = [
    "debug_",
    "log_",
    "trace_",
    "track_",
    "auto_explain.",
    "plpgsql.",
];

/// A setting as the server understands its name: ASCII lower case, `-` as `_`.
pub type Setting = (String, String);

/// The settings a startup packet makes, `options` taken apart, in the order in which the server applies them
/// (`process_startup_options`: the switches first). `Err` holds a switch in `options` that is not a setting.
pub fn settings(startup: &StartupMessage) -> Result<Vec<Setting>, String> {
    let mut settings = Vec::new();
    for (_, options) in startup.parameters().filter(|(name, _)| *name == b"options") {
        switches(&String::from_utf8_lossy(options), &mut settings)?;
    }
    for (name, value) in startup.parameters() {
        let is_setting = !NOT_SETTINGS.contains(&name);
        if is_setting && !name.starts_with(crate::wire::startup::PROTOCOL_OPTION) {
            let text = |bytes| String::from_utf8_lossy(bytes);
            settings.push((folded(&text(name)), text(value).into_owned()));
        }
    }
    Ok(settings)
}

/// Whether a restricted role may begin a session with this packet; if not, the FATAL error that says why.
pub fn check_startup(startup: &StartupMessage) -> Result<(), Box<ErrorFields>> {
    let replication = startup
        .parameters()
        .filter(|(name, _)| *name == b"replication");
    if replication.into_iter().any(|(_, value)| !is_off(value)) {
        return Err(refused(
            "replication connections are not open to this role",
            "They return whole tables and the write-ahead log.",
            "Connect as a role that the policy declares unmasked.",
        ));
    }
    let settings = settings(startup).map_err(|switch| {
        refused(
            &format!("the startup option \"{switch}\" is not open to this role"),
            "Of the server's switches, only -c name=value and --name=value are.",
            "Take the switch out of `options` (PGOPTIONS).",
        )
    })?;
    settings
        .iter()
        .try_for_each(|(name, value)| check_setting(name, value))
}

/// Whether the server's own settings for the role leave the session readable: what ParameterStatus reported.
/// `ALTER ROLE ... SET` and `ALTER DATABASE ... SET` reach a session without passing through pgveil.
pub fn check_reported(parameters: &[(String, String)]) -> Result<(), Box<ErrorFields>> {
    let watched = ["standard_conforming_strings"];
    let mut reported = parameters
        .iter()
        .filter(|(name, _)| watched.contains(&name.as_str()));
    reported.try_for_each(|(name, value)| check_setting(name, value))
}

/// Whether a session from which rows are hidden may have this `default_transaction_isolation`.
pub fn check_isolation(level: &str) -> Result<(), Box<ErrorFields>> {
    match level.eq_ignore_ascii_case("serializable") {
        true => Err(refused(
            "the setting \"default_transaction_isolation\" is not open to this role",
            "Whether a serializable transaction fails would depend on rows that the role does not see.",
            "Set it to 'repeatable read' for this role, or take it out of the connection's parameters.",
        )),
        false => Ok(()),
    }
}

/// Whether a restricted session may have this setting; `name` as [`Setting`] has it.
pub fn check_setting(name: &str, value: &str) -> Result<(), Box<ErrorFields>> {
    let refuse = |reason: &str, hint: &str| {
        let message = format!("the setting \"{name}\" is not open to this role");
        Err(refused(&message, reason, hint))
    };
    let take_out = "Take it out of the connection's parameters.";
    if let Some((_, reason)) = DENIED.iter().find(|(denied, _)| *denied == name) {
        return refuse(&sentence(reason), take_out);
    }
    if DENIED_PREFIXES
        .iter()
        .any(|prefix| name.starts_with(prefix))
    {
        return refuse(
            "It can send the server's internals to the client.",
            take_out,
        );
    }
    match name {
        "standard_conforming_strings" if !is_on(value) => refuse(
            "With it off, backslashes in texts are read otherwise than pgveil reads them.",
            "Leave it on, and write E'...' where backslashes are meant to escape.",
        ),
        "client_min_messages" if !is_quiet(value) => refuse(
            "Below notice, the server's debug output would reach the client.",
            "Use notice, warning or error.",
        ),
        _ => Ok(()),
    }
}

fn refused(message: &str, detail: &str, hint: &str) -> Box<ErrorFields> {
    let fields = ErrorFields::fatal(
        sqlstate::INSUFFICIENT_PRIVILEGE,
        format!("pgveil: {message}"),
    );
    Box::new(fields.with_detail(detail).with_hint(hint))
}

/// A reason as a sentence: with a capital and a full stop.
fn sentence(reason: &str) -> String {
    let mut letters = reason.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}

/// As `ParseLongOption` and the lookup of settings see a name.
fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

/// Takes `options` apart: `pg_split_opts`, then of `process_postgres_switches` the two that make settings.
fn switches(options: &str, settings: &mut Vec<Setting>) -> Result<(), String> {
    let mut words = split(options).into_iter();
    while let Some(word) = words.next() {
        let setting = match (word.strip_prefix("--"), word.strip_prefix("-c")) {
            (Some(long), _) => Some(long.to_owned()),
            (None, Some("")) => words.next(),
            (None, Some(attached)) => Some(attached.to_owned()),
            (None, None) => None,
        };
        let pair = setting
            .as_deref()
            .and_then(|setting| setting.split_once('='));
        match pair {
            Some((name, value)) if !name.is_empty() => {
                settings.push((folded(name), value.to_owned()));
            }
            _ => return Err(word),
        }
    }
    Ok(())
}

/// Words between white space; a backslash takes the next character as it is.
fn split(options: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = options.chars();
    while let Some(letter) = letters.next() {
        match letter {
            // isspace() in the C locale; vertical tab is not in Rust's ASCII white space.
            ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c' => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(letters.next()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

/// `parse_bool`: an unambiguous beginning of true, yes or on, or 1, in any case.
fn is_on(value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    let begins = |word: &str| !value.is_empty() && word.starts_with(&value);
    begins("true") || begins("yes") || value == "on" || value == "1"
}

fn is_off(value: &[u8]) -> bool {
    let value = value.to_ascii_lowercase();
    let begins = |word: &str| !value.is_empty() && word.as_bytes().starts_with(&value);
    begins("false") || begins("no") || value == b"off" || value == b"of" || value == b"0"
}

fn is_quiet(value: &str) -> bool {
    ["notice", "warning", "error"].contains(&value.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::wire::startup::{Packet, parse};

    fn startup(parameters: &[(&str, &str)]) -> StartupMessage {
        let mut body = b"\0\x03\0\0user\0ann\0".to_vec();
        for (name, value) in parameters {
            body.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
        }
        body.push(0);
        match parse(Bytes::from(body)).unwrap() {
            Packet::Startup(startup) => startup,
            other => panic!("{other:?}"),
        }
    }

    fn is_refused(name: &str, value: &str) -> bool {
        let result = check_startup(&startup(&[(name, value)]));
        if let Err(fields) = &result {
            assert_eq!(
                (fields.sqlstate.as_str(), fields.severity.as_str()),
                ("42501", "FATAL")
            );
            assert!(fields.hint.is_some() && fields.message.starts_with("pgveil: "));
        }
        result.is_err()
    }

    #[test]
    fn what_drivers_send_is_let_through() {
        for (name, value) in [
            ("application_name", "psql"),
            ("DateStyle", "ISO"),
            ("TimeZone", "Europe/Berlin"),
            ("extra_float_digits", "2"),
            ("client_encoding", "UTF8"),
            ("client_encoding", "'utf-8'"),
            ("client_encoding", "LATIN1"),
            ("client_encoding", "GBK"),
            ("search_path", "crm, public"),
            ("standard_conforming_strings", "on"),
            ("standard_conforming_strings", "TRUE"),
            ("client_min_messages", "Warning"),
            ("options", ""),
            (
                "options",
                "-c statement_timeout=5s --search_path=a\\ b -cgeqo=off",
            ),
            ("replication", "false"),
            ("_pq_.anything", "x"),
            ("database", "role"),
        ] {
            assert!(!is_refused(name, value), "{name}={value}");
        }
    }

    #[test]
    fn what_widens_a_session_is_refused_in_every_spelling() {
        for (name, value) in [
            ("replication", "database"),
            ("replication", "true"),
            ("replication", ""),
            ("role", "dpo"),
            ("Role", "dpo"),
            ("session_authorization", "dpo"),
            ("standard_conforming_strings", "off"),
            ("Standard_Conforming_Strings", "f"),
            ("standard_conforming_strings", "o"),
            ("client_min_messages", "debug5"),
            ("client_min_messages", "LOG"),
            ("debug_print_plan", "on"),
            ("log_statement", "all"),
            ("auto_explain.log_level", "notice"),
            ("plpgsql.print_strict_params", "on"),
            ("track_functions", "all"),
            ("gin_fuzzy_search_limit", "25"),
            ("temp_file_limit", "64"),
            ("options", "-c gin-fuzzy-search-limit=25"),
            ("options", "-c role=dpo"),
            ("options", "-crole=dpo"),
            ("options", "--role=dpo"),
            ("options", "--session-authorization=dpo"),
            ("options", "\t-c\n\\role=dpo"),
            ("options", "-c geqo=off -c RoLe=dpo"),
            ("options", "-d 5"),
            ("options", "-c"),
            ("options", "-c role"),
            ("options", "--"),
            ("options", "-ec role=dpo"),
            ("options", "role=dpo"),
        ] {
            assert!(is_refused(name, value), "{name}={value}");
        }
    }

    #[test]
    fn a_duplicate_does_not_hide_behind_a_harmless_one() {
        let twice = [("replication", "true"), ("replication", "false")];
        assert!(check_startup(&startup(&twice)).is_err());
        let options = [("options", "-c role=dpo"), ("options", "")];
        assert!(check_startup(&startup(&options)).is_err());
    }

    #[test]
    fn settings_come_in_the_order_in_which_the_server_applies_them() {
        let startup = startup(&[("search_path", "b"), ("options", "-c search_path=a")]);
        let pair = |value: &str| ("search_path".to_owned(), value.to_owned());
        assert_eq!(settings(&startup), Ok(vec![pair("a"), pair("b")]));
    }
}
