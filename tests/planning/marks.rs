//! Every place in `src/sql` that refuses is reached by a statement here, or stands in unreached.txt with the reason why
//! no statement gets there. `PGVEIL_MARKS=1` prints what is not reached.
use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

use pgveil::catalog::{Type, TypeKind};

use crate::fixture::{CONTACTS, Fixture, ORDERS, TICKETS};

const CASES: &[&str] = &[
    include_str!("cases.txt"),
    include_str!("writes.txt"),
    include_str!("rows.txt"),
];
const ATTACKS: &[&str] = &[
    include_str!("../attacks/attacks.txt"),
    include_str!("../attacks/more.txt"),
];
/// One statement a line, for places that no case is about.
const MARKS: &str = include_str!("marks.txt");
const UNREACHED: &str = include_str!("unreached.txt");

/// Of `refuse.rs`. What `judge` refuses is wrong in a rewritten text or in a tree: rewritings.txt reaches it.
const CONSTRUCTORS: &[&str] = &[
    "statement",
    "permanent",
    "construct",
    "relation",
    "rule",
    "closed",
    "column",
    "function",
    "operator",
    "data_type",
    "setting",
    "limit",
    "syntax",
    "undefined",
    "undefined_function",
    "undefined_overload",
    "explain",
    "judge",
];

type Place = (String, u32);

/// File and line of each call of a constructor, with the line's text.
fn places() -> BTreeMap<Place, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src/sql")];
    let mut places = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(root).expect("below the root");
            let name = name.display().to_string();
            if !name.ends_with(".rs") || name.ends_with("/refuse.rs") {
                continue;
            }
            let text = fs::read_to_string(&path).expect("a source file");
            let lines: Vec<&str> = text.lines().map(str::trim).collect();
            for (at, line) in lines.iter().enumerate() {
                let calls = line.split("refuse::").skip(1);
                let called = calls
                    .filter_map(|rest| rest.split_once('('))
                    .any(|(name, _)| CONSTRUCTORS.contains(&name));
                if called {
                    // A call that ends its line says on the next what it is about.
                    let more = lines.get(at + 1).filter(|_| line.ends_with('('));
                    let shown = format!("{line}{}", more.unwrap_or(&""));
                    places.insert((name.clone(), at as u32 + 1), shown);
                }
            }
        }
    }
    places
}

fn statements() -> Vec<String> {
    let mut statements: Vec<String> = Vec::new();
    for block in CASES.iter().flat_map(|cases| cases.split("\n\n")) {
        let first = block.lines().find(|line| !line.starts_with('#'));
        statements.extend(first.map(|line| {
            line.replace("\\n", "\n")
                .replace("\\v", "\u{b}")
                .replace("\\r", "\r")
        }));
    }
    for text in ATTACKS {
        let lines = text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        // The tables of these have other names here.
        statements.extend(lines.map(|line| line.replace("customers", "contacts")));
    }
    statements.extend(
        MARKS
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::to_owned),
    );
    statements
}

const DENIED: &[&str] = &[
    "SELECT id FROM orders",
    "UPDATE tickets SET owner = 'x' WHERE note = 'y'",
    "SELECT 'x'::attacker.evil",
];

fn own_type() -> Type {
    Type {
        schema: "attacker".into(),
        name: "evil".into(),
        kind: TypeKind::Base,
        category: 'U',
        base: None,
        extension: None,
    }
}

#[test]
fn each_refusal_is_reached_by_a_statement() {
    let mut fixture = Fixture::new();
    for statement in statements() {
        fixture.plan(&statement);
        fixture.plan_in("attacker, crm", &statement);
    }
    fixture.plan(&format!(
        "SELECT {}1{}",
        "(".repeat(5_000),
        ")".repeat(5_000)
    ));
    crate::judge::faulty_rewritings();
    // What this role may not read at all, and a type of somebody's.
    let why = "its row rule cannot be built".to_owned();
    fixture.role.closed.insert(ORDERS, why.into());
    fixture.role.denied.insert(TICKETS, [4].into());
    fixture.catalog.insert_type(99_999, own_type());
    for statement in DENIED {
        fixture.plan(statement);
    }
    fixture.role.denied.insert(TICKETS, [1, 2, 3, 4].into());
    fixture.plan("INSERT INTO tickets (id) VALUES ('1')");
    fixture.role.anchors.insert(CONTACTS, (1..=5).collect());
    fixture.plan("UPDATE contacts SET region = 'x'");
    fixture.role.anchors.clear();
    fixture.catalog.types.clear();
    fixture.plan("UPDATE contacts SET phone = 'x'");
    fixture.catalog.server_version = 140_000;
    fixture.plan("SELECT 0x1f");
    let reached: Vec<Place> = pgveil::sql::marks::reached()
        .into_iter()
        .map(|(file, line, _)| (file.to_owned(), line))
        .collect();
    let places = places();
    assert!(places.len() > 50, "the source is not read: {places:?}");
    let listed: Vec<(&str, &str)> = UNREACHED
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(" | "))
        .map(|(place, _)| place.split_once(": ").expect("file: line"))
        .collect();
    let mut failures = Vec::new();
    let mut missed = 0;
    for (place, text) in &places {
        let is_listed = listed.contains(&(place.0.as_str(), text.as_str()));
        if reached.contains(place) {
            continue;
        }
        missed += 1;
        if !is_listed {
            failures.push(format!("{}: {text}", place.0));
        }
    }
    for (file, text) in &listed {
        if !places
            .iter()
            .any(|(place, line)| place.0 == *file && line == text)
        {
            failures.push(format!("{file}: {text} is listed and not in the source"));
        }
    }
    println!(
        "{} of {} places reached",
        places.len() - missed,
        places.len()
    );
    if env::var_os("PGVEIL_MARKS").is_some() {
        println!("{}", failures.join("\n"));
    }
    assert!(
        failures.is_empty(),
        "reached by no statement, and not in unreached.txt:\n{}",
        failures.join("\n")
    );
}
