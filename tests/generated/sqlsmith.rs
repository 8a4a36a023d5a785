//! Statements of sqlsmith (Debian's package `sqlsmith`), which makes them of what the catalog holds and knows nothing of
//! masks: https://github.com/anse1/sqlsmith
use std::process::Command;

use crate::bench::{Bench, RESTRICTED, database};
use crate::statement::{Case, Step};

/// Tables to look at after a write.
const WRITTEN: &[&str] = &["contacts", "deals", "events", "base", "leads"];

/// Functions that a restricted role may call (src/sql/functions.tsv) and that differ from server to server or from moment
/// to moment. Others that do are refused before they could.
const UNSETTLED: &[&str] = &[
    "age",
    "clock_timestamp",
    "gen_random_uuid",
    "inet_client_port",
    "inet_server_port",
    "lastval",
    "localtime",
    "localtimestamp",
    "mxid_age",
    "now",
    "pg_backend_pid",
    "pg_blocking_pids",
    "pg_conf_load_time",
    "pg_control_checkpoint",
    "pg_control_init",
    "pg_control_recovery",
    "pg_control_system",
    "pg_current_snapshot",
    "pg_current_wal_flush_lsn",
    "pg_current_wal_insert_lsn",
    "pg_current_wal_lsn",
    "pg_current_xact_id",
    "pg_current_xact_id_if_assigned",
    "pg_database_size",
    "pg_indexes_size",
    "pg_last_committed_xact",
    "pg_lock_status",
    "pg_my_temp_schema",
    "pg_postmaster_start_time",
    "pg_relation_filenode",
    "pg_relation_filepath",
    "pg_relation_size",
    "pg_stat_get_lastscan",
    "pg_stat_get_numscans",
    "pg_stat_get_snapshot_timestamp",
    "pg_table_size",
    "pg_tablespace_size",
    "pg_total_relation_size",
    "pg_xact_commit_timestamp",
    "pg_xact_status",
    "random",
    "random_normal",
    "statement_timestamp",
    "timeofday",
    "transaction_timestamp",
    "txid_current",
    "txid_current_if_assigned",
    "txid_current_snapshot",
    "txid_status",
    "uuidv4",
    "uuidv7",
];

/// A write to the table whose generated column is a plain one on the copy: only one of them takes values for it.
fn writes_generated(statement: &str) -> bool {
    !statement.starts_with("select")
        && statement
            .split_whitespace()
            .take(5)
            .any(|word| ["numbers", "crm.numbers"].contains(&word))
}

fn is_settled(statement: &str) -> bool {
    let mut words = statement.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    !words.any(|word| UNSETTLED.contains(&word) || word.starts_with("current_time"))
        && !writes_generated(statement)
}

/// What is left of `count` statements by a seed when those are taken out that no two servers answer alike; `None` without
/// sqlsmith.
pub fn statements(bench: &Bench, seed: u64, count: u64) -> Option<Vec<String>> {
    let target = format!(
        "host=127.0.0.1 port={} dbname={} user={RESTRICTED}",
        bench.port(),
        database(0)
    );
    let output = Command::new("sqlsmith")
        .args(["--dry-run", "--exclude-catalog"])
        .arg(format!("--seed={seed}"))
        .arg(format!("--max-queries={count}"))
        .arg(format!("--target={target}"))
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let statements = text.split(";\n").map(|statement| settled(statement.trim()));
    Some(
        statements
            .filter(|statement| !statement.is_empty() && is_settled(statement))
            .collect(),
    )
}

/// With one result whatever the run: samples repeat.
fn settled(statement: &str) -> String {
    let mut text = String::new();
    let mut rest = statement;
    while let Some(at) = rest.find("tablesample ") {
        let end = rest[at..].find(')').map_or(rest.len(), |end| at + end + 1);
        text += &rest[..end];
        text += " repeatable (1)";
        rest = &rest[end..];
    }
    text + rest
}

pub fn case(statement: &str) -> Case {
    let reads = statement.starts_with("select");
    Case {
        steps: vec![Step {
            sql: statement.to_owned(),
            copy_data: None,
            unordered: true,
        }],
        transaction: true,
        written: if reads { Vec::new() } else { WRITTEN.to_vec() },
        exact: reads,
        ..Case::default()
    }
}
