//! Masks on a real server: what they give, and that they are total: no value of a type makes one raise, NULL stays NULL,
//! type and typmod stay, and no setting of the session changes the result.
mod documents;
mod edges;
mod results;
mod server;
#[path = "../support/mod.rs"]
mod support;

use std::fmt::Write as _;

use edges::{EDGES, masks};
use pgveil::policy::mask::{ColumnType, Mask, Misfit};
use server::{UNUSUAL, catalog, column, create_edges, start};

#[test]
fn every_mask_is_total_keeps_null_type_and_typmod_and_heeds_no_setting() {
    let postgres = start();
    create_edges(&postgres);
    let catalog = catalog(&postgres);
    let mut tried = 0;
    for (number, (shown, _)) in EDGES.iter().enumerate() {
        let column = column(&catalog, &format!("t{number}"));
        let data_type = ColumnType::of(column, &catalog);
        let mut text = String::new();
        for (index, mask) in masks().iter().enumerate() {
            let sql = match mask.sql("\"v\"", &data_type) {
                Ok(sql) => sql,
                Err(misfit) => {
                    assert!(
                        misfit != Misfit::Type
                            || !Mask::fitting(&data_type).any(|name| name == mask.name()),
                        "{mask:?} on {shown} is said to fit"
                    );
                    continue;
                }
            };
            tried += 1;
            let _ = write!(
                text,
                "CREATE TABLE masks.r{number}_{index}_a AS SELECT n, {sql} AS v FROM masks.t{number};
                 {UNUSUAL} CREATE TABLE masks.r{number}_{index}_b AS SELECT n, {sql} AS v FROM masks.t{number}; RESET ALL;"
            );
        }
        postgres.try_sql("postgres", &text).unwrap_or_else(|error| {
            let message = error
                .as_db_error()
                .map_or_else(|| error.to_string(), ToString::to_string);
            panic!("a mask on {shown} raises: {message}")
        });
    }
    assert!(tried > 300, "only {tried} pairings were tried");

    let results = postgres.sql(
        "postgres",
        "SELECT c.relname::text, a.atttypid::int8::text, a.atttypmod::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
         WHERE c.relnamespace = 'masks'::regnamespace AND a.attname = 'v' AND c.relname LIKE 'r%\\_a' ORDER BY 1",
    );
    assert_eq!(results.len(), tried);
    for row in &results {
        let [Some(name), Some(oid), Some(typmod)] = &row[..] else {
            panic!("a row of NULLs")
        };
        let number = name
            .trim_start_matches('r')
            .split('_')
            .next()
            .expect("a number");
        let column = column(&catalog, &format!("t{number}"));
        let domain = catalog
            .types
            .get(&column.type_oid)
            .and_then(|found| found.base);
        let expected = match domain {
            Some(base) => (base, -1),
            None => (column.type_oid, column.typmod),
        };
        assert_eq!(
            (oid.parse(), typmod.parse()),
            (Ok(expected.0), Ok(expected.1)),
            "{name}: {}",
            column.type_sql
        );
        let other = name.replace("_a", "_b");
        let differences = postgres.sql(
            "postgres",
            &format!(
                "SELECT a.v::text, b.v::text FROM masks.{name} a JOIN masks.{other} b USING (n) WHERE a.v::text IS DISTINCT FROM b.v::text
                 UNION ALL SELECT 'not NULL', v::text FROM masks.{name} WHERE n = -1 AND v IS NOT NULL"
            ),
        );
        assert!(
            differences.is_empty(),
            "{name} ({}): {differences:?}",
            column.type_sql
        );
    }
}

#[test]
fn very_long_values_are_masked_without_running_out_of_room() {
    let postgres = start();
    postgres.sql(
        "postgres",
        "CREATE TABLE masks.long (v text); INSERT INTO masks.long VALUES (repeat('x', 300000000) || '@example.com')",
    );
    let catalog = catalog(&postgres);
    let column = column(&catalog, "long");
    let data_type = ColumnType::of(column, &catalog);
    for mask in [
        Mask::Show {
            first: 3,
            last: 4,
            char: '\u{1f600}',
        },
        Mask::Email { first: 1 },
        Mask::Redact,
    ] {
        let sql = mask.sql("\"v\"", &data_type).expect("the mask fits");
        let rows = postgres.sql("postgres", &format!("SELECT length({sql}) FROM masks.long"));
        let length: u32 = rows[0][0]
            .as_deref()
            .and_then(|text| text.parse().ok())
            .expect("a length");
        assert!(length <= 1_000_007, "{mask:?}: {length}");
    }
}

#[test]
fn a_column_keeps_its_own_collation() {
    let postgres = start();
    postgres.sql(
        "postgres",
        "CREATE TABLE masks.nocase (v text COLLATE nocase)",
    );
    let catalog = catalog(&postgres);
    let column = column(&catalog, "nocase");
    let data_type = ColumnType::of(column, &catalog);
    for mask in [
        Mask::Show {
            first: 3,
            last: 4,
            char: '*',
        },
        Mask::Email { first: 1 },
    ] {
        let sql = mask.sql("\"v\"", &data_type).expect("the mask fits");
        let text = format!(
            "SELECT pg_collation_for(s.v) FROM (SELECT {sql} AS v FROM masks.nocase RIGHT JOIN (SELECT 1) one ON true) s"
        );
        let rows = postgres.sql("postgres", &text);
        assert_eq!(rows[0][0].as_deref(), Some("nocase"), "{mask:?}");
    }
}

#[test]
fn a_column_of_any_name_is_masked() {
    let postgres = start();
    postgres.sql(
        "postgres",
        r#"CREATE TABLE masks.odd ("a ""b"" 'c' -- $1" text); INSERT INTO masks.odd VALUES ('13812345678')"#,
    );
    let catalog = catalog(&postgres);
    let relation = catalog.relation("masks", "odd").expect("the table");
    let column = relation.column_number(1).expect("the column");
    let mask = Mask::Show {
        first: 3,
        last: 4,
        char: '*',
    };
    let sql = mask
        .sql(
            &pgveil::policy::mask::quote_identifier(&column.name),
            &ColumnType::of(column, &catalog),
        )
        .expect("the mask fits");
    let rows = postgres.sql("postgres", &format!("SELECT {sql} FROM masks.odd"));
    assert_eq!(rows[0][0].as_deref(), Some("138****5678"));
}
