//! Case files: a statement, and the text that runs or the reason it is refused.
//!
//! `cases.txt` holds blocks separated by blank lines. A block's first line is the statement; the second is `= text that
//! runs` with templates written as `{relation}` or `{ONLY relation}`, `pass`, or `refuse reason: part of the message`. In
//! writes `<alias.phone>` is the mask of a target's column, `<alias.phone := text>` the text with what keeps the stored
//! value around it, `<alias.cap := text>` with what refuses every other; `<row alias>` is the target's whole row.
use pgveil::sql::plan::{Plan, Verdict};

use crate::fixture::Fixture;

const CASES: &[&str] = &[
    include_str!("cases.txt"),
    include_str!("writes.txt"),
    include_str!("rows.txt"),
];

/// `relation`, `ONLY relation`, with `|condition & condition|` behind it, and `fence` behind that.
fn template(fixture: &Fixture, text: &str) -> String {
    let mut parts = text.split('|');
    let name = parts.next().unwrap_or("");
    let conditions: Vec<String> = parts
        .next()
        .unwrap_or("")
        .split(" & ")
        .filter(|condition| !condition.is_empty())
        .map(str::to_owned)
        .collect();
    let fence = parts.next() == Some("fence");
    let (only, name) = match name.strip_prefix("ONLY ") {
        Some(name) => (true, name),
        None => (false, name),
    };
    let (schema, name) = name.split_once('.').expect("schema.name");
    let relation = fixture
        .catalog
        .relation(schema, name)
        .expect("a relation of the fixture");
    let template = fixture
        .templates
        .get(
            fixture.catalog.version,
            &fixture.role,
            &fixture.values,
            relation,
            only,
        )
        .expect("a template");
    format!(
        "{}{}",
        template.open([], fence),
        template.end(&conditions, fence)
    )
}

/// Templates and masks written out.
pub fn expand(fixture: &Fixture, text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('{') {
        let (name, after) = behind.split_once('}').expect("a closing brace");
        out.push_str(before);
        out.push_str(&template(fixture, name));
        rest = after;
    }
    masks(&(out + rest))
}

/// Masks and what keeps stored values, innermost first.
fn masks(text: &str) -> String {
    let mut text = text.to_owned();
    // `<row alias>` is the whole row of crm.contacts, `<version old>` that of a version of it.
    for (word, version) in [("<row ", false), ("<version ", true)] {
        while let Some(open) = text.find(word) {
            let close = open + text[open..].find('>').expect("a closing bracket");
            let name = text[open + word.len()..close].to_owned();
            let row = format!(
                "ROW(\"{name}\".\"id\", \"{name}\".\"name\", <{name}.phone>, \"{name}\".\"region\", \
                 \"{name}\".\"search\")::\"crm\".\"contacts\""
            );
            let row = match version {
                false => row,
                true => {
                    format!("CASE WHEN \"{name}\".tableoid IS NULL THEN NULL ELSE {row} END")
                }
            };
            text.replace_range(open..=close, &format!("({row})"));
        }
    }
    // `<<alias>>` is the check of a row that has been written.
    while let Some(open) = text.find("<<") {
        let close = open + text[open..].find(">>").expect("closing brackets");
        let name = text[open + 2..close].to_owned();
        let check = format!(
            "(CASE WHEN (\"{name}\".\"owner\" OPERATOR(pg_catalog.=) 'o''neil') THEN NULL ELSE \
             pg_catalog.concat('pgveil_row_rule', pg_catalog.\"left\"(\"{name}\".\"id\"::pg_catalog.text, 0))\
             ::pg_catalog.bool END)"
        );
        text.replace_range(open..close + 2, &check);
    }
    while let Some((open, name)) = text.rmatch_indices('<').find_map(|(open, _)| {
        let behind = &text[open + 1..];
        let end = behind.find(".phone")?;
        behind[..end]
            .chars()
            .all(|c| c.is_ascii_lowercase())
            .then(|| (open, behind[..end].to_owned()))
    }) {
        let from = open + 1 + name.len() + ".phone".len();
        let close = from + text[from..].find('>').expect("a closing bracket");
        let column = format!("\"{name}\".\"phone\"");
        let mask = format!("(pg_catalog.\"left\"({column}, 3))::pg_catalog.text");
        let new = match text[from..close].strip_prefix(" := ") {
            None => mask,
            Some(value) => format!(
                "(SELECT CASE WHEN (\"pgveil_w\".\"v\" IS NULL AND \"pgveil_w\".\"m\" IS NULL) OR \"pgveil_w\".\"v\" \
                 OPERATOR(pg_catalog.=) \"pgveil_w\".\"m\" THEN {column} ELSE \"pgveil_w\".\"v\" END FROM (SELECT ( \
                 {value})::\"pg_catalog\".\"text\" AS \"v\", {mask} AS \"m\") AS \"pgveil_w\")"
            ),
        };
        text.replace_range(open..=close, &new);
    }
    while let Some(at) = text.find(".cap := ") {
        let open = text[..at].rfind('<').expect("an opening bracket");
        let close = at + text[at..].find('>').expect("a closing bracket");
        let column = format!("\"{}\".\"cap\"", &text[open + 1..at]);
        let value = &text[at + ".cap := ".len()..close];
        let new = format!(
            "(SELECT CASE WHEN (\"pgveil_w\".\"v\" IS NULL AND \"pgveil_w\".\"m\" IS NULL) OR \"pgveil_w\".\"v\" \
             OPERATOR(pg_catalog.=) \"pgveil_w\".\"m\" THEN {column} WHEN pg_catalog.concat('pgveil_tied', \
             pg_catalog.\"left\"({column}::pg_catalog.text, 0))::pg_catalog.bool THEN \"pgveil_w\".\"v\" END FROM (SELECT ( \
             {value})::\"pg_catalog\".\"text\" AS \"v\", {column} AS \"m\") AS \"pgveil_w\")"
        );
        text.replace_range(open..=close, &new);
    }
    text
}

fn outcome(plan: &Plan) -> String {
    match plan
        .statements
        .iter()
        .find_map(|statement| match &statement.verdict {
            Verdict::Refuse(refusal) => Some(refusal),
            _ => None,
        }) {
        Some(refusal) => format!(
            "refuse {}: {} ({})",
            refusal.reason.label(),
            refusal.message,
            refusal.detail
        ),
        None => match &plan.text {
            Some(text) => format!("= {text}"),
            None => "pass".into(),
        },
    }
}

#[test]
fn statements_run_as_the_case_file_says() {
    let fixture = Fixture::new();
    let mut failures = Vec::new();
    let mut count = 0;
    for block in CASES.iter().flat_map(|cases| cases.split("\n\n")) {
        let lines: Vec<&str> = block
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        let [statement, expected] = lines.as_slice() else {
            assert!(lines.is_empty(), "a block has two lines: {block}");
            continue;
        };
        count += 1;
        let statement = statement
            .replace("\\n", "\n")
            .replace("\\v", "\u{b}")
            .replace("\\r", "\r");
        let plan = fixture.plan(&statement);
        let found = outcome(&plan);
        let holds = if let Some(reason) = expected.strip_prefix("refuse ") {
            let (label, part) = reason.split_once(": ").unwrap_or((reason, ""));
            found.starts_with(&format!("refuse {label}: ")) && found.contains(part)
        } else {
            found == expand(&fixture, expected).replace("\\n", "\n")
        };
        if !holds {
            failures.push(format!(
                "{statement}\n  expected {expected}\n  found    {found}"
            ));
        }
    }
    assert!(count > 60, "only {count} cases");
    assert!(
        failures.is_empty(),
        "{} of {count}:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// A schema on the search path with an operator of its own: syntax that looks an operator up without naming it is refused
/// as the operator itself is.
#[test]
fn operators_that_syntax_implies_are_looked_up_too() {
    let mut fixture = Fixture::new();
    for name in ["<", ">", "<=", ">="] {
        let own = fixture.catalog.operators["="].clone();
        fixture.catalog.operators.insert(name.into(), own);
    }
    for text in [
        "SELECT 1 = 2",
        "SELECT 1 IN (2)",
        "SELECT 1 IN (SELECT 2)",
        "SELECT CASE 1 WHEN 2 THEN 3 END",
        "SELECT 1 FROM crm.orders a JOIN crm.orders b USING (id)",
        "SELECT 1 FROM crm.orders a NATURAL JOIN crm.orders b",
        "SELECT 1 BETWEEN 2 AND 3",
        "SELECT 1 NOT BETWEEN SYMMETRIC 2 AND 3",
        "SELECT NULLIF(1, 2)",
        "SELECT 1 IS DISTINCT FROM 2",
        "SELECT (1, 2) < (3, 4)",
    ] {
        let found = outcome(&fixture.plan_in("attacker, crm", text));
        assert!(found.starts_with("refuse operator"), "{text}: {found}");
        let found = outcome(&fixture.plan_in("crm", text));
        assert!(!found.starts_with("refuse"), "{text}: {found}");
    }
}

#[test]
fn restored_origins_name_the_masked_columns() {
    let fixture = Fixture::new();
    let origins = |text: &str| -> Vec<Option<i16>> {
        fixture.plan(text).statements[0]
            .origins
            .iter()
            .map(|origin| origin.as_ref().map(|origin| origin.column))
            .collect()
    };
    assert_eq!(origins("SELECT phone FROM contacts"), [Some(3)]);
    assert_eq!(
        origins("SELECT o.*, c.phone AS p FROM orders o JOIN contacts c ON c.id = o.id"),
        [None, None, None, Some(3)]
    );
    assert_eq!(
        origins("SELECT * FROM contacts"),
        [None, None, Some(3), None, None]
    );
    assert_eq!(
        origins("WITH q(a, b) AS (SELECT id, phone FROM contacts) SELECT b, a FROM q"),
        [Some(3), None]
    );
    assert_eq!(
        origins("SELECT (c).phone, (c).*, xmlconcat('<a/>'), b FROM contacts c(a, x, phone, b)"),
        [Some(3), None, None, Some(3), None, None, None, None]
    );
    assert_eq!(
        origins("SELECT xmlforest(1 AS a), c.phone, (c).phone FROM contacts c"),
        [None, Some(3), Some(3)]
    );
    assert_eq!(origins("SELECT lower(phone) FROM contacts"), []);
    // A cast to the column's own type is none.
    assert_eq!(
        origins(
            "SELECT phone::text, (c.phone)::pg_catalog.text::text AS x, phone::varchar, phone::text[], id::text FROM contacts c"
        ),
        [Some(3), Some(3), None, None, None]
    );
    assert_eq!(
        origins(
            "SELECT s.p, s.x, t.* FROM contacts c, LATERAL (SELECT c.phone AS p, upper(c.phone) AS x) s, \
             LATERAL (SELECT i.q, id FROM (SELECT s.p AS q) i) t"
        ),
        [Some(3), None, Some(3), None]
    );
    assert_eq!(
        origins(
            "SELECT s.* FROM contacts c LEFT JOIN LATERAL (SELECT c.phone, o.phone AS p FROM orders o) s ON true"
        ),
        [Some(3), None]
    );
    assert_eq!(origins("SELECT phone FROM contacts UNION SELECT 'x'"), []);
    assert_eq!(
        origins("SELECT * FROM contacts a JOIN contacts b USING (phone)").first(),
        Some(&Some(3))
    );
}

/// What one version calls a column, and how it reads a number, decides about what a name means.
#[test]
fn names_and_numbers_are_read_as_the_server_reads_them() {
    let mut fixture = Fixture::new();
    let row = |fixture: &Fixture| {
        outcome(&fixture.plan(
            "UPDATE contacts AS \"?column?\" SET region = (SELECT \"?column?\"::text FROM (SELECT true) s)",
        ))
        .contains("ROW(\"?column?\".\"id\"")
    };
    let numbers = ["SELECT 0x1f", "SELECT 0B1 FROM orders", "SELECT 1_000"];
    assert!(!row(&fixture), "from version 15 on it is called ?column?");
    for text in numbers {
        assert!(
            !outcome(&fixture.plan(text)).starts_with("refuse"),
            "{text}"
        );
    }
    fixture.catalog.server_version = 140_000;
    assert!(row(&fixture), "before version 15 it is called bool");
    for text in numbers {
        let found = outcome(&fixture.plan(text));
        assert!(
            found.starts_with("refuse construct: a number"),
            "{text}: {found}"
        );
    }
    assert_eq!(outcome(&fixture.plan("SELECT 1e3, 1.5, 100")), "pass");
    // Before version 17 a vertical tab is no white space, before version 16 SYSTEM_USER is a name: in FROM one of whatever
    // relation is called so.
    let spaced = "SELECT 1\u{b}-- \u{b}\n, '\u{b}'";
    let within = "SELECT 1 /* \u{b} */ -- \u{b}\n, '\u{b}'";
    let relation = "SELECT * FROM system_user";
    let column = "SELECT o.system_user, system_user FROM (SELECT '1' AS \"system_user\") o";
    fixture.catalog.server_version = 150_000;
    let refused =
        |fixture: &Fixture, text: &str| outcome(&fixture.plan(text)).starts_with("refuse");
    assert!(refused(&fixture, spaced) && refused(&fixture, relation));
    assert!(!refused(&fixture, within) && !refused(&fixture, column));
    fixture.catalog.server_version = 160_000;
    assert!(refused(&fixture, spaced));
    assert!(
        refused(&fixture, column),
        "this catalog has no such function"
    );
    fixture.catalog.server_version = 170_000;
    assert_eq!(outcome(&fixture.plan(spaced)), "pass");
}

#[test]
fn positions_lead_back_to_the_clients_text() {
    let fixture = Fixture::new();
    let text = "SELECT  /* 汉 */ nope FROM contacts WHERE wrong = 1";
    let plan = fixture.plan(text);
    let sent = plan.text.expect("a rewritten text");
    for word in ["nope", "wrong"] {
        let at = |text: &str| text[..text.find(word).unwrap()].chars().count() as u32 + 1;
        assert_eq!(plan.positions.to_client(at(&sent)), at(text), "{word}");
    }
}

#[test]
fn the_longest_texts_that_the_caps_allow_are_planned_on_a_planning_stack() {
    std::thread::Builder::new()
        .stack_size(pgveil::sql::cache::STACK_BYTES)
        .spawn(|| {
            let fixture = Fixture::new();
            for text in [
                format!("SELECT phone{} FROM contacts", " || 'x'".repeat(1_900)),
                format!(
                    "SELECT {}1{} FROM contacts",
                    "(".repeat(190),
                    ")".repeat(190)
                ),
                format!(
                    "SELECT 1 FROM contacts WHERE id = '1'{}",
                    " OR id = '2'".repeat(20_000)
                ),
                format!(
                    "SELECT 1 FROM contacts WHERE id IN ('1'{})",
                    ",'2'".repeat(50_000)
                ),
                format!("SELECT 1{} FROM contacts", " UNION SELECT 1".repeat(900)),
            ] {
                let plan = fixture.plan(&text);
                assert!(
                    plan.text
                        .is_some_and(|text| !text.contains("pgveil_refused")),
                    "{}: {:?}",
                    &text[..60],
                    plan.statements[0].verdict
                );
            }
        })
        .expect("a thread")
        .join()
        .expect("no overflow");
}

/// What the record says of masked columns: those of relations that are read, and those that a write reads of its target.
#[test]
fn the_record_names_the_masked_columns_that_a_statement_reaches() {
    let fixture = Fixture::new();
    for (statement, masked) in [
        ("SELECT id FROM contacts", &[][..]),
        ("SELECT upper(phone) FROM contacts", &["crm.contacts.phone"]),
        ("SELECT * FROM contacts", &["crm.contacts.phone"]),
        ("UPDATE contacts SET phone = 'x' WHERE id = '1'", &[]),
        (
            "UPDATE contacts SET region = 'x' WHERE phone LIKE '138%'",
            &["crm.contacts.phone"],
        ),
        (
            "UPDATE contacts SET region = phone",
            &["crm.contacts.phone"],
        ),
        ("UPDATE contacts SET region = 'x' RETURNING id", &[]),
        (
            "UPDATE contacts SET region = 'x' RETURNING *",
            &["crm.contacts.phone"],
        ),
        (
            "DELETE FROM tickets t WHERE t.phone = '1'",
            &["crm.tickets.phone"],
        ),
        (
            "INSERT INTO contacts (id, phone) VALUES ('1', '2') RETURNING contacts.phone",
            &["crm.contacts.phone"],
        ),
        (
            "INSERT INTO contacts (id, phone) SELECT id, total FROM orders",
            &[],
        ),
        (
            "WITH u AS (UPDATE contacts SET region = 'x' RETURNING phone AS p) SELECT p FROM u",
            &["crm.contacts.phone"],
        ),
    ] {
        let plan = fixture.plan(statement);
        let found: Vec<&str> = plan
            .statements
            .iter()
            .flat_map(|plan| plan.masked.iter().map(String::as_str))
            .collect();
        assert_eq!(found, masked, "{statement}");
    }
}
