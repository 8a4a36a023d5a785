//! The audit records of a session: one template for what stays the same, filled in for each event.
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::audit::{ColumnsRecord, Event, Record, TlsRecord, VerdictRecord, WouldRecord};
use crate::session::asker::Asker;
use crate::session::ledger::Running;
use crate::session::statements::Statement;
use crate::sql::plan::{Refusal, StatementPlan, Verdict, Would};
use crate::wire::tls::TlsFacts;

/// Numbers the records of a session and fills in its facts.
#[derive(Debug)]
pub struct Recorder {
    template: Record,
    sequence: u64,
}

/// How a statement ended.
#[derive(Debug, Default)]
pub struct Outcome<'a> {
    pub sqlstate: Option<&'a str>,
    /// The number in the command tag: rows that the statement wrote.
    pub affected: Option<u64>,
    pub refusal: Option<&'a Refusal>,
}

impl Recorder {
    /// `template`: session, client, user, role and database.
    pub fn new(template: Record) -> Self {
        Recorder {
            template,
            sequence: 0,
        }
    }

    /// Another policy came into force.
    pub fn under(&mut self, policy: &Arc<str>) {
        self.template.policy_version = Some(Arc::clone(policy));
    }

    pub fn event(&mut self, event: Event) -> Record {
        self.sequence += 1;
        Record {
            event,
            time: SystemTime::now(),
            sequence: Some(self.sequence),
            ..self.template.clone()
        }
    }

    /// The record of a statement that has ended after `duration`.
    pub fn statement(
        &mut self,
        running: &Running,
        outcome: &Outcome<'_>,
        duration: Duration,
    ) -> Record {
        let event = match outcome.refusal {
            Some(_) => Event::Refusal,
            None if running.stopped.is_some() => Event::ExportStop,
            None => Event::Statement,
        };
        let sent = running.statement.plan();
        let governing = running.governing().plan();
        let rows = match running.meter.rows() {
            0 => outcome.affected.unwrap_or(0),
            rows => rows,
        };
        Record {
            kind: Some(Cow::Borrowed(kind(
                &running.statement,
                running.fallback_kind,
            ))),
            text: sent.map(|plan| Arc::from(plan.normalised.as_str())),
            fingerprint: sent.map(|plan| Arc::from(plan.fingerprint.as_str())),
            reads: governing.map(|plan| plan.reads.clone()).unwrap_or_default(),
            writes: governing
                .map(|plan| plan.writes.clone())
                .unwrap_or_default(),
            masked: governing
                .map(|plan| plan.masked.clone())
                .unwrap_or_default(),
            lookups: governing
                .map(|plan| plan.lookups.clone())
                .unwrap_or_default(),
            columns: governing.and_then(columns),
            classes: governing
                .map(|plan| Arc::clone(&plan.columns.classes))
                .unwrap_or_default(),
            traps: traps(running),
            would: match self.template.enforced {
                Some(false) => would(running).map(Box::new),
                _ => None,
            },
            verdict: Some(verdict(running, outcome)),
            reason: match (outcome.refusal, &running.stopped) {
                (Some(refusal), _) => Some(Cow::Borrowed(refusal.reason.label())),
                (None, Some(stop)) => Some(Cow::Borrowed(stop.limit.reason())),
                (None, None) => None,
            },
            export: match &running.stopped {
                Some(stop) => stop.request.clone(),
                None => running.grant.clone(),
            },
            rule: outcome.refusal.map(|refusal| refusal.detail.clone()),
            rows: Some(rows),
            bytes: Some(running.meter.bytes()),
            duration: Some(duration),
            trace: running.statement.source.trace.clone(),
            sqlstate: outcome
                .sqlstate
                .map(|sqlstate| Cow::Owned(sqlstate.to_owned())),
            policy_version: match &running.statement.source.role {
                Some(role) => Some(Arc::clone(&role.policy)),
                None => self.template.policy_version.clone(),
            },
            ..self.for_whom(running, event)
        }
    }

    /// An event of whoever the statement is for.
    fn for_whom(&mut self, running: &Running, event: Event) -> Record {
        let record = self.event(event);
        let Some(asker) = &running.statement.source.asker else {
            return record;
        };
        Record {
            person: Some(Arc::clone(&asker.person)),
            app_user: asker.app_user.clone(),
            purpose: asker.purpose.clone(),
            outside: outside(asker, running),
            role: asker.role.clone(),
            ..record
        }
    }
}

/// A client's TLS on record.
pub fn tls(facts: &TlsFacts) -> Arc<TlsRecord> {
    Arc::new(TlsRecord {
        version: facts.version.clone(),
        cipher: facts.cipher.clone(),
        subject: facts.subject.clone(),
    })
}

/// What a statement is called on record.
pub fn kind(statement: &Statement, fallback: &'static str) -> &'static str {
    match (statement.plan(), &statement.source.plan) {
        (Some(plan), _) => plan.kind,
        (None, Some(plan)) if plan.statements.is_empty() => "EMPTY",
        _ => fallback,
    }
}

/// The regions whose rows are not in what a statement names.
fn outside(asker: &Asker, running: &Running) -> Vec<Arc<str>> {
    let Some(plan) = running.governing().plan() else {
        return Vec::new();
    };
    let names = |relations: &[String]| {
        let mut named = plan.reads.iter().chain(&plan.writes);
        named.any(|name| relations.contains(name))
    };
    let outside = asker.outside.iter();
    outside
        .filter(|(_, relations)| names(relations))
        .map(|(region, _)| Arc::clone(region))
        .collect()
}

/// The honeytoken rows that a statement names or that came out of it, each once.
fn traps(running: &Running) -> Vec<Arc<str>> {
    let plan = running.governing().plan();
    let uses = plan.map_or(&[][..], |plan| &plan.columns.traps);
    let mut traps: Vec<Arc<str>> = uses
        .iter()
        .filter(|known| known.named)
        .map(|known| &known.trap.name)
        .chain(&running.statement.sprung)
        .chain(&running.sprung)
        .cloned()
        .collect();
    traps.sort_unstable();
    traps.dedup();
    traps
}

fn columns(plan: &StatementPlan) -> Option<ColumnsRecord> {
    let used = &plan.columns;
    (!used.is_empty()).then(|| ColumnsRecord {
        projected: Arc::clone(&used.projected),
        filtered: Arc::clone(&used.filtered),
        written: Arc::clone(&used.written),
        truncated: used.truncated,
    })
}

fn verdict(running: &Running, outcome: &Outcome<'_>) -> VerdictRecord {
    if outcome.refusal.is_some() {
        return VerdictRecord::Refuse;
    }
    match running.governing().plan().map(|plan| &plan.verdict) {
        Some(Verdict::Refuse(_)) => VerdictRecord::Refuse,
        Some(Verdict::Rewrite) => VerdictRecord::Rewrite,
        Some(Verdict::Pass) | None => VerdictRecord::Pass,
    }
}

/// What would have become of a statement if its role were enforced; `None`: nobody has looked.
fn would(running: &Running) -> Option<WouldRecord> {
    let of = |statement: &Statement| statement.plan()?.would.clone();
    let sent = of(&running.statement);
    let refused = |would: &Would| matches!(would.verdict, Verdict::Refuse(_));
    let would = match sent.filter(|would| refused(would)) {
        Some(refused) => refused,
        None => of(running.governing())?,
    };
    let refusal = match &would.verdict {
        Verdict::Refuse(refusal) => Some(refusal),
        Verdict::Pass | Verdict::Rewrite => None,
    };
    Some(WouldRecord {
        verdict: match &would.verdict {
            Verdict::Pass => VerdictRecord::Pass,
            Verdict::Rewrite => VerdictRecord::Rewrite,
            Verdict::Refuse(_) => VerdictRecord::Refuse,
        },
        reason: match (refusal, running.would_stop) {
            (Some(refusal), _) => Some(Cow::Borrowed(refusal.reason.label())),
            (None, Some(limit)) => Some(Cow::Borrowed(limit.reason())),
            (None, None) => None,
        },
        rule: refusal.map(|refusal| refusal.detail.clone()),
        masked: would.masked,
        lookups: would.lookups,
    })
}

/// The number at the end of a command tag: `INSERT 0 5`, `COPY 5`.
pub fn affected(tag: &str) -> Option<u64> {
    tag.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::fixtures;
    use crate::session::ledger::{Answer, Ledger, Sent};
    use std::time::Instant;

    #[test]
    fn a_tag_tells_the_rows_written() {
        assert_eq!(affected("INSERT 0 5"), Some(5));
        assert_eq!(affected("COPY 7"), Some(7));
        assert_eq!(affected("CREATE TABLE"), None);
    }

    #[test]
    fn records_of_a_session_are_numbered_and_told_by_their_plan() {
        let mut ledger = Ledger::default();
        ledger.push(Sent::Query(fixtures::source("INSERT a")), Instant::now());
        let Ok(Answer::Ended(running)) = ledger.answer(b'C', 0) else {
            panic!("the statement ends");
        };
        let template = Record {
            session: Some(9),
            ..Record::new(Event::Login, SystemTime::UNIX_EPOCH)
        };
        let mut recorder = Recorder::new(template);
        recorder.event(Event::Login);
        let outcome = Outcome {
            affected: Some(5),
            ..Outcome::default()
        };
        let record = recorder.statement(&running, &outcome, Duration::from_millis(2));
        assert_eq!(record.event, Event::Statement);
        assert_eq!((record.session, record.sequence), (Some(9), Some(2)));
        assert_eq!(record.kind.as_deref(), Some("INSERT"));
        assert_eq!(record.rows, Some(5));
        assert_eq!(record.verdict, Some(VerdictRecord::Pass));
    }
}
