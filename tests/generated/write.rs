//! Writes: INSERT, UPDATE, DELETE, MERGE, alone and in WITH, and COPY FROM.
use crate::generator::{Generator, Scope};
use crate::schema::{TABLES, Table, Ty, Use, find};
use crate::statement::{Case, scope_of, step};

fn writable(generator: &mut Generator) -> &'static Table {
    if generator.random.percent(40) {
        return &TABLES[0];
    }
    let tables: Vec<&'static Table> = TABLES
        .iter()
        .filter(|table| table.usage == Use::Write)
        .collect();
    let table: &&'static Table = generator.random.pick(&tables);
    table
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

pub fn insert(generator: &mut Generator) -> Case {
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

pub fn update(generator: &mut Generator) -> Case {
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

pub fn delete(generator: &mut Generator) -> Case {
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

pub fn merge(generator: &mut Generator) -> Case {
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

pub fn modifying_with(generator: &mut Generator) -> Case {
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

pub fn copy_in(generator: &mut Generator) -> Case {
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
