//! Case file: a statement, and the columns it uses by what it uses them for. The first two lines of `columns.txt` say how
//! it is written.
use std::collections::BTreeSet;
use std::sync::Arc;

use pgveil::sql::columns::{Columns, MAX_NAMES};

use crate::fixture::{CONTACTS, Fixture, SETTINGS, TICKETS, VIEW};

const CASES: &str = include_str!("columns.txt");

/// A role of each kind: what a statement uses does not hang on it.
fn fixtures() -> [Fixture; 2] {
    [false, true].map(|unmasked| {
        let mut fixture = Fixture::new();
        fixture.role.unmasked = unmasked;
        fixture.role.classes = Arc::new(
            [
                ((CONTACTS, 3), vec![Arc::from("phone")]),
                ((TICKETS, 3), vec![Arc::from("phone")]),
                ((VIEW, 2), vec![Arc::from("phone")]),
                ((SETTINGS, 2), vec![Arc::from("secret")]),
            ]
            .into(),
        );
        fixture.catalog.schemas.insert("pg_temp".to_owned());
        fixture
    })
}

fn used(fixture: &Fixture, statement: &str) -> Columns {
    let plan = fixture.plan_in("crm, public", statement);
    let [statement] = &plan.statements[..] else {
        panic!("one statement: {statement}");
    };
    Columns::clone(&statement.columns)
}

fn list(names: &[Arc<str>]) -> BTreeSet<String> {
    let short = |name: &Arc<str>| name.strip_prefix("crm.").unwrap_or(name).to_owned();
    names.iter().map(short).collect()
}

#[test]
fn columns_are_on_record_by_what_they_are_used_for() {
    let mut failures = Vec::new();
    let mut count = 0;
    for block in CASES.split("\n\n") {
        let mut lines = block.lines().skip_while(|line| line.starts_with('#'));
        let Some(statement) = lines.next() else {
            continue;
        };
        count += 1;
        let mut expected: [BTreeSet<String>; 4] = Default::default();
        for line in lines {
            let (kind, names) = line.split_at(2);
            let list = ["< ", "? ", "> ", "# "]
                .iter()
                .position(|known| *known == kind);
            let list = list.unwrap_or_else(|| panic!("what is {line}?"));
            // Names with blanks are those of one relation.
            let names = names.replace("Odd \"Table\"", "Odd_Table");
            expected[list] = names
                .split(' ')
                .map(|name| name.replace("Odd_Table", "Odd \"Table\""))
                .collect();
        }
        for fixture in fixtures() {
            let columns = used(&fixture, statement);
            let found = [
                &columns.projected,
                &columns.filtered,
                &columns.written,
                &columns.classes,
            ]
            .map(|names| list(names));
            if found != expected || columns.truncated {
                failures.push(format!(
                    "{statement} (unmasked: {})\n  expected {expected:?}\n  found    {found:?}",
                    fixture.role.unmasked
                ));
            }
        }
    }
    assert!(count > 90, "only {count} cases");
    assert!(
        failures.is_empty(),
        "{} of {count}:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn names_on_record_are_bounded_and_classes_are_not() {
    for fixture in fixtures() {
        let wide: Vec<String> = (0..2 * MAX_NAMES).map(|n| format!("t.c{n}")).collect();
        let text = format!("SELECT {} FROM pg_temp.t WHERE t.a = 1", wide.join(", "));
        let columns = used(&fixture, &text);
        assert_eq!(columns.projected.len(), MAX_NAMES);
        assert_eq!(list(&columns.filtered), ["pg_temp.t.a".to_owned()].into());
        assert!(columns.truncated);

        let text = format!(
            "SELECT {}, c.phone FROM pg_temp.t, contacts c",
            wide.join(", ")
        );
        let columns = used(&fixture, &text);
        assert!(columns.truncated);
        assert_eq!(list(&columns.classes), ["phone".to_owned()].into());
    }
}

/// Every level takes all columns of the one below into each of its own: what is passed on would grow without end.
#[test]
fn a_statement_that_is_too_large_to_follow_is_given_up_and_says_so() {
    for fixture in fixtures() {
        let wide: Vec<String> = (0..400).map(|n| format!("row(s.*) AS c{n}")).collect();
        let mut text = "SELECT * FROM contacts".to_owned();
        for _ in 0..8 {
            text = format!("SELECT {} FROM ({text}) s", wide.join(", "));
        }
        let began = std::time::Instant::now();
        let columns = std::thread::scope(|scope| {
            std::thread::Builder::new()
                .stack_size(pgveil::sql::cache::STACK_BYTES)
                .spawn_scoped(scope, || used(&fixture, &text))
                .expect("a thread")
                .join()
                .expect("no overflow")
        });
        assert!(columns.truncated, "{:?}", began.elapsed());
    }
}
