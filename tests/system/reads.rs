//! What psql and other programs ask the catalogs comes back as without pgveil.
use std::process::Command;

use crate::support::message::{self, Client, Frame};
use crate::support::{Pgveil, Postgres};
use crate::{agent, error, rows, start};

const COMMANDS: &str = include_str!("psql.txt");
const STATEMENTS: &str = include_str!("tools.sql");

fn psql(server: &Postgres, port: u16, command: &str) -> String {
    let mut psql: Command = server.program("psql");
    let output = psql
        .env("PGPORT", port.to_string())
        .env("PGUSER", "agent")
        .args(["-X", "-P", "pager=off", "-d", "crm", "-c", command])
        .output()
        .expect("psql");
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn psql_prints_what_it_prints_without_pgveil() {
    let (server, pgveil) = start("");
    let failures = printed_otherwise(&server, &pgveil, COMMANDS.lines());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// A system column of `pg_class` or `pg_attribute` is not in what stands for it.
const NAMES_SYSTEM_COLUMNS: &[&str] = &["\\det+"];

#[test]
fn psql_prints_the_same_where_the_catalogs_of_relations_and_columns_are_masked() {
    let (server, pgveil) = start(crate::secrets::KEPT);
    let commands = COMMANDS
        .lines()
        .filter(|command| !NAMES_SYSTEM_COLUMNS.contains(command));
    let failures = printed_otherwise(&server, &pgveil, commands);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn printed_otherwise<'a>(
    server: &Postgres,
    pgveil: &Pgveil,
    commands: impl Iterator<Item = &'a str>,
) -> Vec<String> {
    let mut failures = Vec::new();
    for command in commands {
        let (shown, direct) = (
            psql(server, pgveil.port(), command),
            psql(server, server.port(), command),
        );
        // Without its password a subscription may be read.
        let more = command == "\\dRs+" && shown.contains("List of subscriptions");
        if shown != direct && !more {
            let differs = shown
                .lines()
                .zip(direct.lines())
                .find(|(one, other)| one != other);
            failures.push(format!("{command}: {differs:?}"));
        }
    }
    failures
}

/// Frames that a client compares: columns, rows (in any order where none was asked for), tag, errors.
fn answer(client: &mut Client, sql: &str, extended: bool) -> Vec<Frame> {
    if !extended {
        return client.query(sql);
    }
    client.send_all(&[
        message::parse("", sql, &[]),
        message::bind("", "", &[], 0),
        message::describe(b'P', ""),
        message::execute("", 0),
        message::sync(),
    ]);
    client.read_until_ready()
}

fn comparable(frames: Vec<Frame>, columns_alone: bool) -> Vec<Vec<u8>> {
    let mut kept: Vec<Frame> = frames
        .into_iter()
        .filter(|frame| !columns_alone || matches!(frame.tag, b'T' | b'E'))
        .collect();
    kept.sort_by_key(Frame::bytes);
    kept.iter().map(Frame::bytes).collect()
}

/// How often a statement over numbers that the server counts is answered otherwise before that is a difference.
const TRIES: usize = 3;

#[test]
fn programs_get_what_a_direct_session_gets() {
    let (server, pgveil) = start("");
    let (mut through, mut direct) = (agent(pgveil.port()), agent(server.port()));
    let mut failures = Vec::new();
    let mut count = 0;
    for block in STATEMENTS.split("\n\n") {
        let columns_alone = block.contains("--= runs");
        let counts = block.contains("--= counts");
        let lines: Vec<&str> = block
            .lines()
            .filter(|line| !line.starts_with("--"))
            .collect();
        let sql = lines.join("\n");
        if sql.is_empty() {
            continue;
        }
        count += 1;
        for extended in [false, true] {
            let tries = if counts { TRIES } else { 1 };
            let differences: Vec<String> = (0..tries)
                .map_while(|_| {
                    let got = answer(&mut through, &sql, extended);
                    let expected = answer(&mut direct, &sql, extended);
                    if let Some(error) = error(&expected) {
                        return Some(format!("a direct session gets {error}"));
                    }
                    let shown = error(&got).unwrap_or_else(|| rows(&got).join("\n        "));
                    let same =
                        comparable(got, columns_alone) == comparable(expected, columns_alone);
                    (!same).then_some(shown)
                })
                .collect();
            if let [.., last] = &*differences
                && differences.len() == tries
            {
                failures.push(format!("{sql}\n    {last}"));
            }
        }
    }
    assert!(count > 50, "{count}");
    assert!(
        failures.is_empty(),
        "{} failures:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// `schema.name` and whether a direct session may read it.
fn system_relations(server: &Postgres) -> Vec<String> {
    server
        .sql(
            "crm",
            "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname IN ('pg_catalog', 'information_schema') AND c.relkind IN ('r', 'v') ORDER BY 1",
        )
        .into_iter()
        .filter_map(|mut row| row.remove(0))
        .collect()
}

/// Of sessions, clocks and counters, which no two reads agree on.
fn moves(relation: &str) -> bool {
    relation.starts_with("pg_catalog.pg_stat")
        || relation.starts_with("pg_catalog.pg_shmem")
        || matches!(
            relation,
            "pg_catalog.pg_locks"
                | "pg_catalog.pg_cursors"
                | "pg_catalog.pg_backend_memory_contexts"
                | "pg_catalog.pg_aios"
                | "pg_catalog.pg_settings"
                | "pg_catalog.pg_attribute"
        )
}

/// A direct session without privileges may be refused: then the one through pgveil is, by the same error, or what it
/// was refused is masked.
fn read_everything(server: &Postgres, pgveil: &Pgveil) -> Vec<String> {
    let (mut through, mut direct) = (agent(pgveil.port()), agent(server.port()));
    let mut failures = Vec::new();
    for relation in system_relations(server) {
        let sql = format!("SELECT * FROM {relation}");
        let (got, expected) = (through.query(&sql), direct.query(&sql));
        let closed = error(&got).is_some_and(|error| error.contains("not readable"));
        let should = CLOSED.contains(&relation.as_str());
        if closed != should {
            failures.push(format!("{relation} closed: {closed}"));
        } else if !closed && error(&got) != error(&expected) && !MASKED.contains(&relation.as_str())
        {
            failures.push(format!(
                "{relation}: {:?}, directly {:?}",
                error(&got),
                error(&expected)
            ));
        } else if !closed && !MASKED.contains(&relation.as_str()) {
            let columns_alone = moves(&relation);
            if comparable(got, columns_alone) != comparable(expected, columns_alone) {
                failures.push(format!("{relation} differs"));
            }
        }
    }
    failures
}

const CLOSED: &[&str] = &[
    "pg_catalog.pg_aios",
    "pg_catalog.pg_backend_memory_contexts",
    "pg_catalog.pg_file_settings",
    "pg_catalog.pg_hba_file_rules",
    "pg_catalog.pg_ident_file_mappings",
    "pg_catalog.pg_largeobject",
    "pg_catalog.pg_statistic",
    "pg_catalog.pg_statistic_ext_data",
];

/// Whose answers differ: a password is left out, and with it what the server would refuse.
const MASKED: &[&str] = &[
    "pg_catalog.pg_subscription",
    "pg_catalog.pg_user_mappings",
    "information_schema.user_mapping_options",
    "information_schema._pg_user_mappings",
];

#[test]
fn every_system_relation_reads_as_without_pgveil_or_is_closed() {
    let (server, pgveil) = start("");
    let failures = read_everything(&server, &pgveil);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn system_relations_are_not_written() {
    let (_server, pgveil) = start("");
    let mut client = agent(pgveil.port());
    for sql in [
        "UPDATE pg_settings SET setting = 'off' WHERE name = 'standard_conforming_strings'",
        "UPDATE pg_catalog.pg_settings SET setting = 'debug5' WHERE name = 'client_min_messages'",
        "DELETE FROM pg_largeobject",
        "INSERT INTO information_schema.sql_parts VALUES ('x')",
    ] {
        let frames = client.query(sql);
        let error = error(&frames).unwrap_or_default();
        assert!(
            error.starts_with("42501 pgveil: relation"),
            "{sql}: {error}"
        );
    }
    assert_eq!(
        rows(&client.query("SHOW standard_conforming_strings")),
        ["on"]
    );
}
