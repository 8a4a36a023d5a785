//! One session's view of the process: what its pumps ask, answered from what all sessions share.
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use crate::audit::sealed::{Clear, Sealed};
use crate::audit::{Event, Record};
use crate::catalog::{Catalog, Oid};
use crate::config::OnFull;
use crate::export::Purse;
use crate::policy::RolePolicy;
use crate::session::assignment::Assignment;
use crate::session::counter::Counter;
use crate::session::denial;
use crate::session::exports::{Decision, Excess};
use crate::session::host::{Host, Planned, Standing, Unavailable, Unrecorded};
use crate::session::proxy::{InForce, Proxy, append};
use crate::session::rereading::Rereading;
use crate::session::statements::{Epoch, Granted};
use crate::sql::functions;
use crate::sql::plan::{Plan, Refusal, SessionFacts};
use crate::wire::cancel::CancelHandle;

/// One session's view of the process.
pub(super) struct SessionHost {
    pub(super) proxy: Arc<Proxy>,
    pub(super) database: String,
    pub(super) rereading: Arc<Rereading>,
    pub(super) cancel: Arc<CancelHandle>,
    pub(super) assignment: Assignment,
}

impl Host for SessionHost {
    /// A name that the catalog does not know may be younger than the snapshot: then the text is planned again.
    async fn plan(&self, text: Arc<str>, facts: Arc<SessionFacts>) -> Result<Planned, Unavailable> {
        let planned = self
            .plan_once(Arc::clone(&text), Arc::clone(&facts))
            .await?;
        if !planned.plan.names_unknown() {
            return Ok(planned);
        }
        let before = planned.standing.epoch;
        self.schema_changed().await;
        if self.standing().await?.epoch == before {
            return Ok(planned);
        }
        self.plan_once(text, facts).await
    }

    async fn standing(&self) -> Result<Standing, Unavailable> {
        let InForce { catalog, role, .. } = self.in_force().await?;
        Ok(Standing {
            epoch: epoch(&catalog, &role),
            role,
        })
    }

    async fn dismissed(&self) {
        let mut changes = self.proxy.policy_changes();
        while self.assignment.holds(&self.proxy.policy.load_full()) {
            if changes.changed().await.is_err() {
                // Nobody is left who could bring another policy.
                std::future::pending::<()>().await;
            }
        }
    }

    async fn parameter_objection(&self, oid: Oid) -> Option<Refusal> {
        match self.in_force().await {
            Ok(found) => functions::parameter_refusal(&found.catalog, &found.role, oid),
            // The text is not decided on either.
            Err(_) => None,
        }
    }

    async fn schema_changed(&self) {
        let (proxy, database) = (Arc::clone(&self.proxy), self.database.clone());
        if self.assignment.restricted {
            return reread(&proxy, &database).await;
        }
        // Nothing of it depends on the answer but names on record, and DDL comes in long scripts.
        let rereading = Arc::clone(&self.rereading);
        if rereading.ask() {
            tokio::spawn(async move {
                reread(&proxy, &database).await;
                while rereading.again() {
                    reread(&proxy, &database).await;
                }
            });
        }
    }

    fn seal(&self, clear: &Clear) -> Option<Sealed> {
        let sealed = self.proxy.recipient.as_ref()?.seal(clear);
        if sealed.is_none() {
            tracing::error!(
                "the full text of a statement could not be sealed and is not on record"
            );
        }
        sealed
    }

    fn can_record(&self) -> bool {
        !(self.assignment.restricted
            && self.refuses_without_record()
            && self.proxy.spool.is_failing())
    }

    fn record(&self, record: &Record, protected: bool) -> Result<(), Unrecorded> {
        self.proxy.count(&self.assignment.role, record, protected);
        let appended = append(&self.proxy.spool, &self.proxy.metrics, record)
            .map_err(|error| Unrecorded(error.to_string()));
        match appended {
            Ok(()) => Ok(()),
            // Of a refusal the client has seen nothing but the refusal; that it is lost is counted.
            Err(error)
                if self.assignment.restricted
                    && self.refuses_without_record()
                    && record.event != Event::Refusal =>
            {
                Err(error)
            }
            Err(error) => {
                tracing::error!(%error, event = record.event.label(), "an audit record is lost");
                Ok(())
            }
        }
    }

    fn purse(&self) -> Option<Arc<Purse>> {
        self.assignment
            .restricted
            .then(|| self.proxy.desk.budgets.purse(&self.assignment.person))
    }

    async fn exceeded(&self, excess: Excess) -> Decision {
        match self.in_force().await {
            Ok(found) => self.counter(&found).decide(excess).await,
            Err(error) => {
                tracing::error!(%error, "an export cannot be decided on");
                Decision::Stop(Box::new(denial::of_missing_state()), None)
            }
        }
    }

    async fn clear_plan(
        &self,
        text: Arc<str>,
        facts: Arc<SessionFacts>,
        fingerprint: &str,
    ) -> Option<(Arc<Plan>, Arc<RolePolicy>)> {
        let desk = &self.proxy.desk;
        let who = &self.assignment;
        let classes = desk.clear_for(&who.person, &who.role, &self.database, fingerprint)?;
        let InForce { catalog, role, .. } = self.in_force().await.ok()?;
        let classes: Vec<&str> = classes.iter().map(String::as_str).collect();
        let role = Arc::new(role.without_masks(&classes));
        let planner = &self.proxy.planner;
        let plan = planner.plan(text, catalog, Arc::clone(&role), facts).await;
        Some((plan, role))
    }

    async fn redeem(&self, excess: Excess) -> Option<Granted> {
        let found = self.in_force().await.ok()?;
        self.counter(&found).redeem(&excess).await
    }

    fn cancel(&self) -> impl Future<Output = ()> + Send + 'static {
        let cancel = Arc::clone(&self.cancel);
        async move {
            if let Err(error) = cancel.cancel_upstream().await {
                tracing::warn!(%error, "a statement could not be cancelled");
            }
        }
    }
}

impl SessionHost {
    async fn plan_once(
        &self,
        text: Arc<str>,
        facts: Arc<SessionFacts>,
    ) -> Result<Planned, Unavailable> {
        let proxy = &self.proxy;
        let found = self.in_force().await?;
        let values = self.assignment.values_by(&found.policy)?;
        let facts = match Arc::ptr_eq(&facts.values, &values) {
            true => facts,
            false => Arc::new(SessionFacts {
                values,
                ..SessionFacts::clone(&facts)
            }),
        };
        let InForce { catalog, role, .. } = found;
        let standing = Standing {
            epoch: epoch(&catalog, &role),
            role: role.clone(),
        };
        let began = Instant::now();
        let misses = proxy.planner.misses();
        let plan = proxy.planner.plan(text, catalog, role, facts).await;
        // Of plans made at the same time one may be counted for another.
        let cached = proxy.planner.misses() == misses;
        proxy.metrics.planned(began.elapsed(), cached);
        if !cached {
            let bytes = proxy.planner.stats().bytes;
            proxy.metrics.plan_cache_bytes(bytes);
        }
        Ok(Planned { plan, standing })
    }

    /// The session's role as it stands.
    ///
    /// # Errors
    /// The catalog cannot be read, or the policy in force sees the session's user otherwise.
    async fn in_force(&self) -> Result<InForce, Unavailable> {
        let found = self
            .proxy
            .in_force(&self.database, &self.assignment.role)
            .await?;
        self.assignment.values_by(&found.policy)?;
        Ok(found)
    }

    fn counter<'a>(&'a self, found: &'a InForce) -> Counter<'a> {
        Counter {
            desk: &self.proxy.desk,
            metrics: &self.proxy.metrics,
            policy: &found.policy,
            catalog: &found.catalog,
            role: &found.role,
            database: &self.database,
            db_user: &self.assignment.db_user,
            person: &self.assignment.person,
        }
    }

    fn refuses_without_record(&self) -> bool {
        self.proxy.settings.load().audit.on_full == OnFull::Refuse
    }
}

async fn reread(proxy: &Proxy, database: &str) {
    if let Err(error) = proxy.catalogs.refresh(database).await {
        tracing::warn!(%error, database, "the catalog could not be read again");
    }
}

fn epoch(catalog: &Catalog, role: &RolePolicy) -> Epoch {
    Epoch {
        policy: role.version,
        catalog: catalog.version,
    }
}
