//! `pgveil explain`: for each output column where it comes from, by which rule it is masked and what runs.
use serde_json::{Value, json};

use super::cases::{out, run};
use super::support::Folder;

const PLACE: [&str; 5] = [
    "explain",
    "--catalog",
    "policies/tests/crm.catalog.zst",
    "--policy",
    "policies/crm.yaml",
];

fn explained(arguments: &[&str]) -> String {
    out(&run(&[&PLACE[..], arguments].concat()))
}

#[test]
fn every_output_column_is_accounted_for() {
    let sql = "SELECT c.full_name, c.phone, left(d.email, 3) || c.id AS mail, count(*) OVER () AS n \
               FROM crm.contacts c JOIN crm.contact_directory d USING (id)";
    let told: Value =
        serde_json::from_str(&explained(&["--role", "agent", "--format", "json", sql]))
            .expect("JSON");
    let outputs = told["outputs"].as_array().expect("outputs");
    let names: Vec<&str> = outputs
        .iter()
        .filter_map(|output| output["name"].as_str())
        .collect();
    assert_eq!(names, ["full_name", "phone", "mail", "n"]);
    let name = &outputs[0]["sources"][0];
    assert_eq!(
        (&name["column"], &name["mask"], &name["classes"]),
        (&json!("crm.contacts.full_name"), &Value::Null, &json!([]))
    );
    let phone = &outputs[1]["sources"][0];
    assert_eq!(
        (&phone["class"], &phone["kind"]),
        (&json!("phone"), &json!("show"))
    );
    assert!(
        phone["rule"]
            .as_str()
            .is_some_and(|rule| rule.starts_with("policies/crm.yaml:28:")),
        "{phone}"
    );
    assert!(
        phone["mask"]
            .as_str()
            .is_some_and(|mask| mask.contains("pg_catalog.\"left\"")),
        "{phone}"
    );
    let mail: Vec<&str> = outputs[2]["sources"]
        .as_array()
        .expect("sources")
        .iter()
        .filter_map(|source| source["column"].as_str())
        .collect();
    assert_eq!(mail, ["crm.contacts.id", "crm.contact_directory.email"]);
    assert_eq!(outputs[2]["sources"][1]["class"], "email");
    assert_eq!(outputs[3]["sources"], json!([]));
    assert_eq!(
        (&told["export"]["rows"], &told["enforced"]),
        (&json!(100), &json!(true))
    );
    let text = explained(&["--role", "agent", sql]);
    for said in [
        "column:    phone\n           from crm.contacts.phone: class phone, masked by `show` (policies/crm.yaml:28:",
        "from crm.contacts.full_name: in no class, as it is",
        "column:    n\n           from no column",
        "export:    at most 100 rows a result, 2000 rows an hour; more with the signatures of legal and dpo",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[test]
fn a_refusal_names_its_rule_and_the_way_out() {
    let refused = run(&[&PLACE[..], &["--role", "agent", "SELECT pg_read_file('x')"]].concat());
    assert_eq!(refused.status.code(), Some(1));
    let text = out(&refused);
    for said in [
        "verdict:   refuse",
        "reason:",
        "(function)",
        "rule:",
        "hint:",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[test]
fn row_rules_show_the_condition_of_the_session() {
    let folder = Folder::new("explain");
    let policy = folder.write(
        "p.yaml",
        "version: 1\ndata: { phone: { columns: [crm.contacts.phone] } }\nroles:\n  agent:\n    who: [{ db_user: a }]\n    enforce: false\n    mask: { phone: { show: { last: 4 }, lookup: exact } }\n    rows: { crm.contacts: \"region = {app_user}\" }\n",
    );
    let policy = policy.display().to_string();
    let sql = "SELECT id FROM crm.contacts WHERE phone = '1'";
    let told = out(&run(&[
        "explain",
        "--catalog",
        PLACE[2],
        "--policy",
        &policy,
        "--role",
        "agent",
        "--app-user",
        "o'neil",
        sql,
    ]));
    for said in [
        "`agent` is not enforced",
        "rows:      of crm.contacts those with",
        "'o''neil'",
        "p.yaml:8:",
        "looked up: crm.contacts.phone",
    ] {
        assert!(told.contains(said), "{said}: {told}");
    }
}

/// A class that may not be used for what the statement is for is redacted, whatever its mask; who says a purpose that it
/// lists is told the mask.
#[test]
fn what_a_purpose_does_is_told() {
    let folder = Folder::new("explain-purpose");
    let policy = folder.write(
        "p.yaml",
        "version: 1\ndata: { phone: { columns: [crm.contacts.phone], purposes: [support, billing] } }\nroles:\n  agent:\n    who: [{ db_user: a }]\n    mask: { phone: { show: { last: 4 } } }\n",
    );
    let policy = policy.display().to_string();
    let place = [
        "explain",
        "--catalog",
        PLACE[2],
        "--policy",
        &policy,
        "--role",
        "agent",
    ];
    let sql = "SELECT phone FROM crm.contacts";
    let told = |more: &[&str]| out(&run(&[&place[..], more].concat()));
    let redacted = "class phone, redacted: phone is for billing, support alone";
    for purpose in [&[sql][..], &["--purpose", "marketing", sql]] {
        let told = told(purpose);
        assert!(
            told.contains(redacted) && !told.contains("`show`"),
            "{told}"
        );
    }
    let allowed = told(&["--purpose", "support", sql]);
    assert!(
        allowed.contains("class phone, masked by `show`"),
        "{allowed}"
    );
    assert!(allowed.contains("pg_catalog.\"right\""), "{allowed}");
}

#[test]
fn of_what_does_not_exist_nothing_is_told_but_that() {
    let refused = run(&[
        &PLACE[..],
        &["--role", "agent", "SELECT phone FROM crm.contract"],
    ]
    .concat());
    let text = out(&refused);
    assert!(text.contains("(undefined)"), "{text}");
    assert!(
        !text.contains("column:") && !text.contains("rule:"),
        "{text}"
    );
}
