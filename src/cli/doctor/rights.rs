//! What the catalog user and the policy's users may do at the server: too much, or too little.
use std::collections::BTreeSet;

use tokio_postgres::{Client, Error};

use super::finding::{Findings, Level};
use super::users_of;
use crate::catalog::Catalog;
use crate::config::{AuthMethod, Settings};
use crate::policy::PolicySet;

/// Built-in groups that give data or files, and what they give.
const GROUPS: &[(&str, &str)] = &[
    ("pg_read_all_data", "reads every table"),
    ("pg_write_all_data", "writes every table"),
    ("pg_read_server_files", "reads files of the server"),
    ("pg_write_server_files", "writes files of the server"),
    ("pg_execute_server_program", "runs programs on the server"),
];

/// Attributes of a role that pgveil has no use for, by their column in pg_roles.
const ATTRIBUTES: &[(&str, &str)] = &[
    ("rolsuper", "is superuser"),
    ("rolbypassrls", "passes by row-level security"),
    ("rolreplication", "can replicate the whole server"),
    ("rolcreaterole", "can make and change roles"),
];

/// Everything out of the ordinary that a role is and has, in words.
async fn powers(client: &Client, role: &str) -> Result<Option<Vec<&'static str>>, Error> {
    let columns: Vec<&str> = ATTRIBUTES.iter().map(|(column, _)| *column).collect();
    let query = format!(
        "SELECT {} FROM pg_roles WHERE rolname = $1",
        columns.join(", ")
    );
    let Some(row) = client.query_opt(&query, &[&role]).await? else {
        return Ok(None);
    };
    let mut powers = Vec::new();
    for (place, (_, words)) in ATTRIBUTES.iter().enumerate() {
        if row.try_get(place)? {
            powers.push(*words);
        }
    }
    // A superuser is a member of all.
    if !powers.contains(&"is superuser") {
        let names: Vec<&str> = GROUPS.iter().map(|(name, _)| *name).collect();
        let member = client
            .query(
                "SELECT rolname FROM pg_roles WHERE rolname = ANY ($1) AND pg_has_role($2::name, oid, 'MEMBER')",
                &[&names, &role],
            )
            .await?;
        for row in &member {
            let name: String = row.try_get(0)?;
            powers.extend(
                GROUPS
                    .iter()
                    .filter(|(group, _)| *group == name)
                    .map(|(_, gives)| *gives),
            );
        }
    }
    Ok(Some(powers))
}

/// The catalog user, over its own connection.
pub async fn look_at_catalog_user(
    client: &Client,
    settings: &Settings,
    findings: &mut Findings,
) -> Result<(), Error> {
    let name = &settings.upstream.catalog_user.name;
    let powers = powers(client, name).await?.unwrap_or_default();
    if !powers.is_empty() {
        findings.error(
            "catalog_user.powers",
            format!(
                "the catalog user `{name}` {}; it needs to log in and no more",
                powers.join(", ")
            ),
            "make it anew by deploy/sql/catalog-user.sql",
        );
    }
    let superuser = powers.contains(&"is superuser");
    let readable: Option<bool> = client
        .query_one(
            "SELECT has_table_privilege('pg_catalog.pg_authid', 'SELECT')",
            &[],
        )
        .await?
        .try_get(0)?;
    let readable = readable.unwrap_or(false);
    let needed = settings.auth.method == AuthMethod::Scram && settings.auth.users.is_none();
    if needed && !readable {
        findings.error(
            "catalog_user.verifiers",
            format!("`auth: scram` reads verifiers from pg_authid, and `{name}` may not: nobody can log in"),
            format!("GRANT SELECT ON pg_catalog.pg_authid TO {name} (deploy/sql/catalog-user-scram.sql), or name a `users` file"),
        );
    }
    if !needed && readable && !superuser {
        findings.warning(
            "catalog_user.verifiers",
            format!(
                "`{name}` can read verifiers of passwords (pg_authid), which nothing here needs"
            ),
            format!("REVOKE SELECT ON pg_catalog.pg_authid FROM {name}"),
        );
    }
    Ok(())
}

/// Whether the catalog user could read, in one database, what the policy protects.
pub async fn look_at_tables(
    client: &Client,
    policy: &PolicySet,
    catalog: &Catalog,
    findings: &mut Findings,
) -> Result<(), Error> {
    let (compiled, _) = policy.compile(catalog);
    let oids: BTreeSet<u32> = compiled
        .roles
        .values()
        .flat_map(|role| role.protected.iter().copied())
        .collect();
    let oids: Vec<u32> = oids.into_iter().collect();
    let rows = client
        .query(
            "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c \
             JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.oid = ANY ($1) AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
               AND has_schema_privilege(n.oid, 'USAGE') \
               AND (has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT')) \
               AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) \
             ORDER BY 1",
            &[&oids],
        )
        .await?;
    let names = rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<Vec<String>, Error>>()?;
    if let Some(first) = names.first() {
        findings.warning(
            "catalog_user.tables",
            format!(
                "in {} the catalog user can read {} that the policy protects, e.g. {first}",
                catalog.database,
                match names.len() {
                    1 => "a relation".to_owned(),
                    count => format!("{count} relations"),
                }
            ),
            format!("REVOKE SELECT ON {first} FROM it, or from PUBLIC"),
        );
    }
    Ok(())
}

/// Users whom the policy restricts, and whom the server lets do what no proxy can hold.
pub async fn look_at_users(
    client: &Client,
    policy: &PolicySet,
    findings: &mut Findings,
) -> Result<(), Error> {
    for role in &policy.roles {
        for user in users_of(role) {
            let Some(powers) = powers(client, user).await? else {
                findings.note(
                    "users.missing",
                    format!(
                        "role {} names the database user `{user}`, whom the server does not know",
                        role.name
                    ),
                    "mend the name, or take it out",
                );
                continue;
            };
            if role.restricted() && !powers.is_empty() {
                let level = match powers.contains(&"is superuser") {
                    true => Level::Error,
                    false => Level::Warning,
                };
                findings.add(
                    level,
                    "users.powers",
                    format!("`{user}` of the restricted role {} {}", role.name, powers.join(", ")),
                    format!("take that from `{user}` at the server: whoever finds a way past pgveil has it all"),
                );
            }
        }
    }
    Ok(())
}
