//! `pgveil doctor`: whether the database can be reached through pgveil alone, and whether the installation is fit.
mod certificates;
mod direct;
mod files;
mod finding;
mod hba;
mod rights;
mod server;
mod settings;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio_postgres::Client;

use self::finding::{Findings, Level};
use self::server::Facts;
use super::serve::{catalogs, gate};
use super::{CliError, EXIT_FAILED, OutputFormat, policies, print, told};
use crate::catalog::load;
use crate::config::{self, Settings};
use crate::policy::{PolicySet, RoleRule};

/// Look for ways around pgveil, and for what will not last
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  \
    pgveil doctor --config pgveil.yaml                       the installation and the server\n  \
    pgveil doctor --config pgveil.yaml --format json         one object per finding, for monitoring\n  \
    pgveil doctor --config pgveil.yaml --hba                 lines for the server's pg_hba.conf\n  \
    pgveil doctor --direct db.example.com:5432 --user crm_agent --database crm\n  \
    \x20                                                        on a client's machine: is there a way past pgveil?\n\n\
    Run it as the user that pgveil runs as. Each finding says what to do. Exit code 0: no finding is an error (with --strict: nor\n\
    a warning), 1: there are some, or the server could not be looked at.")]
pub struct DoctorArgs {
    /// The configuration file
    #[arg(long, short, value_name = "FILE", default_value = "pgveil.yaml")]
    pub config: PathBuf,
    /// Only try whether this machine reaches PostgreSQL at this address; no configuration is read
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "hba")]
    pub direct: Vec<String>,
    /// With --direct: the user whose login is begun
    #[arg(
        long,
        value_name = "NAME",
        default_value = "pgveil_doctor",
        requires = "direct"
    )]
    pub user: String,
    /// With --direct: the database
    #[arg(
        long,
        value_name = "NAME",
        default_value = "postgres",
        requires = "direct"
    )]
    pub database: String,
    /// Print lines for pg_hba.conf that let the policy's users in from pgveil alone, and end
    #[arg(long)]
    pub hba: bool,
    /// With --hba: pgveil's address as the server sees it [default: that of a connection]
    #[arg(long, value_name = "ADDRESS", requires = "hba")]
    pub from: Option<IpAddr>,
    /// Warnings count as errors
    #[arg(long)]
    pub strict: bool,
    /// How findings are printed; json gives one object per line
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub format: OutputFormat,
}

/// # Errors
/// The configuration or the policy is wrong; with `--hba`: the server cannot be reached.
pub async fn run(args: DoctorArgs) -> Result<ExitCode, CliError> {
    let mut findings = Findings::default();
    if !args.direct.is_empty() {
        for target in &args.direct {
            direct::probe(target, &args.user, &args.database, &mut findings).await;
        }
        return report(&findings, &args);
    }
    let settings = config::load(&args.config)?;
    let policy = policies::load(&settings)?;
    if args.hba {
        return suggest(&settings, &policy, args.from).await;
    }
    settings::look(&settings, &mut findings);
    files::look(&settings, &mut findings);
    certificates::look(&settings, &mut findings);
    let upstream = gate::upstream(&settings)?;
    certificates::look_at_servers(&upstream, settings.limits.connect_timeout, &mut findings).await;
    look_at_server(&settings, &policy, &mut findings).await?;
    report(&findings, &args)
}

async fn look_at_server(
    settings: &Settings,
    policy: &PolicySet,
    findings: &mut Findings,
) -> Result<(), CliError> {
    let connection = catalogs::connection(settings)?;
    let databases = match catalogs::store(settings)?.databases().await {
        Ok(databases) => databases,
        Err(error) => {
            out_of_reach(&error, findings);
            return Ok(());
        }
    };
    let mut looked = false;
    for database in &databases {
        let client = match connection.connect(database).await {
            Ok(client) => client,
            Err(error) => {
                out_of_reach(&error, findings);
                continue;
            }
        };
        let read = async {
            if !looked {
                server(&client, settings, policy, &databases, findings).await?;
                looked = true;
            }
            let catalog = load(&client).await.map_err(|error| error.to_string())?;
            rights::look_at_tables(&client, policy, &catalog, findings)
                .await
                .map_err(|error| told(&error))
        };
        if let Err(error) = read.await {
            findings.error(
                "server.unreadable",
                format!("{database} could not be looked at: {error}"),
                "the catalog user needs what every user has: USAGE of pg_catalog and CONNECT (deploy/sql/catalog-user.sql)",
            );
        }
    }
    Ok(())
}

async fn server(
    client: &Client,
    settings: &Settings,
    policy: &PolicySet,
    databases: &[String],
    findings: &mut Findings,
) -> Result<(), String> {
    let failed = |error: tokio_postgres::Error| told(&error);
    let facts = Facts::read(client).await.map_err(failed)?;
    server::look(&facts, settings, findings);
    if let (Some(rules), Some(own)) = (&facts.hba, facts.own) {
        hba::look(rules, own, &users(policy), databases, findings);
    }
    let looked = rights::look_at_catalog_user(client, settings, findings).await;
    looked.map_err(failed)?;
    let looked = rights::look_at_users(client, policy, findings).await;
    looked.map_err(failed)
}

fn out_of_reach(error: &impl ToString, findings: &mut Findings) {
    findings.error(
        "server.unreachable",
        error.to_string(),
        "is it up, does pg_hba.conf let the catalog user in from here, is its password right, has it CONNECT? (deploy/sql/catalog-user.sql)",
    );
}

/// Database users who come as somebody whom the policy names, those that applications share included.
fn users(policy: &PolicySet) -> BTreeSet<String> {
    let named = policy.roles.iter().flat_map(users_of);
    named.chain(policy.applications.keys()).cloned().collect()
}

/// Database users that a role names.
fn users_of(role: &RoleRule) -> BTreeSet<&String> {
    let named = role.who.iter().filter_map(|who| who.db_users.as_ref());
    named.flatten().collect()
}

async fn suggest(
    settings: &Settings,
    policy: &PolicySet,
    from: Option<IpAddr>,
) -> Result<ExitCode, CliError> {
    let own = match from {
        Some(address) => address,
        None => own_address(settings).await?,
    };
    let tls = !matches!(
        settings.upstream.tls,
        config::SslMode::Disable | config::SslMode::Allow | config::SslMode::Prefer
    );
    let databases = settings.upstream.databases.as_deref().unwrap_or_default();
    let catalog_user = &settings.upstream.catalog_user.name;
    print(&hba::suggestion(
        own,
        tls,
        catalog_user,
        &users(policy),
        databases,
    ))?;
    Ok(ExitCode::SUCCESS)
}

async fn own_address(settings: &Settings) -> Result<IpAddr, CliError> {
    let databases = catalogs::store(settings)?.databases().await;
    let databases = databases.map_err(CliError::environment)?;
    let database = databases.first().map_or("postgres", String::as_str);
    let client = catalogs::connection(settings)?.connect(database).await;
    let client = client.map_err(CliError::environment)?;
    let facts = Facts::read(&client).await.map_err(CliError::environment)?;
    facts.own.ok_or_else(|| {
        CliError::Configuration(
            "the server sees no address of pgveil: give it by --from".to_owned(),
        )
    })
}

fn report(findings: &Findings, args: &DoctorArgs) -> Result<ExitCode, CliError> {
    print(&match args.format {
        OutputFormat::Text => findings.text(),
        OutputFormat::Json => findings.json(),
    })?;
    let bad = findings.count(Level::Error) > 0 || args.strict && findings.count(Level::Warning) > 0;
    Ok(match bad {
        true => ExitCode::from(EXIT_FAILED),
        false => ExitCode::SUCCESS,
    })
}
