//! What all sessions of the process share, and the seam between it and one session.
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use arc_swap::{ArcSwap, ArcSwapOption};
use dashmap::DashMap;
use foldhash::fast::RandomState;
use tokio::sync::watch;

use crate::admin::Metrics;
use crate::audit::sealed::Recipient;
use crate::audit::{Event, Record, Spool, SpoolError};
use crate::catalog::{Catalog, CatalogStore};
use crate::config::Settings;
use crate::export::{Desk, LimitKind};
use crate::policy::directory::Reading;
use crate::policy::who::Application;
use crate::policy::{
    CompiledPolicy, Directory, ExportRule, Memory, PolicySet, Regime, RolePolicy, RoleRule,
};
use crate::session::assignment::{Assignment, Basis};
use crate::session::claim::{Naming, Verifier};
use crate::session::drain::Leaving;
use crate::session::host::{Limits, Unavailable};
use crate::session::login::{LoggedIn, LoginFacts};
use crate::session::record;
use crate::session::relay::{Opening, SessionEnd, relay};
use crate::session::session_host::SessionHost;
use crate::session::shared::Encodings;
use crate::sql::Planner;

/// The share of `limits.drain_timeout` that is kept for last words: one in so many.
const LAST_WORDS: u32 = 10;

/// A role of the policy in force, against a database's catalog as it is.
pub struct InForce {
    pub policy: Arc<PolicySet>,
    pub catalog: Arc<Catalog>,
    pub role: Arc<RolePolicy>,
}

/// The policy in force, against a database's catalog as it is.
pub struct Ground {
    pub catalog: Arc<Catalog>,
    compiled: Arc<Compiled>,
}

impl Ground {
    pub fn policy(&self) -> &Arc<PolicySet> {
        &self.compiled.policy
    }

    /// # Errors
    /// The policy in force has no such role.
    pub fn role(
        &self,
        name: &str,
        purpose: Option<&str>,
        outside: u32,
    ) -> Result<Arc<RolePolicy>, Unavailable> {
        self.compiled
            .roles
            .role(name, purpose, outside)
            .cloned()
            .ok_or_else(|| {
                Unavailable::Schema(format!("the policy in force has no role `{name}` any more"))
            })
    }
}

/// A policy compiled for one database.
struct Compiled {
    policy: Arc<PolicySet>,
    catalog: u64,
    roles: CompiledPolicy,
    /// What the policy has matched in the database so far.
    memory: Memory,
    drift: BTreeSet<String>,
}

/// Everything that sessions share.
pub struct Proxy {
    /// In force; sessions look at them when they begin, or each time.
    pub settings: ArcSwap<Settings>,
    pub policy: ArcSwap<PolicySet>,
    /// What the policy's directory said of people last.
    pub directory: ArcSwapOption<Reading>,
    /// Told after another policy came into force.
    changes: watch::Sender<()>,
    pub catalogs: Arc<CatalogStore>,
    pub planner: Planner,
    pub spool: Arc<Spool>,
    pub metrics: Arc<Metrics>,
    pub desk: Arc<Desk>,
    /// Who may read what roles with `audit: { text: full }` send.
    pub recipient: Option<Recipient>,
    /// By database, for the policy and the catalog last seen.
    compiled: DashMap<String, Arc<Compiled>, RandomState>,
}

impl Proxy {
    pub fn new(
        settings: Arc<Settings>,
        policy: Arc<PolicySet>,
        catalogs: Arc<CatalogStore>,
        planner: Planner,
        spool: Arc<Spool>,
        metrics: Arc<Metrics>,
        desk: Arc<Desk>,
    ) -> Self {
        Proxy {
            settings: ArcSwap::new(settings),
            policy: ArcSwap::new(policy),
            directory: ArcSwapOption::empty(),
            changes: watch::Sender::new(()),
            catalogs,
            planner,
            spool,
            metrics,
            desk,
            recipient: None,
            compiled: DashMap::default(),
        }
    }

    /// Seals full texts to that recipient.
    pub fn sealing_to(self, recipient: Option<Recipient>) -> Self {
        Proxy { recipient, ..self }
    }

    /// Brings another policy into force: each session's next statement is decided under it. Sessions whose user has
    /// another role by it end.
    pub fn take_policy(&self, policy: Arc<PolicySet>) {
        let version = policy.version().to_owned();
        show_policy(&self.metrics, &policy);
        self.policy.store(policy);
        self.planner.forget();
        self.desk.policy_changed(&version);
        self.changes.send_replace(());
    }

    /// Learns of each policy that comes into force from now on.
    pub fn policy_changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// A role of the policy in force, against the database's catalog as it is now.
    ///
    /// # Errors
    /// The catalog cannot be read, or the policy in force has no such role.
    pub async fn in_force(
        &self,
        database: &str,
        role: &str,
        address: IpAddr,
    ) -> Result<InForce, Unavailable> {
        let ground = self.ground(database).await?;
        let outside = ground.policy().masked_outside(Some(address));
        let role = ground.role(role, None, outside)?;
        Ok(InForce {
            policy: Arc::clone(ground.policy()),
            catalog: ground.catalog,
            role,
        })
    }

    /// # Errors
    /// The catalog cannot be read.
    pub async fn ground(&self, database: &str) -> Result<Ground, Unavailable> {
        let catalog = self
            .catalogs
            .get(database)
            .await
            .map_err(|error| Unavailable::Schema(error.to_string()))?;
        let compiled = self.compiled(database, &catalog);
        Ok(Ground { catalog, compiled })
    }

    /// What who somebody is depends on, as it is now.
    pub fn basis(&self) -> Basis {
        self.basis_of(self.policy.load_full())
    }

    /// [`Proxy::basis`] under that policy.
    pub fn basis_of(&self, policy: Arc<PolicySet>) -> Basis {
        let reading = self.directory.load();
        Basis {
            directory: Directory::now(policy.directory.as_ref(), reading.as_deref()),
            policy,
            now: SystemTime::now(),
        }
    }

    fn compiled(&self, database: &str, catalog: &Catalog) -> Arc<Compiled> {
        let policy = self.policy.load_full();
        if let Some(known) = self.compiled.get(database)
            && known.catalog == catalog.version
            && (Arc::ptr_eq(&known.policy, &policy) || known.policy.version() == policy.version())
        {
            return Arc::clone(&known);
        }
        let before = self.compiled.get(database).map(|known| Arc::clone(&known));
        let nothing = Memory::default();
        let memory = before.as_ref().map_or(&nothing, |known| &known.memory);
        let recompiled = policy.compile_again(catalog, memory);
        if !recompiled.findings.is_empty() {
            tracing::info!(
                database,
                "the policy against the schema:\n{}",
                recompiled.findings
            );
        }
        self.drifted(
            database,
            before.as_ref().map(|known| &known.drift),
            &recompiled.drift,
            policy.version(),
        );
        let compiled = Arc::new(Compiled {
            policy,
            catalog: catalog.version,
            roles: recompiled.compiled,
            memory: recompiled.memory,
            drift: recompiled.drift,
        });
        self.compiled
            .insert(database.to_owned(), Arc::clone(&compiled));
        compiled
    }

    /// Tells that the policy fits a database less, or better, than before.
    fn drifted(
        &self,
        database: &str,
        before: Option<&BTreeSet<String>>,
        now: &BTreeSet<String>,
        version: &str,
    ) {
        self.metrics.policy_drift(database, now.len());
        if before.map_or(now.is_empty(), |before| before == now) {
            return;
        }
        let told = match now.is_empty() {
            true => "the policy fits again".to_owned(),
            false => now.iter().cloned().collect::<Vec<_>>().join("; "),
        };
        match now.is_empty() {
            true => tracing::info!(database, "{told}"),
            false => tracing::warn!(
                database,
                "the policy does not fit the schema any more, mend it: {told}"
            ),
        }
        let record = Record {
            database: Some(database.into()),
            policy_version: Some(version.into()),
            message: Some(told),
            ..Record::new(Event::Drift, SystemTime::now())
        };
        if let Err(error) = append(&self.spool, &self.metrics, &record) {
            tracing::error!(%error, "the record of a policy's drift is dropped");
        }
    }

    /// Compiles the policy in force for a database, so that what it matches there is known from now on.
    pub fn learn(&self, catalog: &Catalog) {
        self.compiled(&catalog.database, catalog);
    }

    pub(super) fn count(&self, role: &str, record: &Record, protected: bool) {
        match record.event {
            Event::Violation => self.metrics.violation(),
            Event::ExportStop => {
                let reason = record.reason.as_deref().unwrap_or_default();
                self.metrics.export_stop(role, reason);
            }
            Event::Refusal => {
                let reason = record.reason.as_deref().unwrap_or_default();
                self.metrics.refusal(role, reason);
            }
            _ => {}
        }
        if let Some(would) = &record.would {
            let reason = would.reason.as_deref().unwrap_or_default();
            self.metrics
                .not_enforced(role, would.verdict.label(), reason);
        }
        let (Some(kind), Some(verdict)) = (&record.kind, record.verdict) else {
            return;
        };
        let duration = record.duration.unwrap_or_default();
        self.metrics
            .statement(role, kind, verdict.label(), duration);
        self.metrics.lookups(role, record.lookups.len());
        // Rows that the statement wrote have no bytes.
        if record.bytes.is_some_and(|bytes| bytes > 0) {
            self.metrics.rows(role, protected, record.rows.unwrap_or(0));
        }
    }
}

/// Shows a policy as the one in force.
pub fn show_policy(metrics: &Metrics, policy: &PolicySet) {
    metrics.policy(policy.version());
    let roles = policy.roles.iter().map(|role| &*role.name);
    metrics.roles(roles, &LimitKind::ALL.map(LimitKind::label));
}

/// Appends a record to the spool and counts it, whoever writes it.
///
/// # Errors
/// The spool cannot be written.
pub fn append(spool: &Spool, metrics: &Metrics, record: &Record) -> Result<(), SpoolError> {
    counted(metrics, record, || spool.append(record)).map(drop)
}

/// Counts a record that is appended and written.
pub(super) fn counted<T>(
    metrics: &Metrics,
    record: &Record,
    append: impl FnOnce() -> Result<T, SpoolError>,
) -> Result<T, SpoolError> {
    let began = Instant::now();
    let appended = append();
    match &appended {
        Ok(_) => {
            metrics.audit_record(record.event, began.elapsed());
            metrics.recent.note(record);
        }
        Err(_) => metrics.audit_failure(),
    }
    appended
}

/// Runs a session that has logged in to its end. `draining` says when pgveil is to end.
///
/// Not cancel safe: dropping the future closes both connections, and the logout goes without a record.
pub async fn run(
    login: Box<LoggedIn>,
    proxy: Arc<Proxy>,
    draining: watch::Receiver<Leaving>,
) -> SessionEnd {
    let LoggedIn {
        client,
        server,
        client_bytes,
        pending,
        facts,
        cancel,
    } = *login;
    let basis = proxy.basis();
    let policy = Arc::clone(&basis.policy);
    // The role was matched at login; what the policy does not know any more is restricted, and so is whatever people share.
    let known = facts.role.as_deref().and_then(|role| policy.role(role));
    let application = policy.application(&facts.db_user).cloned();
    let regime = match application {
        Some(_) => Regime::Enforced,
        None => known.map_or(Regime::Enforced, RoleRule::regime),
    };
    let restricted = regime == Regime::Enforced;
    if regime != Regime::Unmasked {
        let catalogs = &proxy.catalogs;
        catalogs.meet(&facts.database, facts.server_addr).await;
    }
    // On the heap, as is all that an idle session does not need.
    let assignment = Assignment::new(&facts, regime, basis);
    let opening = Box::new(Opening {
        restricted,
        trial: regime == Regime::Trial,
        role: opening_role(&proxy, &facts, regime).await,
        user: facts.db_user.clone(),
        values: assignment.values(),
        naming: Arc::new(naming(&proxy, &facts, application)),
        encodings: Encodings {
            client: facts.client_encoding.clone(),
            server: facts
                .parameter("server_encoding")
                .unwrap_or_default()
                .to_owned(),
        },
        strings_conform: facts.parameter("standard_conforming_strings") != Some("off"),
        template: Record {
            enforced: (regime == Regime::Trial).then_some(false),
            ..template(&facts, policy.bearer(&facts.caller), policy.version())
        },
        client_bytes,
        pending,
        limits: limits(&proxy.settings.load()),
    });
    let host = SessionHost {
        proxy,
        database: facts.database.clone(),
        rereading: Arc::default(),
        cancel: Arc::new(cancel),
        assignment,
        unsettled: Default::default(),
    };
    drop((facts, policy));
    relay(Arc::new(host), opening, client, server, draining).await
}

/// The role as it stands; where it cannot be known yet, one under which nothing is let through.
async fn opening_role(proxy: &Proxy, facts: &LoginFacts, regime: Regime) -> Arc<RolePolicy> {
    let restricted = regime == Regime::Enforced;
    let nothing = || {
        Arc::new(RolePolicy {
            name: facts.role.clone().unwrap_or_default(),
            unmasked: !restricted,
            export: Arc::new(ExportRule {
                rows: restricted.then_some(0),
                ..ExportRule::default()
            }),
            ..RolePolicy::default()
        })
    };
    if regime == Regime::Unmasked {
        return nothing();
    }
    let Some(role) = &facts.role else {
        return nothing();
    };
    let address = facts.caller.address;
    match proxy.in_force(&facts.database, role, address).await {
        Ok(found) => found.role,
        Err(error) => {
            tracing::error!(%error, session = facts.session, "a session begins without its role");
            nothing()
        }
    }
}

/// How the statements of a session say who they are for.
fn naming(proxy: &Proxy, facts: &LoginFacts, application: Option<Application>) -> Naming {
    let signed = application.as_ref().and_then(|known| known.signed.as_ref());
    let settings = proxy.settings.load();
    let key = signed.and_then(|name| settings.application_keys.get(&**name));
    let verifier = key.map(|key| Verifier {
        key: key.secret.clone(),
        max_age: key.max_age,
    });
    let purposes = proxy.policy.load().knows_purposes();
    Naming::new(&facts.caller, application, verifier, purposes)
}

fn limits(settings: &Settings) -> Limits {
    let drain = settings.limits.drain_timeout;
    Limits {
        statement_bytes: settings.limits.max_statement_bytes,
        drain: drain.saturating_sub((drain / LAST_WORDS).min(Duration::from_secs(1))),
    }
}

fn template(facts: &LoginFacts, person: &str, policy_version: &str) -> Record {
    let tls = facts.tls.as_ref().map(record::tls);
    Record {
        session: Some(facts.session),
        client_addr: Some(facts.client_addr),
        tls,
        db_user: Some(facts.db_user.as_str().into()),
        person: Some(person.into()),
        role: facts.role.clone(),
        application_name: Some(facts.application_name.as_str().into()),
        database: Some(facts.database.as_str().into()),
        policy_version: Some(policy_version.into()),
        ..Record::new(Event::Login, SystemTime::now())
    }
}
