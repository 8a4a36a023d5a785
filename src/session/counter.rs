//! Decides about a row that a limit stands in the way of: a further lease of the person's budget, a grant, or the end of
//! the result with a request that waits for signatures.
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::asker::Asker;
use super::denial;
use super::exports::{Decision, Excess};
use super::statements::Granted;
use crate::admin::Metrics;
use crate::audit::ExportRecord;
use crate::catalog::Catalog;
use crate::export::desk::{self, Desk, DeskError, Met};
use crate::export::request::{Asked, Column, LimitKind, Request, shown};
use crate::export::store::{Seconds, StoreError};
use crate::export::{Allowed, Refill};
use crate::policy::{PolicySet, RolePolicy};

/// Everything such a decision depends on.
pub struct Counter<'a> {
    pub desk: &'a Desk,
    pub metrics: &'a Metrics,
    pub policy: &'a PolicySet,
    pub catalog: &'a Catalog,
    pub role: &'a RolePolicy,
    pub database: &'a str,
    pub db_user: &'a str,
    pub asker: &'a Asker,
    /// Whose budgets are spent: the person's, or those for trial besides.
    pub budget: &'a str,
}

impl Counter<'_> {
    pub async fn decide(&self, excess: Excess) -> Decision {
        if let Some((grant, rows)) = excess.grant {
            let words = denial::of_grant(&grant.request, rows);
            return Decision::Stop(Box::new(words), Some(grant));
        }
        let (limit, allowed) = match self.refill(&excess).await {
            Ok(Refill::Ready) => {
                self.metrics.state_available(true);
                return Decision::Again;
            }
            Ok(Refill::Full(limit, _)) if self.role.trial.is_some() => {
                return Decision::Unenforced(Some(limit));
            }
            Ok(Refill::Full(limit, allowed)) => (limit, allowed),
            Err(error) if self.role.trial.is_some() => {
                tracing::warn!(%error, "what a role that is not enforced takes out is not counted");
                return Decision::Unenforced(None);
            }
            Err(error) => return self.unavailable(&error),
        };
        let rule = &self.role.export;
        let way_out = if rule.approvers.is_empty() {
            denial::nobody_signs(limit, allowed)
        } else if self.asker.is_one_of_many && self.asker.app_user.is_none() {
            // Nobody could be kept from signing it.
            denial::nobody_asks()
        } else {
            let Some(asked) = self.asked(&excess, limit, allowed) else {
                let way_out = "The values of this statement are too long to be signed for: send them as shorter parameters.";
                return self.stop(limit, allowed, way_out.to_owned(), None);
            };
            match self.desk.exceeded(&asked, excess.reason.as_deref()).await {
                Ok(Met::Grant(request)) => {
                    let rows = request.granted().rows.unwrap_or(0);
                    return Decision::Granted(Arc::new(of(&request)), rows);
                }
                Ok(Met::Waiting(request, _)) => {
                    let way_out = denial::request_waits(
                        &request.id,
                        &request.missing(),
                        request.reason.is_some(),
                    );
                    return self.stop(limit, allowed, way_out, Some(Arc::new(of(&request))));
                }
                Err(DeskError::Store(error)) => return self.unavailable(&error),
                Err(error) => error.to_string(),
            }
        };
        self.stop(limit, allowed, way_out, None)
    }

    /// Classes whose masks a grant takes off a statement. `exactly`: one for these values, else for any.
    pub fn clear_classes(&self, excess: &Excess, exactly: bool) -> Option<BTreeSet<String>> {
        let person = &self.asker.person;
        let (role, database) = (&self.role.name, self.database);
        let found = self
            .desk
            .clear_for(person, role, database, &excess.fingerprint)?;
        if !exactly {
            return Some(found);
        }
        let asked = self.asked(excess, LimitKind::Rows, 0)?;
        self.desk.clear_for_exactly(&asked)
    }

    /// Uses the grant that takes the masks of these classes off a statement; `None`: there is none for it.
    pub async fn redeem(&self, excess: &Excess, clear: &BTreeSet<String>) -> Option<Granted> {
        let asked = self.asked(excess, LimitKind::Rows, 0)?;
        match self.desk.redeem(&asked, clear).await {
            Ok(request) => {
                let request = request?;
                Some(Granted {
                    rows: request.granted().rows.unwrap_or(0),
                    record: Arc::new(of(&request)),
                })
            }
            Err(error) => {
                tracing::error!(%error, "a grant cannot be used");
                None
            }
        }
    }

    /// Budgets are leased; the limits of one result are what they are.
    async fn refill(&self, excess: &Excess) -> Result<Refill, StoreError> {
        let rule = &self.role.export;
        let budgets = &self.desk.budgets;
        let purse = budgets.purse(self.budget);
        match excess.limit {
            LimitKind::Rows => Ok(Refill::Full(LimitKind::Rows, rule.rows.unwrap_or(0))),
            LimitKind::Bytes => Ok(Refill::Full(LimitKind::Bytes, rule.bytes.unwrap_or(0))),
            LimitKind::PerHour | LimitKind::PerDay => {
                let allowed = Allowed::from(&**rule);
                budgets.refill(&purse, excess.weight, allowed).await
            }
            LimitKind::SubjectsPerDay => {
                budgets
                    .admit(&purse, rule.subjects_per_day.unwrap_or(0))
                    .await
            }
        }
    }

    fn asked(&self, excess: &Excess, limit: LimitKind, allowed: u64) -> Option<Asked> {
        let rule = &self.role.export;
        let names = |names: &[Arc<str>]| names.iter().map(ToString::to_string).collect();
        Some(Asked {
            person: self.asker.person.to_string(),
            db_user: self.db_user.to_owned(),
            role: self.role.name.to_string(),
            database: self.database.to_owned(),
            kind: excess.kind.to_owned(),
            fingerprint: excess.fingerprint.clone(),
            digest: self.desk.digest(excess.values.as_ref()?),
            text: shown(&excess.text),
            reads: excess.reads.iter().map(|name| shown(name)).collect(),
            columns: excess
                .masked
                .iter()
                .map(|name| self.masked_column(name))
                .chain(self.clear_columns(excess))
                .collect(),
            limit,
            allowed,
            policy_version: self.policy.version().to_owned(),
            purpose: self.asker.purpose.as_deref().map(str::to_owned),
            masked_outside: self.asker.masked_outside,
            groups: names(&rule.approvers),
            may_unmask: self.may_unmask(),
            max_rows: rule.grants.max_rows,
            uses: rule.grants.uses,
            holds: Seconds::try_from(rule.grants.expires.as_secs()).unwrap_or(Seconds::MAX),
        })
    }

    /// Classes whose masks signatures may take off: none that is redacted because it is not for what the statement is for.
    fn may_unmask(&self) -> Vec<String> {
        let purpose = self.asker.purpose.as_deref();
        let is_for_it = |class: &str| {
            let purposes = self.policy.class(class).map(|class| &class.purposes);
            match purposes {
                Some(Some(purposes)) => purpose.is_some_and(|purpose| purposes.contains(purpose)),
                Some(None) | None => true,
            }
        };
        let classes = self.role.export.grants.may_unmask.iter();
        classes
            .filter(|class| is_for_it(class))
            .map(ToString::to_string)
            .collect()
    }

    /// A masked column, `schema.table.column`.
    fn masked_column(&self, name: &str) -> Column {
        let mut relations = self.catalog.relations.values();
        let mask = relations.find_map(|relation| {
            let column = name
                .strip_prefix(&relation.full_name())?
                .strip_prefix('.')?;
            let column = relation.columns.iter().find(|known| known.name == column)?;
            self.role.mask(relation.oid, column.num)
        });
        self.column(name.to_owned(), mask.map_or("", |mask| &mask.class), true)
    }

    /// Classified columns that the statement uses and the role sees as they are. Where there are more than are known, all
    /// that the relations have which it reads.
    fn clear_columns(&self, excess: &Excess) -> Vec<Column> {
        let used = &excess.columns;
        let names: HashSet<&str> = used
            .projected
            .iter()
            .chain(used.filtered.iter())
            .map(|name| &**name)
            .collect();
        let mut found = Vec::new();
        for relation in self.catalog.relations.values() {
            let own = relation.full_name();
            let all = used.truncated && excess.reads.contains(&own);
            for column in &relation.columns {
                let classes = self.role.classes_of(relation.oid, column.num);
                if classes.is_empty() || self.role.mask(relation.oid, column.num).is_some() {
                    continue;
                }
                let name = format!("{own}.{}", column.name);
                if all || names.contains(name.as_str()) {
                    let column = |class| self.column(name.clone(), class, false);
                    found.extend(classes.iter().map(|class| column(class)));
                }
            }
        }
        found.sort_by(|one: &Column, other| one.name.cmp(&other.name));
        found
    }

    /// What approvers are told of a column.
    fn column(&self, name: String, class: &str, masked: bool) -> Column {
        let rule = self.policy.class(class);
        Column {
            name: shown(&name),
            class: class.to_owned(),
            level: rule.and_then(|class| class.level).map(i64::from),
            masked,
        }
    }

    fn stop(
        &self,
        limit: LimitKind,
        allowed: u64,
        way_out: String,
        request: Option<Arc<ExportRecord>>,
    ) -> Decision {
        let words = denial::of_export(limit, allowed, &self.role.name, way_out);
        Decision::Stop(Box::new(words), request)
    }

    fn unavailable(&self, error: &StoreError) -> Decision {
        self.metrics.state_available(false);
        tracing::error!(%error, "an export cannot be decided on");
        Decision::Stop(Box::new(denial::of_missing_state()), None)
    }
}

/// What the record of a statement says of its request.
fn of(request: &Request) -> ExportRecord {
    ExportRecord {
        request: request.id.clone(),
        step: None,
        action: None,
        state: Some(request.state.label()),
        person: request.asked.person.clone(),
        by: None,
        group: None,
        reason: request.reason.clone(),
        comment: None,
        approvals: desk::signatures(request),
        rows: None,
        clear: request.granted().clear,
    }
}
