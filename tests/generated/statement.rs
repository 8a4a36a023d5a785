//! Statements around queries: orders and limits, cursors, PREPARE, COPY, temporary tables, EXPLAIN, and writes.
use crate::generator::{Generator, Scope};
use crate::schema::{TABLES, Table, Ty, Use, find};

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

fn step(sql: impl Into<String>, unordered: bool) -> Step {
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

fn scope_of(table: &Table, alias: &str) -> Scope {
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

fn writable(generator: &mut Generator) -> &'static Table {
    if generator.random.percent(40) {
        return &TABLES[0];
    }
    let tables: Vec<&'static Table> = TABLES
        .iter()
        .filter(|table| table.usage == Use::Write)
        .collect();
    *generator.random.pick(&tables)
}

fn is_masked(table: &Table, column: &str) -> bool {
    let masked = crate::schema::masks();
    let owner = if table.name == "child" {
        "base"
    } else {
        table.name
    };
    masked
        .iter()
        .any(|mask| (mask.0, mask.1) == (owner, column))
}

/// Columns that a write names: some, with the key where it has one. The partition key is left alone.
fn some_columns(generator: &mut Generator, table: &Table, most: usize) -> Vec<(&'static str, Ty)> {
    let mut left: Vec<(&'static str, Ty)> = table
        .columns
        .iter()
        .filter(|column| !matches!(column.0, "id" | "kind"))
        .copied()
        .collect();
    let mut chosen = Vec::new();
    for _ in 0..1 + generator.random.below(most) {
        if !left.is_empty() {
            let at = generator.random.below(left.len());
            chosen.push(left.remove(at));
        }
    }
    chosen
}

fn assignments(generator: &mut Generator, table: &Table, scope: &Scope) -> String {
    let columns = some_columns(generator, table, 3);
    let mut parts: Vec<String> = Vec::new();
    if columns.len() > 1 && generator.random.percent(20) {
        let names: Vec<&str> = columns.iter().map(|column| column.0).collect();
        let values: Vec<String> = columns
            .iter()
            .map(|column| written(generator, *column, scope))
            .collect();
        return format!("({}) = ROW({})", names.join(", "), values.join(", "));
    }
    for column in columns {
        let value = match generator.random.percent(6) {
            true => "DEFAULT".into(),
            false => written(generator, column, scope),
        };
        parts.push(format!("{} = {value}", column.0));
    }
    parts.join(", ")
}

/// A value for a column, often one that a form shows: the mask of what is there.
fn written(generator: &mut Generator, column: (&'static str, Ty), scope: &Scope) -> String {
    let shown = match column.0 {
        "phone" => "'138****0001'",
        "full_name" => "'B******'",
        "email" => "'b***@mail.example'",
        "salary" => "5000",
        "born" => "'1971-01-01'",
        "profile" => "'\"***\"'",
        "tags" => "'{}'",
        "score" => "100",
        "region" => "'CN'",
        _ => "NULL",
    };
    match generator.random.below(10) {
        0..=3 => shown.to_owned(),
        4..=6 => generator.literal(column.1),
        _ => generator.value(column.1, scope, 2),
    }
}

/// RETURNING, and whether it may show a masked column.
fn returning(generator: &mut Generator, table: &Table, alias: &str) -> (String, bool) {
    match generator.random.below(6) {
        0 | 1 => (String::new(), false),
        2 => (" RETURNING *".into(), true),
        3 => {
            let plain: Vec<&(&str, Ty)> = table
                .columns
                .iter()
                .filter(|column| !is_masked(table, column.0))
                .collect();
            let column = generator.random.pick(&plain).0;
            (format!(" RETURNING {alias}.id, {column} AS r"), false)
        }
        _ => {
            let scope = Scope {
                rows: Vec::new(),
                ..scope_of(table, alias)
            };
            let value = generator.value(Ty::Text, &scope, 2);
            (format!(" RETURNING {alias}.id, {value} AS r"), true)
        }
    }
}

fn write_case(sql: String, table: &Table, shows: bool) -> Case {
    Case {
        steps: vec![step(sql, true)],
        transaction: true,
        written: vec![table.name],
        exact: !(shows && table.protected),
        ..Case::default()
    }
}

fn insert(generator: &mut Generator) -> Case {
    let table = writable(generator);
    let mut columns = vec![table.columns[0]];
    columns.extend(some_columns(generator, table, 4));
    for needed in [("region", Ty::Text), ("kind", Ty::Text)] {
        if table.columns.contains(&needed) && !columns.contains(&needed) {
            columns.push(needed);
        }
    }
    let names: Vec<&str> = columns.iter().map(|column| column.0).collect();
    let empty = Scope::default();
    let key = generator.random.between(1, 14);
    let source = match generator.random.percent(65) {
        true => {
            let cells: Vec<String> = columns
                .iter()
                .map(|column| match column.0 {
                    "id" => key.to_string(),
                    "kind" => "'call'".into(),
                    _ => written(generator, *column, &empty),
                })
                .collect();
            format!("VALUES ({})", cells.join(", "))
        }
        false => {
            let from = *generator.random.pick(&["contacts", "v_contacts", "leads"]);
            let scope = scope_of(find(from), "s");
            let cells: Vec<String> = columns
                .iter()
                .map(|column| match column.0 {
                    "id" => format!("s.id + {}", generator.random.pick(&[0, 50, 100])),
                    "kind" => "'mail'".into(),
                    "region" => "s.region".into(),
                    _ => generator.value(column.1, &scope, 2),
                })
                .collect();
            let condition = generator.value(Ty::Bool, &scope, 2);
            format!(
                "SELECT {} FROM crm.{from} s WHERE {condition}",
                cells.join(", ")
            )
        }
    };
    let keyed = matches!(table.name, "contacts" | "deals" | "leads");
    let conflict = match generator.random.below(5) {
        0 if keyed => " ON CONFLICT (id) DO NOTHING".to_owned(),
        1 | 2 if keyed => {
            let mut scope = scope_of(table, "excluded");
            scope.columns.extend(scope_of(table, "w").columns);
            scope.rows.clear();
            let set = assignments(generator, table, &scope);
            let condition = match generator.random.percent(30) {
                true => format!(" WHERE {}", generator.value(Ty::Bool, &scope, 2)),
                false => String::new(),
            };
            format!(" ON CONFLICT (id) DO UPDATE SET {set}{condition}")
        }
        _ => String::new(),
    };
    let (returning, shows) = returning(generator, table, "w");
    write_case(
        format!(
            "INSERT INTO {} AS w ({}) {source}{conflict}{returning}",
            table.name,
            names.join(", ")
        ),
        table,
        shows,
    )
}

fn update(generator: &mut Generator) -> Case {
    let table = writable(generator);
    let (sql, shows) = update_sql(generator, table);
    write_case(sql, table, shows)
}

fn update_sql(generator: &mut Generator, table: &Table) -> (String, bool) {
    let mut scope = scope_of(table, "w");
    if generator.random.percent(80) {
        scope.rows.clear();
    }
    let mut from = String::new();
    let mut condition = match generator.random.percent(50) {
        true => format!("w.id = {}", generator.random.between(1, 10)),
        false => generator.value(Ty::Bool, &scope, 3),
    };
    if generator.random.percent(30) {
        let other = *generator
            .random
            .pick(&["contacts", "deals", "numbers", "v_contacts"]);
        let beside = scope_of(find(other), "o");
        scope.columns.extend(beside.columns);
        from = format!(" FROM crm.{other} AS o");
        condition = format!("o.id = w.id AND {condition}");
    }
    let set = assignments(generator, table, &scope);
    let only = if table.parent && generator.random.percent(20) {
        "ONLY "
    } else {
        ""
    };
    let (returning, shows) = returning(generator, table, "w");
    let sql = format!(
        "UPDATE {only}{} w SET {set}{from} WHERE {condition}{returning}",
        table.name
    );
    (sql, shows)
}

fn delete(generator: &mut Generator) -> Case {
    let table = writable(generator);
    let scope = scope_of(table, "w");
    let condition = generator.value(Ty::Bool, &scope, 3);
    let using = match generator.random.percent(30) {
        true => " USING crm.contacts o",
        false => "",
    };
    let linked = if using.is_empty() {
        ""
    } else {
        "o.id = w.id AND "
    };
    let (returning, _) = returning(generator, table, "w");
    Case {
        // What comes back was there before: as the copy holds it.
        exact: true,
        ..write_case(
            format!(
                "DELETE FROM {} w{using} WHERE {linked}{condition}{returning}",
                table.name
            ),
            table,
            false,
        )
    }
}

fn merge(generator: &mut Generator) -> Case {
    let table = writable(generator);
    let mut scope = scope_of(table, "w");
    scope.rows.clear();
    let source = *generator.random.pick(&["contacts", "leads", "deals"]);
    scope.columns.extend(scope_of(find(source), "s").columns);
    let set = assignments(generator, table, &scope);
    let when = match generator.random.percent(40) {
        true => format!(" AND {}", generator.value(Ty::Bool, &scope, 2)),
        false => String::new(),
    };
    let inserted = match table.columns.iter().any(|column| column.0 == "kind") {
        true => ("id, kind", "s.id, 'call'"),
        false if table.columns.contains(&("region", Ty::Text)) => ("id, region", "s.id, 'EU'"),
        false => ("id", "s.id"),
    };
    write_case(
        format!(
            "MERGE INTO {} w USING crm.{source} s ON w.id = s.id + {} WHEN MATCHED{when} THEN UPDATE SET {set} \
             WHEN NOT MATCHED THEN INSERT ({}) VALUES ({})",
            table.name,
            generator.random.below(8),
            inserted.0,
            inserted.1
        ),
        table,
        false,
    )
}

fn modifying_with(generator: &mut Generator) -> Case {
    let table = writable(generator);
    let (sql, _) = update_sql(generator, table);
    let (sql, _) = sql.split_once(" RETURNING").unwrap_or((&sql, ""));
    let column = generator.random.pick(table.columns).0;
    write_case(
        format!(
            "WITH m AS ({sql} RETURNING w.id, w.{column} AS r) SELECT count(*), max(m.r::text) FROM m"
        ),
        table,
        true,
    )
}

fn copy_in(generator: &mut Generator) -> Case {
    generator.parameters = None;
    let table = *generator.random.pick(&["contacts", "leads", "deals"]);
    let region = if table == "deals" { "stage" } else { "region" };
    let first = generator.random.between(8, 30);
    let mut case = write_case(
        format!("COPY {table} (id, phone, {region}) FROM STDIN"),
        find(table),
        false,
    );
    case.steps[0].copy_data = Some(format!("{first}\t138****0009\tCN\n40\t\\N\tEU\n"));
    case
}
