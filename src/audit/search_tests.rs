use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::*;
use crate::audit::classes::ClassColumns;
use crate::audit::{Event, ExportRecord, Record, VerdictRecord, WouldRecord};

fn globs(text: &str) -> Vec<Glob> {
    text.split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// Records of which each test case finds some.
fn records() -> Vec<(&'static str, Record)> {
    let at = |hours: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(hours * 3600);
    let statement = Record {
        session: Some(7),
        db_user: Some("crm_app".into()),
        app_user: Some("ann".into()),
        role: Some("agent".into()),
        application_name: Some("crm \"web\"".into()),
        database: Some("crm".into()),
        kind: Some("SELECT".into()),
        reads: vec!["crm.contacts".to_owned()].into(),
        masked: vec!["crm.contacts.phone".to_owned()].into(),
        verdict: Some(VerdictRecord::Rewrite),
        ..Record::new(Event::Statement, at(1))
    };
    vec![
        ("read", statement.clone()),
        (
            "write",
            Record {
                session: Some(70),
                app_user: Some("王芳".into()),
                kind: Some("UPDATE".into()),
                reads: Default::default(),
                writes: vec!["hr.employees".to_owned()].into(),
                masked: Default::default(),
                ..statement.clone()
            },
        ),
        (
            "refused",
            Record {
                event: Event::Refusal,
                time: at(3),
                verdict: Some(VerdictRecord::Refuse),
                ..statement.clone()
            },
        ),
        (
            "signed",
            Record {
                export: Some(Arc::new(ExportRecord {
                    request: "7f3a0001".to_owned(),
                    step: Some(1),
                    action: Some("approve"),
                    state: Some("open"),
                    person: "ann".to_owned(),
                    by: Some("leo".to_owned()),
                    group: Some("legal".to_owned()),
                    reason: None,
                    comment: None,
                    approvals: vec![],
                    rows: None,
                    clear: Default::default(),
                })),
                ..Record::new(Event::Export, at(2))
            },
        ),
        ("start", Record::new(Event::Start, SystemTime::UNIX_EPOCH)),
        ("on trial", on_trial(VerdictRecord::Refuse, "function")),
        (
            "over a limit",
            on_trial(VerdictRecord::Rewrite, "export_rows"),
        ),
    ]
}

/// What ran because its role is not enforced.
fn on_trial(verdict: VerdictRecord, reason: &'static str) -> Record {
    Record {
        kind: Some("SELECT".into()),
        enforced: Some(false),
        would: Some(Box::new(WouldRecord {
            verdict,
            reason: Some(reason.into()),
            rule: None,
            masked: vec![],
            lookups: vec![],
        })),
        verdict: Some(VerdictRecord::Pass),
        ..Record::new(Event::Statement, SystemTime::UNIX_EPOCH)
    }
}

fn classes() -> Classes {
    let column = ["crm", "contacts", "phone"].map(|name| Glob::Exact(name.to_owned()));
    Classes::new(vec![ClassColumns {
        class: "phone".to_owned(),
        level: Some(3),
        columns: vec![column],
    }])
}

/// The names of the records that are found; what is found may never be passed over on the bytes alone.
fn found(filter: Filter) -> Vec<&'static str> {
    let search = Search::new(filter, classes());
    let mut found = Vec::new();
    for (name, record) in records() {
        let line = serde_json::to_vec(&record).expect("json");
        let entry = serde_json::from_slice(&line).expect("an entry");
        if search.matches(&entry) {
            assert!(search.may_match(&line), "{name} is passed over unread");
            found.push(name);
        }
    }
    found
}

#[test]
fn each_criterion_finds_what_it_names() {
    let all = vec![
        "read",
        "write",
        "refused",
        "signed",
        "start",
        "on trial",
        "over a limit",
    ];
    let filter = Filter::default;
    #[rustfmt::skip]
    let cases: Vec<(&str, Filter, Vec<&str>)> = vec![
        ("nothing asked", filter(), all),
        ("app_user", Filter { people: globs("ann"), ..filter() }, vec!["read", "refused", "signed"]),
        ("db_user", Filter { people: globs("crm_app"), ..filter() }, vec!["read", "write", "refused"]),
        ("signer", Filter { people: globs("leo"), ..filter() }, vec!["signed"]),
        ("not ASCII", Filter { people: globs("王*"), ..filter() }, vec!["write"]),
        ("one of two", Filter { people: globs("leo 王芳"), ..filter() }, vec!["write", "signed"]),
        ("role", Filter { roles: globs("agent"), ..filter() }, vec!["read", "write", "refused"]),
        ("relation written", Filter { relations: globs("hr.*"), ..filter() }, vec!["write"]),
        ("relation read", Filter { relations: globs("crm.contacts"), ..filter() }, vec!["read", "refused"]),
        ("column", Filter { columns: globs("*.phone"), ..filter() }, vec!["read", "refused"]),
        ("class", Filter { classes: globs("phone"), ..filter() }, vec!["read", "refused"]),
        ("verdict", Filter { verdicts: words("refuse"), ..filter() }, vec!["refused"]),
        ("would refuse", Filter { would: words("refuse"), ..filter() }, vec!["on trial"]),
        ("would rewrite", Filter { would: words("rewrite"), ..filter() }, vec!["over a limit"]),
        ("would stop", Filter { would: words("stop"), ..filter() }, vec!["over a limit"]),
        ("would refuse or stop", Filter { would: words("refuse stop"), ..filter() }, vec!["on trial", "over a limit"]),
        ("verdict of what ran", Filter { verdicts: words("pass"), ..filter() }, vec!["on trial", "over a limit"]),
        ("event", Filter { events: words("start export"), ..filter() }, vec!["signed", "start"]),
        ("kind", Filter { kinds: words("update"), ..filter() }, vec!["write"]),
        ("request", Filter { requests: globs("7f3a0001"), ..filter() }, vec!["signed"]),
        ("database", Filter { databases: globs("crm"), ..filter() }, vec!["read", "write", "refused"]),
        ("quotes", Filter { applications: vec![Glob::Exact("crm \"web\"".to_owned())], ..filter() }, vec!["read", "write", "refused"]),
        ("session", Filter { sessions: vec![7], ..filter() }, vec!["read", "refused"]),
        ("both", Filter { people: globs("ann"), verdicts: words("rewrite"), ..filter() }, vec!["read"]),
        ("neither", Filter { people: globs("leo"), verdicts: words("rewrite"), ..filter() }, vec![]),
        ("time", Filter { span: Span { from: "1970-01-01T02:00:00Z".parse().ok(), to: "1970-01-01T03:00:00Z".parse().ok() }, ..filter() }, vec!["signed"]),
    ];
    for (name, filter, expected) in cases {
        assert_eq!(found(filter), expected, "{name}");
    }
}

#[test]
fn lines_that_cannot_fit_are_passed_over_unread() {
    let filter = Filter {
        people: globs("leo"),
        ..Filter::default()
    };
    let search = Search::new(filter, classes());
    let unread = records().into_iter().filter(|(_, record)| {
        let line = serde_json::to_vec(record).expect("json");
        !search.may_match(&line)
    });
    assert_eq!(unread.count(), 6);
}
