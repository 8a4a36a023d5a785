//! Masks within documents, arrays and addresses, case by case.
use pgveil::policy::mask::{Constant, Mask, Network, Step, TimeUnit};

use crate::edges::json;
use crate::results::{Case, each_gives};

const SHOW: Mask = Mask::Show {
    first: 3,
    last: 4,
    char: '*',
};

fn step(text: &str) -> Step {
    Step::parse(text).expect("a step")
}

#[test]
fn a_document_is_masked_along_its_paths_and_nowhere_else() {
    let phones = || json(&[("phones[*].number", SHOW), ("address.street", Mask::Redact)]);
    let amount = || json(&[("amount", Mask::Bucket(step("1000")))]);
    let cases: Vec<Case> = vec![
        (
            phones(),
            "jsonb",
            r#"{"id": 7, "phones": [{"kind": "home", "number": "13812345678"}, {"number": "123"}], "address": {"city": "Bonn", "street": "Weg 1"}}"#,
            Some(
                r#"{"id": 7, "phones": [{"kind": "home", "number": "138****5678"}, {"number": "***"}], "address": {"city": "Bonn", "street": "***"}}"#,
            ),
        ),
        // What is missing stays missing, null stays null, order and what no path names stay.
        (
            phones(),
            "jsonb",
            r#"{"phones": []}"#,
            Some(r#"{"phones": []}"#),
        ),
        (phones(), "jsonb", "{}", Some("{}")),
        (
            phones(),
            "jsonb",
            r#"{"phones": null, "address": {"street": null}}"#,
            Some(r#"{"phones": null, "address": {"street": null}}"#),
        ),
        (
            phones(),
            "jsonb",
            r#"{"phones": [null, {}, {"x": 1}]}"#,
            Some(r#"{"phones": [null, {}, {"x": 1}]}"#),
        ),
        // A value that stands where another kind was expected does not show.
        (
            phones(),
            "jsonb",
            r#"{"phones": "13812345678", "address": ["Weg 1"]}"#,
            Some(r#"{"phones": "***", "address": "***"}"#),
        ),
        (
            phones(),
            "jsonb",
            r#"{"phones": {"number": "13812345678"}}"#,
            Some(r#"{"phones": "***"}"#),
        ),
        (
            phones(),
            "jsonb",
            r#"{"phones": ["13812345678", {"number": {"n": "13812345678"}}, {"number": ["1"]}]}"#,
            Some(r#"{"phones": ["***", {"number": "***"}, {"number": "***"}]}"#),
        ),
        (phones(), "jsonb", r#""13812345678""#, Some(r#""***""#)),
        (phones(), "jsonb", r#"[{"phones": 1}]"#, Some(r#""***""#)),
        (phones(), "jsonb", "13812345678", Some("0")),
        (phones(), "jsonb", "null", Some("null")),
        // A phone number that is a number is shown as a text.
        (
            phones(),
            "jsonb",
            r#"{"phones": [{"number": 13812345678}]}"#,
            Some(r#"{"phones": [{"number": "138****5678"}]}"#),
        ),
        (
            phones(),
            "jsonb",
            r#"{"phones": [{"number": true}]}"#,
            Some(r#"{"phones": [{"number": false}]}"#),
        ),
        (
            phones(),
            "json",
            r#"{"address":{"street":"Weg 1"},   "id":7}"#,
            Some(r#"{"id": 7, "address": {"street": "***"}}"#),
        ),
        // What jsonb cannot hold is redacted as a whole.
        (
            phones(),
            "json",
            r#"{"address": "\u0000"}"#,
            Some(r#""***""#),
        ),
        (phones(), "json", r#"{"n": 1e999999}"#, Some(r#""***""#)),
        (
            phones(),
            "json",
            r#"{"n": "1e999999"}"#,
            Some(r#"{"n": "1e999999"}"#),
        ),
        (
            amount(),
            "jsonb",
            r#"{"amount": 48763.21}"#,
            Some(r#"{"amount": 48000}"#),
        ),
        (
            amount(),
            "jsonb",
            r#"{"amount": "48763"}"#,
            Some(r#"{"amount": "***"}"#),
        ),
        (
            amount(),
            "jsonb",
            r#"{"amount": 1e200}"#,
            Some(r#"{"amount": 0}"#),
        ),
        (
            json(&[
                ("e", Mask::Email { first: 1 }),
                ("n", Mask::Null),
                ("c", Mask::Constant(Constant::Integer(7))),
            ]),
            "jsonb",
            r#"{"e": "ab@c.de", "n": [1], "c": {"x": 1}}"#,
            Some(r#"{"c": 7, "e": "a***@c.de", "n": null}"#),
        ),
        (
            json(&[("[*].\"a.b\"", Mask::Redact)]),
            "jsonb",
            r#"[{"a.b": "secret", "a": {"b": 1}}]"#,
            Some(r#"[{"a": {"b": 1}, "a.b": "***"}]"#),
        ),
        (
            phones(),
            "jsonb[]",
            r#"{"{\"address\": {\"street\": \"Weg 1\"}}",NULL}"#,
            Some(r#"{"{\"address\": {\"street\": \"***\"}}",NULL}"#),
        ),
    ];
    each_gives(&cases);
}

#[test]
fn arrays_are_masked_element_by_element() {
    let year = Mask::Truncate(TimeUnit::Year);
    let cases: Vec<Case> = vec![
        (
            SHOW,
            "text[]",
            "{13812345678,NULL,123}",
            Some("{138****5678,NULL,***}"),
        ),
        (SHOW, "text[]", "{}", Some("{}")),
        (
            SHOW,
            "varchar(20)[]",
            "{13812345678}",
            Some("{138****5678}"),
        ),
        (SHOW, "text[]", "{{13812345678},{13812345679}}", Some("{}")),
        (
            SHOW,
            "text[]",
            "[3:4]={13812345678,1}",
            Some("{138****5678,*}"),
        ),
        (SHOW, "phones", "{13812345678}", Some("{138****5678}")),
        (
            Mask::Email { first: 1 },
            "text[]",
            "{ab@c.de,x}",
            Some("{a***@c.de,*}"),
        ),
        (
            Mask::Bucket(step("1000")),
            "integer[]",
            "{1999,NULL,-1}",
            Some("{1000,NULL,-1000}"),
        ),
        (
            Mask::Round(step("10")),
            "numeric(5,2)[]",
            "{14.99,NaN}",
            Some("{10.00,NULL}"),
        ),
        (
            year,
            "date[]",
            "{1968-07-21,infinity}",
            Some("{1968-01-01,NULL}"),
        ),
        (Mask::Redact, "text[]", "{a,b}", Some("{}")),
    ];
    each_gives(&cases);
}

#[test]
fn addresses_keep_their_network() {
    let network = |ipv4, ipv6| Mask::Network(Network::new(ipv4, ipv6).expect("bits"));
    let cases: Vec<Case> = vec![
        (
            network(24, 48),
            "inet",
            "10.20.30.40",
            Some("10.20.30.0/24"),
        ),
        (network(24, 48), "inet", "10.20.30.40/8", Some("10.0.0.0/8")),
        (
            network(24, 48),
            "inet",
            "2001:db8:1:2:3:4:5:6",
            Some("2001:db8:1::/48"),
        ),
        (network(0, 0), "inet", "10.20.30.40", Some("0.0.0.0/0")),
        (
            network(24, 48),
            "cidr",
            "10.20.30.40/32",
            Some("10.20.30.0/24"),
        ),
        (
            network(24, 48),
            "inet[]",
            "{10.20.30.40,NULL}",
            Some("{10.20.30.0/24,NULL}"),
        ),
    ];
    each_gives(&cases);
    assert_eq!(Network::new(33, 48), None);
    assert_eq!(Network::new(32, 128), None);
}
