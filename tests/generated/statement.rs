//! Statements around queries: orders and limits, cursors, PREPARE, COPY, temporary tables, EXPLAIN, and writes.
use crate::generator::{Generator, Scope};
use crate::schema::{TABLES, Table, Ty, find};
use crate::write::{copy_in, delete, insert, merge, modifying_with, update};

/// One text a client sends.
#[derive(Debug, Clone, Default)]
pub struct Step {
    pub sql: String,
    /// Goes after a `COPY ... FROM STDIN`.
    pub copy_data: Option<String>,
    /// The order of its rows is open.
    pub unordered: bool,
}

/// What a session sends, and how results compare.
#[derive(Debug, Clone, Default)]
pub struct Case {
    pub steps: Vec<Step>,
    /// Values of `$n`; `Some` means the extended protocol.
    pub parameters: Option<Vec<String>>,
    pub binary: bool,
    /// Runs in a transaction that is rolled back.
    pub transaction: bool,
    /// Tables to look at afterwards, within the transaction.
    pub written: Vec<&'static str>,
    /// The rows that come back are those of the physically masked copy. Not where a new value of a masked column comes
    /// back (the copy shows it as written), nor for plans.
    pub exact: bool,
}

pub fn step(sql: impl Into<String>, unordered: bool) -> Step {
    Step {
        sql: sql.into(),
        copy_data: None,
        unordered,
    }
}

/// The statement of a seed.
pub fn generate(seed: u64, major: u32) -> Case {
    let extended = seed % 5 < 2;
    let mut generator = Generator::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d), extended);
    let mut case = match generator.random.below(100) {
        0..=67 => read(&mut generator),
        68..=70 => cursor(&mut generator),
        71..=72 => prepared(&mut generator),
        73..=76 => copy_out(&mut generator),
        77 => explain(&mut generator),
        78 => temporary(&mut generator),
        79 => locking(&mut generator),
        80 => copy_in(&mut generator),
        81..=87 => insert(&mut generator),
        88..=94 => update(&mut generator),
        95..=96 => delete(&mut generator),
        97 if major >= 15 => merge(&mut generator),
        97 => delete(&mut generator),
        _ => modifying_with(&mut generator),
    };
    case.binary = seed.is_multiple_of(2);
    // Several statements, or COPY data, go by the simple protocol.
    let utility = case.steps.len() > 1 || case.steps[0].sql.starts_with("COPY");
    case.parameters = generator.parameters.take().filter(|_| !utility);
    if let Some(values) = &mut case.parameters {
        (case.steps[0].sql, *values) = used(&case.steps[0].sql, values);
    }
    case
}

/// Numbers the parameters anew that are still in the text: what was written and not used took some along.
fn used(sql: &str, values: &[String]) -> (String, Vec<String>) {
    let mut text = String::new();
    let mut kept: Vec<usize> = Vec::new();
    let mut parts = sql.split('$');
    text += parts.next().unwrap_or_default();
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let Ok(number) = part[..digits].parse::<usize>() else {
            // A dollar in a literal: '$.k'.
            text += &format!("${part}");
            continue;
        };
        let place = kept
            .iter()
            .position(|known| *known == number)
            .unwrap_or_else(|| {
                kept.push(number);
                kept.len() - 1
            });
        text += &format!("${}{}", place + 1, &part[digits..]);
    }
    (
        text,
        kept.iter()
            .map(|number| values[number - 1].clone())
            .collect(),
    )
}

/// A query that gives one result, with its order where it has one.
fn query(generator: &mut Generator) -> Step {
    let query = generator.query(None);
    if query.columns.is_empty() || generator.random.percent(50) {
        return step(query.sql, true);
    }
    let all: Vec<String> = (1..=query.columns.len())
        .map(|at| {
            let how =
                *generator
                    .random
                    .pick(&["", "", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
            format!("{at}{how}")
        })
        .collect();
    let limit = match generator.random.below(5) {
        0 => " LIMIT 3".to_owned(),
        1 => " LIMIT 4 OFFSET 1".to_owned(),
        2 => " FETCH FIRST 2 ROWS WITH TIES".to_owned(),
        _ => String::new(),
    };
    step(
        format!("{} ORDER BY {}{limit}", query.sql, all.join(", ")),
        false,
    )
}

fn read(generator: &mut Generator) -> Case {
    if generator.random.percent(4) {
        return distinct_on(generator);
    }
    let step = query(generator);
    Case {
        steps: vec![step],
        exact: true,
        ..Case::default()
    }
}

fn distinct_on(generator: &mut Generator) -> Case {
    let types = generator.types(3);
    let inner = generator.query(Some(&types)).sql;
    let all: Vec<String> = (0..types.len()).map(|at| format!("f{at}")).collect();
    let all = all.join(", ");
    Case {
        steps: vec![step(
            format!("SELECT DISTINCT ON (f0) {all} FROM ({inner}) AS s({all}) ORDER BY {all}"),
            false,
        )],
        exact: true,
        ..Case::default()
    }
}

/// Without parameters: utility statements take none.
fn literal_query(generator: &mut Generator) -> Step {
    let parameters = generator.parameters.take();
    let step = query(generator);
    generator.parameters = parameters;
    step
}

fn cursor(generator: &mut Generator) -> Case {
    generator.parameters = None;
    let inner = query(generator);
    let scroll = *generator
        .random
        .pick(&["", "SCROLL ", "NO SCROLL ", "INSENSITIVE "]);
    let hold = *generator.random.pick(&["", "", " WITH HOLD"]);
    let mut steps = vec![step(
        format!("DECLARE cur {scroll}CURSOR{hold} FOR {}", inner.sql),
        false,
    )];
    if !inner.unordered {
        steps.push(step("FETCH 2 FROM cur", false));
        if scroll == "SCROLL " {
            steps.push(step("FETCH BACKWARD 1 FROM cur", false));
            steps.push(step("FETCH LAST FROM cur", false));
        }
        steps.push(step("MOVE 1 FROM cur", false));
    }
    steps.push(step("FETCH ALL FROM cur", inner.unordered));
    steps.push(step("CLOSE cur", false));
    Case {
        steps,
        transaction: true,
        exact: true,
        ..Case::default()
    }
}

fn prepared(generator: &mut Generator) -> Case {
    generator.parameters = Some(Vec::new());
    let inner = query(generator);
    let values = generator.parameters.take().unwrap_or_default();
    let (sql, values) = used(&inner.sql, &values);
    let quoted: Vec<String> = values
        .iter()
        .map(|value| format!("'{}'", value.replace('\'', "''")))
        .collect();
    let arguments = match quoted.is_empty() {
        true => String::new(),
        false => format!("({})", quoted.join(", ")),
    };
    Case {
        steps: vec![
            step(format!("PREPARE ps AS {sql}"), false),
            step(format!("EXECUTE ps{arguments}"), inner.unordered),
            step(format!("EXECUTE ps{arguments}"), inner.unordered),
            step("DEALLOCATE ALL", false),
        ],
        exact: true,
        ..Case::default()
    }
}

fn copy_out(generator: &mut Generator) -> Case {
    let how = *generator.random.pick(&[
        "",
        " WITH (FORMAT csv, HEADER)",
        " CSV",
        " (DELIMITER '|', NULL '~')",
    ]);
    let copied = match generator.random.percent(40) {
        true => {
            let tables: Vec<&Table> = TABLES
                .iter()
                .filter(|table| !table.view && !matches!(table.name, "events" | "numbers"))
                .collect();
            let table = *generator.random.pick(&tables);
            let columns = match generator.random.percent(50) {
                true => format!(" ({}, {})", table.columns[1].0, table.columns[0].0),
                false => String::new(),
            };
            step(
                format!("COPY crm.{}{columns} TO STDOUT{how}", table.name),
                true,
            )
        }
        false => {
            let inner = literal_query(generator);
            step(
                format!("COPY ({}) TO STDOUT{how}", inner.sql),
                inner.unordered,
            )
        }
    };
    generator.parameters = None;
    Case {
        steps: vec![copied],
        exact: true,
        ..Case::default()
    }
}

fn explain(generator: &mut Generator) -> Case {
    let inner = query(generator);
    let how = *generator
        .random
        .pick(&["", " (COSTS OFF)", " (VERBOSE, COSTS OFF)"]);
    Case {
        steps: vec![step(format!("EXPLAIN{how} {}", inner.sql), false)],
        ..Case::default()
    }
}

fn temporary(generator: &mut Generator) -> Case {
    generator.parameters = None;
    let types = generator.types(3);
    let inner = generator.query(Some(&types)).sql;
    let names: Vec<String> = (0..types.len()).map(|at| format!("f{at}")).collect();
    Case {
        steps: vec![
            step(
                format!(
                    "CREATE TEMP TABLE scratch AS SELECT * FROM ({inner}) AS s({})",
                    names.join(", ")
                ),
                false,
            ),
            step("SELECT * FROM scratch", true),
            step("UPDATE scratch SET f0 = NULL WHERE f0 IS NOT NULL", false),
            step("SELECT count(*) FROM scratch WHERE f0 IS NULL", false),
            step("DROP TABLE scratch", false),
        ],
        transaction: true,
        exact: true,
        ..Case::default()
    }
}

pub fn scope_of(table: &Table, alias: &str) -> Scope {
    let columns = |prefix: String| -> Vec<(String, Ty)> {
        table
            .columns
            .iter()
            .map(|column| (format!("{prefix}{}", column.0), column.1))
            .collect()
    };
    Scope {
        columns: columns(format!("{alias}.")),
        rows: vec![(alias.to_owned(), columns(String::new()))],
    }
}

fn locking(generator: &mut Generator) -> Case {
    let table = *generator
        .random
        .pick(&["contacts", "deals", "leads", "events", "base"]);
    let scope = scope_of(find(table), "c");
    let condition = generator.value(Ty::Bool, &scope, 2);
    let value = generator.value(Ty::Text, &scope, 2);
    let strength = *generator.random.pick(&[
        "UPDATE",
        "NO KEY UPDATE",
        "SHARE",
        "UPDATE OF c",
        "SHARE OF c NOWAIT",
        "UPDATE SKIP LOCKED",
    ]);
    Case {
        steps: vec![step(
            format!("SELECT c.id, {value} FROM {table} c WHERE {condition} FOR {strength}"),
            true,
        )],
        transaction: true,
        exact: true,
        ..Case::default()
    }
}
