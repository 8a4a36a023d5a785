//! One session's view of the process: what its pumps ask, answered from what all sessions share.
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::audit::sealed::{self, Sealed};
use crate::audit::{Event, Record, SpoolError};
use crate::catalog::{Catalog, Oid};
use crate::config::OnFull;
use crate::export::Purse;
use crate::policy::{ExportRule, PolicySet, Regime, RolePolicy, RoleRule};
use crate::session::asker::Asker;
use crate::session::assignment::Assignment;
use crate::session::claim::Claim;
use crate::session::counter::Counter;
use crate::session::denial;
use crate::session::exports::{Decision, Excess};
use crate::session::host::{Host, Planned, Settling, Standing, Unavailable, Unrecorded};
use crate::session::proxy::{Ground, Proxy, counted};
use crate::session::rereading::Rereading;
use crate::session::statements::{Clear, Epoch, Granted};
use crate::session::unsettled::Unsettled;
use crate::sql::functions;
use crate::sql::plan::{Plan, Refusal, SessionFacts};
use crate::wire::cancel::CancelHandle;

/// Stands in metrics for the role of a statement that is nobody's.
const NO_ROLE: &str = "none";

/// One session's view of the process.
pub(super) struct SessionHost {
    pub(super) proxy: Arc<Proxy>,
    pub(super) database: String,
    pub(super) rereading: Arc<Rereading>,
    pub(super) cancel: Arc<CancelHandle>,
    pub(super) assignment: Assignment,
    pub(super) unsettled: Unsettled,
}

impl Host for SessionHost {
    /// A name that the catalog does not know may be younger than the snapshot: then the text is planned again.
    async fn plan(
        &self,
        text: Arc<str>,
        facts: Arc<SessionFacts>,
        claim: Arc<Claim>,
    ) -> Result<Planned, Unavailable> {
        let planned = self
            .plan_once(Arc::clone(&text), Arc::clone(&facts), &claim)
            .await?;
        if !planned.plan.names_unknown() {
            return Ok(planned);
        }
        let before = planned.standing.epoch;
        self.schema_changed().await;
        if self.standing(Arc::clone(&claim)).await?.epoch == before {
            return Ok(planned);
        }
        self.plan_once(text, facts, &claim).await
    }

    async fn standing(&self, claim: Arc<Claim>) -> Result<Standing, Unavailable> {
        Ok(self.in_force(&claim).await?.standing())
    }

    fn holds(&self) -> bool {
        let proxy = &self.proxy;
        let unchanged = self.assignment.holds_under(&proxy.policy);
        unchanged.unwrap_or_else(|| self.assignment.holds(&proxy.basis()))
    }

    async fn dismissed(&self) {
        let mut changes = self.proxy.policy_changes();
        loop {
            let basis = self.proxy.basis();
            if !self.assignment.holds(&basis) {
                return;
            }
            let look = self.assignment.until(&basis);
            tokio::select! {
                changed = changes.changed() => if changed.is_err() {
                    // Nobody is left who could bring another policy.
                    std::future::pending::<()>().await;
                },
                () = come(look) => {}
            }
        }
    }

    async fn parameter_objection(&self, oid: Oid, claim: Arc<Claim>) -> Option<Refusal> {
        match self.in_force(&claim).await {
            Ok(found) => functions::parameter_refusal(&found.catalog, &found.role, oid),
            // The text is not decided on either.
            Err(_) => None,
        }
    }

    async fn schema_changed(&self) {
        let (proxy, database) = (Arc::clone(&self.proxy), self.database.clone());
        if self.assignment.restricted() {
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

    fn seal(&self, clear: &sealed::Clear) -> Option<Sealed> {
        let sealed = self.proxy.recipient.as_ref()?.seal(clear);
        if sealed.is_none() {
            tracing::error!(
                "the full text of a statement could not be sealed and is not on record"
            );
        }
        sealed
    }

    fn can_record(&self) -> bool {
        !(self.needs_record() && self.proxy.spool.is_failing())
    }

    fn record(&self, record: &Record, protected: bool) -> Result<(), Unrecorded> {
        let role = record.role.as_deref().unwrap_or(NO_ROLE);
        self.proxy.count(role, record, protected);
        let appended = match record.event {
            // What comes often is written with what other sessions have, before anything of it goes on.
            Event::Statement => self.append_later(record, Instant::now()),
            _ => self.append_now(record),
        };
        match appended {
            Ok(()) => Ok(()),
            // Of a refusal the client has seen nothing but the refusal; that it is lost is counted.
            Err(error) if self.needs_record() && record.event != Event::Refusal => {
                Err(Unrecorded(error.to_string()))
            }
            Err(error) => {
                tracing::error!(%error, event = record.event.label(), "an audit record is lost");
                Ok(())
            }
        }
    }

    fn settling(&self) -> Option<Settling<'_>> {
        let in_company = self.unsettled.in_company()?;
        if in_company || self.proxy.spool.waits_for_disk() {
            return Some(Box::pin(self.settle(in_company)));
        }
        match self.write_out() {
            Ok(()) => None,
            Err(error) => Some(Box::pin(std::future::ready(Err(error)))),
        }
    }

    fn purse(&self) -> Option<Arc<Purse>> {
        let budget = &self.assignment.budget;
        (self.assignment.regime != Regime::Unmasked).then(|| self.proxy.desk.budgets.purse(budget))
    }

    async fn exceeded(&self, excess: Excess) -> Decision {
        match self.found_for(excess.asker.clone()).await {
            // On the heap, as what comes seldom: an idle session has room for the largest thing it may wait for.
            Ok(found) => Box::pin(self.counter(&found).decide(excess)).await,
            Err(error) => {
                tracing::error!(%error, "an export cannot be decided on");
                Decision::Stop(Box::new(denial::of_missing_state()), None)
            }
        }
    }

    fn grants_clear(&self) -> bool {
        self.proxy.desk.has_clear()
    }

    async fn clear_plan(
        &self,
        text: Arc<str>,
        facts: Arc<SessionFacts>,
        excess: Excess,
        whole: bool,
    ) -> Option<(Arc<Plan>, Clear)> {
        let asker = excess.asker.clone()?;
        let found = self.found_for(Some(Arc::clone(&asker))).await.ok()?;
        let classes = self.counter(&found).clear_classes(&excess, whole)?;
        let facts = planned_by(facts, &asker);
        let without: Vec<&str> = classes.iter().map(String::as_str).collect();
        let role = Arc::new(found.role.without_masks(&without));
        let planner = &self.proxy.planner;
        let plan = planner.plan(text, &found.catalog, &role, facts).await;
        Some((plan, Clear { classes, role }))
    }

    async fn has_clear(&self, excess: Excess) -> bool {
        if !self.proxy.desk.has_clear() {
            return false;
        }
        match self.found_for(excess.asker.clone()).await {
            Ok(found) => self.counter(&found).clear_classes(&excess, true).is_some(),
            Err(_) => false,
        }
    }

    async fn redeem(&self, excess: Excess, clear: Clear) -> Option<Granted> {
        let found = self.found_for(excess.asker.clone()).await.ok()?;
        Box::pin(self.counter(&found).redeem(&excess, &clear.classes)).await
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
    fn append_later(&self, record: &Record, now: Instant) -> Result<(), SpoolError> {
        // Its address is the session's alone while it lives.
        let session = std::ptr::from_ref(self).addr();
        let spool = &self.proxy.spool;
        match spool.append_later(record, session, now) {
            Ok(ticket) => {
                self.unsettled.appended(ticket, now);
                Ok(())
            }
            Err(error) => {
                self.proxy.metrics.audit_failure();
                Err(error)
            }
        }
    }

    /// Appends and writes a record, and with it whatever waits.
    fn append_now(&self, record: &Record) -> Result<(), SpoolError> {
        let (spool, now) = (&self.proxy.spool, Instant::now());
        let session = std::ptr::from_ref(self).addr();
        let appended = counted(&self.proxy.metrics, record, || {
            spool.write_out(&spool.append_later(record, session, now)?)
        });
        // Nobody asks after that.
        if record.event == Event::Logout
            && let Err(error) = self.write_out()
        {
            tracing::error!(%error, "the last statement of a session is not on record");
        }
        let appended = appended?;
        if spool.waits_for_disk() {
            self.unsettled.written(appended.seq);
        }
        Ok(())
    }

    /// Has the session's records written, and on the disk where that is waited for.
    async fn settle(&self, in_company: bool) -> Result<(), Unrecorded> {
        if in_company {
            // Sessions that have something to be written now come before this one goes on.
            tokio::task::yield_now().await;
        }
        self.write_out()?;
        let seq = self.unsettled.take_unsynced();
        if seq == 0 {
            return Ok(());
        }
        let began = Instant::now();
        let settled = Arc::clone(&self.proxy.spool).settled(seq).await;
        self.proxy.metrics.audit_settled(began.elapsed());
        settled.or_else(|error| {
            self.proxy.metrics.audit_failure();
            self.unrecorded(&error)
        })
    }

    /// Sees to it that the session's records are written.
    fn write_out(&self) -> Result<(), Unrecorded> {
        let (spool, metrics) = (&self.proxy.spool, &self.proxy.metrics);
        let mut failed = None;
        let mut unwritten = self.unsettled.take_unwritten();
        for records in unwritten.drain(..) {
            match spool.write_out(&records.ticket) {
                Ok(appended) => {
                    for _ in 0..records.count {
                        metrics.audit_record(Event::Statement, records.since.elapsed());
                    }
                    if spool.waits_for_disk() {
                        self.unsettled.written(appended.seq);
                    }
                }
                Err(error) => {
                    for _ in 0..records.count {
                        metrics.audit_failure();
                    }
                    failed = Some(error);
                }
            }
        }
        self.unsettled.give_back(unwritten);
        failed.map_or(Ok(()), |error| self.unrecorded(&error))
    }

    /// Records are not known to be kept.
    ///
    /// # Errors
    /// For this session nothing may go on without.
    fn unrecorded(&self, error: &SpoolError) -> Result<(), Unrecorded> {
        if self.needs_record() {
            return Err(Unrecorded(error.to_string()));
        }
        tracing::error!(%error, "audit records may be lost");
        Ok(())
    }

    async fn plan_once(
        &self,
        text: Arc<str>,
        facts: Arc<SessionFacts>,
        claim: &Claim,
    ) -> Result<Planned, Unavailable> {
        let proxy = &self.proxy;
        let found = self.in_force(claim).await?;
        let standing = found.standing();
        let facts = planned_by(facts, &found.asker);
        let Found { catalog, role, .. } = found;
        let began = Instant::now();
        let misses = proxy.planner.misses();
        let plan = proxy.planner.plan(text, &catalog, &role, facts).await;
        // Of plans made at the same time one may be counted for another.
        let cached = proxy.planner.misses() == misses;
        proxy.metrics.planned(began.elapsed(), cached);
        if !cached {
            let bytes = proxy.planner.stats().bytes;
            proxy.metrics.plan_cache_bytes(bytes);
        }
        Ok(Planned { plan, standing })
    }

    /// Who is claimed to be asking, and the role as it stands.
    ///
    /// # Errors
    /// The catalog cannot be read, or the policy in force sees the session's user otherwise.
    async fn in_force(&self, claim: &Claim) -> Result<Found, Unavailable> {
        let ground = self.proxy.ground(&self.database).await?;
        let basis = self.proxy.basis_of(Arc::clone(ground.policy()));
        let budgets = &self.proxy.desk.budgets;
        let asker = self.assignment.asker(&basis, claim, budgets)?;
        Found::on(ground, asker)
    }

    /// The role of somebody as it stands; of the session's own user if it is not said of whom.
    async fn found_for(&self, asker: Option<Arc<Asker>>) -> Result<Found, Unavailable> {
        match asker {
            Some(asker) => Found::on(self.proxy.ground(&self.database).await?, asker),
            None => self.in_force(&Claim::default()).await,
        }
    }

    fn counter<'a>(&'a self, found: &'a Found) -> Counter<'a> {
        Counter {
            desk: &self.proxy.desk,
            metrics: &self.proxy.metrics,
            policy: &found.policy,
            catalog: &found.catalog,
            role: &found.role,
            database: &self.database,
            db_user: &self.assignment.caller.db_user,
            asker: &found.asker,
            budget: match found.asker.is_one_of_many {
                true => &found.asker.person,
                false => &self.assignment.budget,
            },
        }
    }

    /// Nothing of this session goes on without a record.
    fn needs_record(&self) -> bool {
        let refuses = || self.proxy.settings.load().audit.on_full == OnFull::Refuse;
        self.assignment.restricted() && refuses()
    }
}

async fn reread(proxy: &Proxy, database: &str) {
    if let Err(error) = proxy.catalogs.refresh(database).await {
        tracing::warn!(%error, database, "the catalog could not be read again");
    }
}

/// A role of the policy in force, and who has it.
struct Found {
    policy: Arc<PolicySet>,
    catalog: Arc<Catalog>,
    role: Arc<RolePolicy>,
    asker: Arc<Asker>,
}

impl Found {
    fn on(ground: Ground, asker: Arc<Asker>) -> Result<Found, Unavailable> {
        let role = match &asker.role {
            Some(name)
                if !asker.is_known
                    && ground
                        .policy()
                        .role(name)
                        .is_some_and(RoleRule::asks_attributes) =>
            {
                return Err(Unavailable::Directory);
            }
            Some(name) => ground.role(name, asker.purpose.as_deref(), asker.masked_outside)?,
            None => Arc::new(RolePolicy {
                policy: ground.policy().version().into(),
                export: Arc::new(ExportRule {
                    rows: Some(0),
                    ..ExportRule::default()
                }),
                ..RolePolicy::default()
            }),
        };
        Ok(Found {
            policy: Arc::clone(ground.policy()),
            catalog: ground.catalog,
            role,
            asker,
        })
    }

    fn standing(&self) -> Standing {
        Standing {
            epoch: Epoch {
                policy: self.role.version,
                catalog: self.catalog.version,
                asker: self.asker.key(),
            },
            role: Arc::clone(&self.role),
            asker: Arc::clone(&self.asker),
        }
    }
}

/// The facts that a plan depends on, with the values of who asks.
fn planned_by(facts: Arc<SessionFacts>, asker: &Asker) -> Arc<SessionFacts> {
    if Arc::ptr_eq(&facts.values, &asker.values) && facts.said.is_empty() {
        return facts;
    }
    Arc::new(SessionFacts {
        search_path: facts.search_path.clone(),
        user: facts.user.clone(),
        temporary: facts.temporary.clone(),
        spoiled: facts.spoiled.clone(),
        shadows: facts.shadows.clone(),
        values: Arc::clone(&asker.values),
        said: Vec::new(),
        parameters: facts.parameters.clone(),
    })
}

/// Comes to pass at that time. The clock may be set meanwhile: it is looked at again and again.
async fn come(time: Option<SystemTime>) {
    const LONGEST: Duration = Duration::from_secs(60);
    let Some(time) = time else {
        return std::future::pending().await;
    };
    let ahead = time.duration_since(SystemTime::now()).unwrap_or_default();
    // Timers are exact to the millisecond.
    tokio::time::sleep(ahead.min(LONGEST) + Duration::from_millis(1)).await;
}
