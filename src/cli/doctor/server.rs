//! The server: version, settings, clock, pg_hba.conf, as the catalog user sees them.
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::SystemTime;

use tokio_postgres::{Client, Error};

use super::finding::{Findings, Level};
use super::hba::Rule;
use crate::config::{Settings, is_loopback};

/// Versions that the tests run on.
const OLDEST: i32 = 13;
const NEWEST: i32 = 18;
/// Seconds of difference between the clocks. Budgets of proxies that share a state are exact below two minutes.
const SKEW: f64 = 2.0;
const BAD_SKEW: f64 = 60.0;

/// What is asked of the server at large.
#[derive(Debug, Default)]
pub struct Facts {
    pub version_num: i32,
    pub settings: HashMap<String, String>,
    /// Whether pgveil's own connection is encrypted.
    pub encrypted: bool,
    /// pgveil's address as the server sees it; absent over a socket.
    pub own: Option<IpAddr>,
    /// Server's clock less this machine's, in seconds.
    pub skew: f64,
    /// `None`: the catalog user may not see it.
    pub hba: Option<Vec<Rule>>,
}

impl Facts {
    pub async fn read(client: &Client) -> Result<Self, Error> {
        let before = SystemTime::now();
        let row = client
            .query_one(
                "SELECT current_setting('server_version_num')::int, \
                        extract(epoch FROM clock_timestamp())::float8, inet_client_addr()::text, \
                        coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false)",
                &[],
            )
            .await?;
        let seconds = |time: SystemTime| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH);
            since.unwrap_or_default().as_secs_f64()
        };
        let middle = f64::midpoint(seconds(before), seconds(SystemTime::now()));
        let address: Option<String> = row.try_get(2)?;
        let settings = client
            .query("SELECT name, setting FROM pg_settings", &[])
            .await?;
        let settings = settings
            .iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect::<Result<_, Error>>()?;
        Ok(Facts {
            version_num: row.try_get(0)?,
            settings,
            encrypted: row.try_get(3)?,
            own: address.and_then(|text| text.split('/').next()?.parse().ok()),
            skew: row.try_get::<_, f64>(1)? - middle,
            hba: rules(client).await?,
        })
    }

    fn setting(&self, name: &str) -> &str {
        self.settings.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> i64 {
        self.setting(name).parse().unwrap_or(0)
    }
}

async fn rules(client: &Client) -> Result<Option<Vec<Rule>>, Error> {
    let readable: bool = client
        .query_one(
            "SELECT has_table_privilege('pg_hba_file_rules', 'SELECT') \
                AND has_function_privilege('pg_hba_file_rules()', 'EXECUTE')",
            &[],
        )
        .await?
        .try_get(0)?;
    if !readable {
        return Ok(None);
    }
    let rows = client
        .query(
            "SELECT line_number, type, database, user_name, address, netmask, auth_method, error \
             FROM pg_hba_file_rules ORDER BY line_number",
            &[],
        )
        .await?;
    let rule = |row: &tokio_postgres::Row| {
        Ok(Rule {
            line: row.try_get(0)?,
            kind: row.try_get::<_, Option<String>>(1)?.unwrap_or_default(),
            databases: row.try_get::<_, Option<_>>(2)?.unwrap_or_default(),
            users: row.try_get::<_, Option<_>>(3)?.unwrap_or_default(),
            address: row.try_get(4)?,
            netmask: row.try_get(5)?,
            method: row.try_get::<_, Option<_>>(6)?.unwrap_or_default(),
            error: row.try_get(7)?,
        })
    };
    rows.iter()
        .map(rule)
        .collect::<Result<_, Error>>()
        .map(Some)
}

pub fn look(facts: &Facts, settings: &Settings, findings: &mut Findings) {
    version(facts.version_num, findings);
    clock(facts.skew, findings);
    encryption(facts, settings, findings);
    log(facts, findings);
    let sessions = i64::try_from(settings.limits.max_sessions).unwrap_or(i64::MAX);
    let room = facts.number("max_connections") - facts.number("superuser_reserved_connections");
    if room < sessions {
        findings.warning(
            "server.max_connections",
            format!("the server has room for {room} sessions, pgveil lets {sessions} come (limits.max_sessions)"),
            "raise max_connections, or lower limits.max_sessions so that clients are told by pgveil",
        );
    }
    if facts.setting("row_security") == "off" {
        findings.warning(
            "server.row_security",
            "row_security is off: statements over tables with row-level security end in errors",
            "ALTER SYSTEM RESET row_security",
        );
    }
    if facts.hba.is_none() {
        findings.note(
            "hba.unseen",
            "pg_hba.conf was not looked at: the catalog user may not see it",
            "GRANT SELECT ON pg_hba_file_rules TO the catalog user; GRANT EXECUTE ON FUNCTION pg_hba_file_rules() likewise; or probe from a client's machine: pgveil doctor --direct HOST:PORT",
        );
    }
}

fn version(number: i32, findings: &mut Findings) {
    match number / 10_000 {
        major if major < OLDEST => findings.error(
            "server.version",
            format!("PostgreSQL {major} is older than pgveil knows ({OLDEST} to {NEWEST})"),
            format!("upgrade the server to {OLDEST} at least"),
        ),
        major if major > NEWEST => findings.warning(
            "server.version",
            format!("PostgreSQL {major} is newer than pgveil was tested with ({OLDEST} to {NEWEST}); what it does not know it refuses"),
            "look for a newer pgveil",
        ),
        _ => {}
    }
}

fn clock(skew: f64, findings: &mut Findings) {
    let level = match skew.abs() {
        skew if skew > BAD_SKEW => Level::Error,
        skew if skew > SKEW => Level::Warning,
        _ => return,
    };
    findings.add(
        level,
        "server.clock",
        format!("the server's clock is {skew:+.1} s from this machine's"),
        "synchronise both (chrony, systemd-timesyncd): records, grants and budgets go by the clock",
    );
}

fn encryption(facts: &Facts, settings: &Settings, findings: &mut Findings) {
    let hosts = settings.upstream.hosts.iter();
    let far = hosts.map(|host| &host.name).any(|name| !is_loopback(name));
    if facts.setting("ssl") == "off" {
        findings.add(
            if far { Level::Error } else { Level::Note },
            "server.ssl",
            "the server has no TLS (ssl = off)",
            "give it a certificate and set ssl = on, then upstream.tls: verify-full",
        );
    } else if far && !facts.encrypted {
        findings.error(
            "server.ssl",
            "the server has TLS, and pgveil's connection does not use it",
            "set upstream.tls: verify-full",
        );
    }
    if ["TLSv1", "TLSv1.1"].contains(&facts.setting("ssl_min_protocol_version")) {
        findings.warning(
            "server.ssl_min_protocol_version",
            format!(
                "the server takes {} from clients",
                facts.setting("ssl_min_protocol_version")
            ),
            "ALTER SYSTEM SET ssl_min_protocol_version = 'TLSv1.2'",
        );
    }
    if facts.setting("password_encryption") != "scram-sha-256" {
        findings.warning(
            "server.password_encryption",
            format!("new passwords are stored as {}", facts.setting("password_encryption")),
            "ALTER SYSTEM SET password_encryption = 'scram-sha-256', and have passwords set anew; auth: scram needs it",
        );
    }
}

/// What the server writes of statements into its own log: clients' literals, and the texts that pgveil runs in their place.
fn log(facts: &Facts, findings: &mut Findings) {
    let mut written = Vec::new();
    if ["all", "mod"].contains(&facts.setting("log_statement")) {
        written.push(format!(
            "log_statement = {}",
            facts.setting("log_statement")
        ));
    }
    for name in [
        "log_min_duration_statement",
        "log_min_duration_sample",
        "auto_explain.log_min_duration",
    ] {
        if facts.settings.contains_key(name) && facts.number(name) >= 0 {
            written.push(format!("{name} = {} ms", facts.number(name)));
        }
    }
    if facts
        .setting("log_transaction_sample_rate")
        .parse::<f64>()
        .unwrap_or(0.0)
        > 0.0
    {
        written.push("log_transaction_sample_rate".to_owned());
    }
    let with_parameters = !written.is_empty();
    for name in [
        "debug_print_parse",
        "debug_print_rewritten",
        "debug_print_plan",
    ] {
        if facts.setting(name) == "on" {
            written.push(format!("{name} = on"));
        }
    }
    if !written.is_empty() {
        findings.warning(
            "server.log",
            format!(
                "the server writes statements into its own log, with their literals and as pgveil rewrote them: {}",
                written.join(", ")
            ),
            "turn these off (pgveil's record has the statements without literals), or treat that log as the data itself",
        );
    }
    if facts.number("log_parameter_max_length") != 0 && with_parameters
        || facts.number("log_parameter_max_length_on_error") != 0
    {
        findings.warning(
            "server.log_parameters",
            "the server writes the values of parameters into its own log",
            "ALTER SYSTEM SET log_parameter_max_length = 0; ALTER SYSTEM SET log_parameter_max_length_on_error = 0",
        );
    }
    if !["log", "fatal", "panic"].contains(&facts.setting("log_min_error_statement")) {
        findings.note(
            "server.log_min_error_statement",
            "statements that end in an error stand in the server's log with their literals (its default)",
            "ALTER SYSTEM SET log_min_error_statement = 'panic', if nobody needs them",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_that_were_not_tested_are_told() {
        for (number, level) in [
            (120_022, Some(Level::Error)),
            (130_000, None),
            (180_004, None),
            (190_000, Some(Level::Warning)),
        ] {
            let mut findings = Findings::default();
            version(number, &mut findings);
            for looked in [Level::Error, Level::Warning] {
                assert_eq!(
                    findings.count(looked),
                    usize::from(level == Some(looked)),
                    "{number}"
                );
            }
        }
    }

    #[test]
    fn clocks_may_differ_by_two_seconds() {
        for (skew, level) in [
            (1.5, None),
            (-3.0, Some(Level::Warning)),
            (75.0, Some(Level::Error)),
        ] {
            let mut findings = Findings::default();
            clock(skew, &mut findings);
            for looked in [Level::Error, Level::Warning] {
                assert_eq!(
                    findings.count(looked),
                    usize::from(level == Some(looked)),
                    "{skew}"
                );
            }
        }
    }
}
