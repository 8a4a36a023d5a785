//! `pgveil check`: what is wrong with the configuration and the policy, and what the policy comes to in each database.
mod server;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use super::approvers;
use super::serve::{catalogs, keys};
use super::{CheckArgs, CliError, EXIT_USAGE, OutputFormat, policies, print};
use crate::catalog::{Catalog, FIRST_NORMAL_OID};
use crate::config::{self, Diagnostics, Settings};
use crate::policy::system::SYSTEM;
use crate::policy::{PolicySet, Regime, RoleRule, Unmatched};

/// Findings go to standard error, as JSON to standard output. Exit code 2 if one of them is an error.
///
/// # Errors
/// The server cannot be reached.
pub async fn run(args: CheckArgs) -> Result<ExitCode, CliError> {
    let settings = match config::load(&args.config) {
        Ok(settings) => settings,
        Err(findings) => return report(&findings, "", args.format),
    };
    let policy = match policies::load(&settings) {
        Ok(policy) => policy,
        Err(CliError::Findings(findings)) => return report(&findings, "", args.format),
        Err(error) => return Err(error),
    };
    keys::check(&settings, &policy)?;
    let mut findings = policy.warnings.clone();
    let mut summary = overview(&policy);
    let accounts = match args.offline {
        true => None,
        false => approvers::accounts(&policy, &settings)
            .await
            .unwrap_or_else(|error| {
                let _ = writeln!(summary, "who may sign was not looked at: {error}");
                None
            }),
    };
    findings.extend(approvers::findings(&policy, &settings, accounts.as_deref()));
    if args.offline {
        findings.extend(policy.review([]));
    } else {
        let catalogs = read_catalogs(&settings).await?;
        let (found, compiled) = against(&policy, &catalogs);
        findings.extend(found);
        findings.extend(server::findings(&policy, &settings, &catalogs).await?);
        summary.push_str(&compiled);
    }
    report(&findings, &summary, args.format)
}

async fn read_catalogs(settings: &Settings) -> Result<Vec<Arc<Catalog>>, CliError> {
    let store = catalogs::store(settings)?;
    let mut read = Vec::new();
    for database in store.databases().await.map_err(CliError::environment)? {
        read.push(store.get(&database).await.map_err(CliError::environment)?);
    }
    Ok(read)
}

/// Holds a policy against the databases it serves: the findings, and a line for each role in each database where it
/// masks something.
pub fn against(policy: &PolicySet, catalogs: &[Arc<Catalog>]) -> (Diagnostics, String) {
    let mut findings = policy.check_catalogs(catalogs.iter().map(AsRef::as_ref));
    if !findings.has_errors() {
        findings.extend(policy.review(catalogs.iter().map(AsRef::as_ref)));
    }
    let mut summary = String::new();
    for catalog in catalogs {
        let (compiled, _) = policy.compile(catalog);
        for rule in &policy.roles {
            let Some(role) = compiled.roles.get(&rule.name).map(|role| role.rules()) else {
                continue;
            };
            if role.protected.is_empty() || !comes_to(policy, rule, &catalog.database) {
                continue;
            }
            if rule.regime() == Regime::Trial {
                let _ = writeln!(
                    summary,
                    "{}: {} is not enforced; if it were:",
                    catalog.database, rule.name
                );
            }
            let (database, name) = (&catalog.database, &rule.name);
            // The built-in ones of system relations are not the policy's.
            let masked: Vec<usize> = role
                .masks
                .values()
                .map(|columns| {
                    let own = columns.values().filter(|mask| &*mask.class != SYSTEM);
                    own.count()
                })
                .filter(|columns| *columns > 0)
                .collect();
            let (columns, relations) = (masked.iter().sum(), masked.len());
            let _ = match (role.unmasked, columns) {
                (true, _) => writeln!(summary, "{database}: {name} sees everything"),
                (false, 0) => writeln!(summary, "{database}: {name} sees no column masked"),
                (false, _) => writeln!(
                    summary,
                    "{database}: {name} sees {} masked in {}",
                    count(columns, "column"),
                    count(relations, "relation")
                ),
            };
            let denied: usize = role.denied.values().map(HashSet::len).sum();
            let ruled = role.rows.keys().filter(|oid| **oid >= FIRST_NORMAL_OID);
            for (number, noun, what) in [
                (ruled.count(), "relation", "under a row rule"),
                (role.closed.len(), "relation", "closed by row rules"),
                (denied, "column", "left out"),
            ] {
                if number > 0 {
                    let _ = writeln!(
                        summary,
                        "{database}: {name} has {} {what}",
                        count(number, noun)
                    );
                }
            }
        }
    }
    (findings, summary)
}

/// Whether a session in that database can have the role.
fn comes_to(policy: &PolicySet, role: &RoleRule, database: &str) -> bool {
    let fallback = matches!(&policy.unmatched, Unmatched::Role(name) if *name == role.name);
    let mut databases = role.who.iter().map(|entry| entry.databases.as_ref());
    fallback || databases.any(|named| named.is_none_or(|named| named.contains(database)))
}

fn overview(policy: &PolicySet) -> String {
    format!(
        "policy {}: {}, {}\n",
        policy.version(),
        count(policy.classes.len(), "class"),
        count(policy.roles.len(), "role")
    )
}

fn count(number: usize, noun: &str) -> String {
    match (number, noun) {
        (1, noun) => format!("1 {noun}"),
        (number, "class") => format!("{number} classes"),
        (number, noun) => format!("{number} {noun}s"),
    }
}

fn report(
    findings: &Diagnostics,
    summary: &str,
    format: OutputFormat,
) -> Result<ExitCode, CliError> {
    match format {
        OutputFormat::Json => print(&findings.to_json_lines())?,
        OutputFormat::Text => {
            for finding in findings.iter() {
                eprintln!("{finding}\n");
            }
            if !findings.has_errors() {
                print(summary)?;
            }
        }
    }
    Ok(match findings.has_errors() {
        true => ExitCode::from(EXIT_USAGE),
        false => ExitCode::SUCCESS,
    })
}
