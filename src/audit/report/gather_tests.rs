use super::*;
use crate::audit::classes::ClassColumns;
use crate::audit::entry::{ColumnsEntry, ExportEntry};
use crate::audit::glob::Glob;

fn classes() -> Classes {
    let class = |class: &str, names: [&str; 3]| ClassColumns {
        class: class.to_owned(),
        level: None,
        columns: vec![names.map(|name| Glob::Exact(name.to_owned()))],
    };
    Classes::new(vec![
        class("phone", ["crm", "contacts", "phone"]),
        class("salary", ["hr", "employees", "salary"]),
    ])
}

/// 2026-11-20 is a Friday, within working hours.
fn statement(person: &str) -> Entry {
    Entry {
        time: "2026-11-20T10:00:00.000000Z".to_owned(),
        event: "statement".to_owned(),
        db_user: Some(person.to_owned()),
        role: Some("agent".to_owned()),
        application_name: Some("crm".to_owned()),
        reads: vec!["crm.contacts".to_owned(), "crm.orders".to_owned()],
        columns: ColumnsEntry {
            projected: vec!["crm.contacts.phone".to_owned(), "crm.orders.id".to_owned()],
            ..ColumnsEntry::default()
        },
        masked: vec!["crm.contacts.phone".to_owned()],
        verdict: Some("rewrite".to_owned()),
        rows: Some(10),
        ..Entry::default()
    }
}

fn gather(entries: &[Entry]) -> Gathered {
    let mut gathered = Gathered::default();
    for (number, entry) in entries.iter().enumerate() {
        let entry = Entry {
            seq: number as u64 + 1,
            ..entry.clone()
        };
        gathered.take(&entry, &classes(), &WorkingHours::default());
    }
    gathered
}

fn uses(gathered: &Gathered) -> Vec<(String, String, u64, u64, u64)> {
    let ranked = gathered.uses.ranked(10, |measure| measure.rows);
    let one = |(key, measure): &(&Use, &Measure)| {
        let (person, class) = (key.person.clone(), key.class.clone());
        (
            person,
            class,
            measure.statements,
            measure.rows,
            measure.clear,
        )
    };
    ranked.first.iter().map(one).collect()
}

#[test]
fn who_read_which_class_is_counted_with_rows_and_masks() {
    let clear = Entry {
        masked: vec![],
        role: Some("dpo".to_owned()),
        rows: Some(5),
        ..statement("dora")
    };
    let granted = Entry {
        export: Some(ExportEntry {
            request: "7f3a0001".to_owned(),
            clear: vec!["phone".to_owned()],
            ..ExportEntry::default()
        }),
        rows: Some(1),
        ..statement("eve")
    };
    let gathered = gather(&[statement("ann"), statement("ann"), clear, granted]);
    let expected = [("ann", 2, 20, 0), ("dora", 1, 5, 1), ("eve", 1, 1, 1)];
    let expected = expected.map(|(person, statements, rows, clear)| {
        (
            person.to_owned(),
            "phone".to_owned(),
            statements,
            rows,
            clear,
        )
    });
    assert_eq!(uses(&gathered), expected);
    assert_eq!(
        (gathered.records, gathered.rows, gathered.by_relation),
        (4, 26, 0)
    );
    assert_eq!((gathered.first, gathered.last), (Some(1), 4));
}

#[test]
fn data_flows_from_the_relation_that_holds_the_class() {
    let gathered = gather(&[statement("ann")]);
    let flows: Vec<_> = gathered
        .flows
        .iter()
        .map(|(flow, _)| flow.clone())
        .collect();
    let expected = Flow {
        application: "crm".to_owned(),
        role: "agent".to_owned(),
        class: "phone".to_owned(),
        relation: "crm.contacts".to_owned(),
    };
    assert_eq!(flows, [expected]);
}

#[test]
fn records_without_columns_are_counted_by_relation_and_said_to_be() {
    let old = Entry {
        columns: ColumnsEntry::default(),
        masked: vec![],
        reads: vec!["hr.employees".to_owned()],
        ..statement("ann")
    };
    let gathered = gather(&[old]);
    assert_eq!(uses(&gathered)[0].1, "salary");
    assert_eq!(gathered.by_relation, 1);
}

#[test]
fn what_was_refused_is_no_reading() {
    let refused = Entry {
        event: "refusal".to_owned(),
        verdict: Some("refuse".to_owned()),
        reason: Some("function".to_owned()),
        rows: Some(0),
        ..statement("ann")
    };
    let gathered = gather(&[refused]);
    assert!(gathered.uses.is_empty());
    let ranked = gathered.refusals.ranked(1, |measure| measure.statements);
    let key = ("ann".to_owned(), "agent".to_owned(), "function".to_owned());
    assert_eq!(ranked.first[0].0, &key);
}

#[test]
fn lookups_failed_logins_and_nights_are_counted() {
    let lookup = |rows| Entry {
        lookups: vec!["crm.contacts.phone".to_owned()],
        rows: Some(rows),
        ..statement("ann")
    };
    let night = Entry {
        time: "2026-11-21T03:00:00.000000Z".to_owned(),
        event: "login".to_owned(),
        ..statement("bob")
    };
    let failed = Entry {
        event: "login_failed".to_owned(),
        client_addr: "10.0.0.9:5000".parse().ok(),
        reason: Some("client".to_owned()),
        ..statement("mallory")
    };
    let gathered = gather(&[lookup(1), lookup(0), night, failed]);
    let lookups = gathered.lookups.total();
    assert_eq!((lookups.statements, lookups.empty), (2, 1));
    let outside = gathered.outside.ranked(5, |measure| measure.sessions);
    assert_eq!(outside.first.len(), 1);
    assert_eq!(outside.first[0].0.0, "bob");
    let failed: Vec<_> = gathered.failed_logins.iter().map(|(key, _)| key).collect();
    assert_eq!(failed[0].1, "10.0.0.9");
}

#[test]
fn policies_and_alarms_are_told_one_by_one_up_to_a_limit() {
    let alarm = Entry {
        event: "alarm".to_owned(),
        message: Some("ann touched a trap".to_owned()),
        alarm: Some(crate::audit::entry::AlarmEntry {
            alarm: "honeytoken".to_owned(),
            incident: Some("20261120-1".to_owned()),
            records: vec![1],
        }),
        ..statement("ann")
    };
    let gathered = gather(&vec![alarm; MAX_OCCURRENCES + 5]);
    assert_eq!(gathered.alarms.count, MAX_OCCURRENCES as u64 + 5);
    assert_eq!(gathered.alarms.last.len(), MAX_OCCURRENCES);
    assert_eq!(
        gathered.alarms.last[0].what,
        "honeytoken · 20261120-1 · ann touched a trap"
    );
}

#[test]
fn a_name_as_long_as_a_packet_takes_no_more_memory_than_another() {
    let failed = Entry {
        event: "login_failed".to_owned(),
        ..statement(&"王".repeat(10_000))
    };
    let gathered = gather(&[failed]);
    let names: Vec<usize> = gathered
        .failed_logins
        .iter()
        .map(|((name, ..), _)| name.chars().count())
        .collect();
    assert_eq!(names, [MAX_NAME + 1]);
}
