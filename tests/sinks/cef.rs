//! CEF as a receiver reads it.
use pgveil::audit::format::Format;
use pgveil::audit::{Event, Record};

use crate::formats::{bare, full, rendered};

/// A receiver's view of a CEF event: the header's fields and the extensions, unescaped.
fn parsed(event: &str) -> (Vec<String>, Vec<(String, String)>) {
    let mut fields = vec![String::new()];
    let mut letters = event.char_indices();
    let mut rest = "";
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => {
                let (_, letter) = letters.next().expect("an escape has two letters");
                assert!(
                    matches!(letter, '|' | '\\'),
                    "{letter} needs no escape in the header"
                );
                fields.last_mut().expect("a field").push(letter);
            }
            '|' if fields.len() == 7 => {
                rest = &event[at + 1..];
                break;
            }
            '|' => fields.push(String::new()),
            letter => fields.last_mut().expect("a field").push(letter),
        }
    }
    let mut extensions: Vec<(String, String)> = Vec::new();
    let mut pending = String::new();
    let mut letters = rest.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => match letters.next().expect("an escape has two letters") {
                'n' => pending.push('\n'),
                'r' => pending.push('\r'),
                letter => {
                    assert!(
                        matches!(letter, '=' | '\\'),
                        "{letter} needs no escape in a value"
                    );
                    pending.push(letter);
                }
            },
            // What is behind the last space is the key of what comes.
            '=' => {
                let (value, key) = pending.rsplit_once(' ').unwrap_or(("", &pending));
                if let Some(last) = extensions.last_mut() {
                    last.1 = value.to_owned();
                }
                extensions.push((key.to_owned(), String::new()));
                pending = String::new();
            }
            letter => pending.push(letter),
        }
    }
    extensions.last_mut().expect("an extension").1 = pending;
    (fields, extensions)
}

#[test]
fn cef_is_read_back_as_it_was_meant() {
    let (event, entry) = rendered(Format::Cef, &full(Event::Refusal));
    let (fields, extensions) = parsed(&event);
    assert_eq!(fields[..3], ["CEF:0", "pgveil", "pgveil"]);
    assert_eq!(
        fields[4..],
        ["refusal", "SELECT by ann was refused (function)", "5"]
    );
    let value = |key: &str| {
        let found = extensions.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    };
    for (key, expected) in [
        ("rt", "1795332096000"),
        ("externalId", "c0ffee-12"),
        ("c6a2", "2001:db8::1"),
        ("c6a2Label", "source"),
        ("spt", "4711"),
        ("suser", "ann"),
        ("duser", "ann_db"),
        ("act", "refuse"),
        ("outcome", "failure"),
        ("requestClientApplication", "crm | a=b \\ c"),
        ("cs1", "SELECT *\nFROM \"a|b\" WHERE x = $1 -- \\"),
        ("cs1Label", "statement"),
        ("cs5", "crm.customers.phone"),
        ("cn1", "42"),
        ("flexString1", "r-1"),
    ] {
        assert_eq!(value(key), Some(expected), "{key}");
    }
    assert_eq!(
        value("src"),
        None,
        "an address of version 6 is none of version 4"
    );
    assert_eq!(entry.event, "refusal");
}

#[test]
fn nothing_can_break_out_of_a_field_of_cef() {
    for text in [
        "a|b",
        "a\\|b",
        "x\nCEF:0|evil|",
        "k=v k2=v2",
        "\\",
        "tab\there",
        "\u{0}",
    ] {
        let record = Record {
            event: Event::Console,
            message: Some(text.to_owned()),
            application_name: Some(text.into()),
            ..bare(Event::Console)
        };
        let (event, _) = rendered(Format::Cef, &record);
        let (fields, extensions) = parsed(&event);
        assert_eq!(fields.len(), 7, "{event}");
        let keys: Vec<&str> = extensions.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(
            keys,
            [
                "rt",
                "externalId",
                "cat",
                "requestClientApplication",
                "app",
                "msg",
                "cn3",
                "cn3Label"
            ],
            "{event}"
        );
    }
}

#[test]
fn a_cef_value_is_cut_at_a_letter() {
    let record = Record {
        text: Some("数".repeat(3000).into()),
        ..bare(Event::Statement)
    };
    let (event, _) = rendered(Format::Cef, &record);
    let (_, extensions) = parsed(&event);
    let text = extensions
        .iter()
        .find(|(key, _)| key == "cs1")
        .map(|(_, value)| value.len());
    assert_eq!(text, Some(3999));
}
