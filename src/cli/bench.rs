//! Where statements are planned without a session: a policy, a catalog, and what came of a text.
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use clap::Args;

use super::serve::catalogs;
use super::{CliError, policies};
use crate::catalog::{self, Catalog};
use crate::config::{self, Settings};
use crate::policy::compiled::RolePolicy;
use crate::policy::{self, Asking, Caller, CompiledPolicy, Directory, PolicySet, RoleRule};
use crate::sql::Planner;
use crate::sql::plan::{Plan, Refusal, SessionFacts, StatementPlan, Verdict};

/// PostgreSQL's default; a session's own path may differ.
pub const SEARCH_PATH: &str = "\"$user\", public";
/// The plan cache of one run, in bytes.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// Which policy is looked at, and against which catalog.
#[derive(Debug, Clone, Default, Args)]
pub struct CatalogArgs {
    /// The configuration file [default: pgveil.yaml]
    #[arg(long, short, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The database whose catalog is read from the server
    #[arg(long, short)]
    pub database: Option<String>,
    /// A snapshot by `pgveil catalog dump`, in place of the server's catalog
    #[arg(long, value_name = "FILE", conflicts_with = "database")]
    pub catalog: Option<PathBuf>,
    /// The policy's folder or file [default: what the configuration names]
    #[arg(long, value_name = "PATH")]
    pub policy: Option<PathBuf>,
}

impl CatalogArgs {
    /// # Errors
    /// The configuration is wrong.
    pub fn settings(&self) -> Result<Settings, CliError> {
        let path = self.config.as_deref().unwrap_or(Path::new("pgveil.yaml"));
        Ok(config::load(path)?)
    }

    /// # Errors
    /// The policy, or the configuration that names it, is wrong.
    pub fn policy(&self) -> Result<PolicySet, CliError> {
        match &self.policy {
            Some(path) => Ok(policy::load(path)?),
            None => policies::load(&self.settings()?),
        }
    }

    /// # Errors
    /// The file is no snapshot, or the server cannot be reached.
    pub async fn catalog(&self) -> Result<Arc<Catalog>, CliError> {
        if let Some(file) = &self.catalog {
            return read(file);
        }
        let settings = self.settings()?;
        let served = settings.upstream.databases.as_deref().unwrap_or_default();
        let database = match (&self.database, served) {
            (Some(database), _) => database,
            (None, [only]) => only,
            (None, _) => {
                return Err(CliError::Configuration(
                    "name the database with `--database`, or a snapshot of its catalog with `--catalog`"
                        .to_owned(),
                ));
            }
        };
        let store = catalogs::store(&settings)?;
        store.get(database).await.map_err(CliError::environment)
    }
}

/// # Errors
/// The file is no snapshot.
pub fn read(file: &Path) -> Result<Arc<Catalog>, CliError> {
    catalog::file::read(file)
        .map(Arc::new)
        .map_err(CliError::configuration)
}

/// Plans texts under one policy for one database.
pub struct Bench {
    pub policy: PolicySet,
    pub catalog: Arc<Catalog>,
    compiled: CompiledPolicy,
    planner: Planner,
}

impl Bench {
    /// # Errors
    /// The policy does not fit the catalog.
    pub fn new(policy: PolicySet, catalog: Arc<Catalog>) -> Result<Self, CliError> {
        let (compiled, findings) = policy.compile(&catalog);
        if findings.has_errors() {
            return Err(CliError::Findings(findings));
        }
        Ok(Bench {
            policy,
            catalog,
            compiled,
            planner: Planner::new(CACHE_BYTES, 1).map_err(CliError::environment)?,
        })
    }

    /// The rules of a role, in force or not, for a purpose that is said and for who comes from there; from nowhere is
    /// outside of all regions.
    ///
    /// # Errors
    /// The policy has no such role.
    pub fn role(
        &self,
        name: &str,
        purpose: Option<&str>,
        address: Option<IpAddr>,
    ) -> Result<&Arc<RolePolicy>, CliError> {
        self.find(name, purpose, address).ok_or_else(|| {
            let mut known: Vec<&str> = self.compiled.roles.keys().map(|name| &**name).collect();
            known.sort_unstable();
            CliError::Configuration(format!(
                "no role `{name}` in the policy; it has {}",
                known.join(", ")
            ))
        })
    }

    /// A purpose that is said counts for nothing where the role has one of its own.
    pub fn find(
        &self,
        name: &str,
        purpose: Option<&str>,
        address: Option<IpAddr>,
    ) -> Option<&Arc<RolePolicy>> {
        let outside = self.policy.masked_outside(address);
        let role = self.compiled.role(name, purpose, outside);
        role.map(|role| role.rules())
    }

    /// The role that the policy gives somebody now.
    ///
    /// # Errors
    /// It depends on the directory, which is not read here, or on groups of a token, which are not known.
    pub fn matched(
        &self,
        caller: &Caller,
        app_user: Option<&str>,
    ) -> Result<Option<&RoleRule>, CliError> {
        let now = SystemTime::now();
        let asking = Asking {
            caller,
            app_user,
            now,
        };
        let found = self.policy.match_role(asking, &self.directory());
        found.map_err(|_| {
            CliError::Configuration(
                "the role depends on the policy's `directory`, which only `pgveil serve` reads, or on the groups of a \
                 token; name the role, or for a token its `groups`"
                    .to_owned(),
            )
        })
    }

    /// As long as nothing has been read.
    fn directory(&self) -> Directory {
        Directory::now(self.policy.directory.as_ref(), None)
    }

    /// What a session of these users knows about itself.
    pub fn facts(
        &self,
        db_user: &str,
        app_user: &str,
        address: Option<IpAddr>,
        search_path: Option<&str>,
    ) -> SessionFacts {
        let directory = self.directory();
        let values = self
            .policy
            .session_values(db_user, app_user, None, &directory, address);
        SessionFacts {
            values: Arc::new(values),
            search_path: search_path.unwrap_or(SEARCH_PATH).to_owned(),
            user: db_user.to_owned(),
            // Those of a text on record stand where literals stood, or where nobody said of what type they are.
            parameters: Some(Vec::new()),
            ..SessionFacts::default()
        }
    }

    pub async fn plan(
        &self,
        role: &Arc<RolePolicy>,
        facts: &Arc<SessionFacts>,
        text: &str,
    ) -> Arc<Plan> {
        self.planner
            .plan(text.into(), &self.catalog, role, Arc::clone(facts))
            .await
    }
}

/// The first statement of a text that is refused, and why.
pub fn refusal(plan: &Plan) -> Option<&Refusal> {
    plan.statements.iter().find_map(|plan| match &plan.verdict {
        Verdict::Refuse(refusal) => Some(refusal),
        Verdict::Pass | Verdict::Rewrite => None,
    })
}

/// `pass`, `rewrite` or `refuse`.
pub fn verdict(plan: &Plan) -> &'static str {
    match (refusal(plan), &plan.text) {
        (Some(_), _) => "refuse",
        (None, Some(_)) => "rewrite",
        (None, None) => "pass",
    }
}

/// What a list of all statements of a text names, each once.
pub fn gathered<'a>(
    plan: &'a Plan,
    list: impl Fn(&'a StatementPlan) -> &'a [String],
) -> Vec<&'a str> {
    let mut all: Vec<&str> = Vec::new();
    for name in plan.statements.iter().flat_map(list) {
        if !all.contains(&name.as_str()) {
            all.push(name);
        }
    }
    all
}
