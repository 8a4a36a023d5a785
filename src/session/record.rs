//! The audit records of a session: one template for what stays the same, filled in for each event.
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::audit::{ColumnsRecord, Event, Record, Rendered, TlsRecord, VerdictRecord, WouldRecord};
use crate::session::asker::Asker;
use crate::session::ledger::Running;
use crate::session::statements::Statement;
use crate::sql::plan::{Refusal, StatementPlan, Verdict, Would};
use crate::wire::tls::TlsFacts;

/// Numbers the records of a session and fills in its facts.
#[derive(Debug)]
pub struct Recorder {
    template: Record,
    /// What of the template stands in every record of a statement, once there is one. Whoever changes that makes it
    /// anew.
    rendered: Option<RenderedFor>,
    sequence: u64,
}

/// What records of one asker's statements have in common.
#[derive(Debug)]
struct RenderedFor {
    asker: Option<Arc<Asker>>,
    json: Arc<[u8]>,
}

/// What every record of a planned statement says, made once and kept beside its plan.
struct Said {
    record: Record,
    /// The same as JSON. Without it records are made whole.
    rendered: Option<Arc<[u8]>>,
}

impl Said {
    fn of(plan: &StatementPlan) -> Arc<Said> {
        plan.companion.get_or_make(|| Said::new(plan))
    }

    fn new(plan: &StatementPlan) -> Said {
        let record = Record {
            kind: Some(Cow::Borrowed(plan.kind)),
            text: Some(plan.normalised.as_str().into()),
            fingerprint: Some(plan.fingerprint.as_str().into()),
            reads: plan.reads.as_slice().into(),
            writes: plan.writes.as_slice().into(),
            masked: plan.masked.as_slice().into(),
            lookups: plan.lookups.as_slice().into(),
            columns: columns(plan),
            classes: Arc::clone(&plan.columns.classes),
            ..Record::new(Event::Statement, SystemTime::UNIX_EPOCH)
        };
        Said {
            rendered: Rendered::statement(&record).ok(),
            record,
        }
    }
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
            rendered: None,
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
        let (said, uses) = (sent.map(Said::of), governing.map(Said::of));
        let rows = match running.meter.rows() {
            0 => outcome.affected.unwrap_or(0),
            rows => rows,
        };
        // EXECUTE and FETCH have the text of one statement and the columns of another.
        let rendered = match (sent, governing, &said) {
            (Some(sent), Some(governing), Some(said)) if std::ptr::eq(sent, governing) => {
                self.rendered(running, said)
            }
            _ => None,
        };
        let names = |of: fn(&Record) -> &Arc<[String]>| {
            let uses = uses.as_deref();
            uses.map_or_else(Arc::default, |uses| Arc::clone(of(&uses.record)))
        };
        Record {
            kind: Some(Cow::Borrowed(kind(
                &running.statement,
                running.fallback_kind,
            ))),
            text: said.as_ref().and_then(|said| said.record.text.clone()),
            fingerprint: said
                .as_ref()
                .and_then(|said| said.record.fingerprint.clone()),
            reads: names(|uses| &uses.reads),
            writes: names(|uses| &uses.writes),
            masked: names(|uses| &uses.masked),
            lookups: names(|uses| &uses.lookups),
            columns: uses.as_ref().and_then(|uses| uses.record.columns.clone()),
            classes: uses
                .as_ref()
                .map_or_else(Arc::default, |uses| Arc::clone(&uses.record.classes)),
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
            rendered,
            ..self.for_whom(running, event)
        }
    }

    /// An event of whoever the statement is for.
    fn for_whom(&mut self, running: &Running, event: Event) -> Record {
        let asker = running.statement.source.asker.as_ref();
        Record {
            outside: asker.map_or_else(Vec::new, |asker| outside(asker, running)),
            ..named(self.event(event), asker)
        }
    }

    /// The parts of a statement's record that were made before.
    fn rendered(&mut self, running: &Running, said: &Said) -> Option<Rendered> {
        let statement = said.rendered.clone()?;
        let asker = &running.statement.source.asker;
        let serves = |known: &RenderedFor| match (&known.asker, asker) {
            (Some(known), Some(asker)) => Arc::ptr_eq(known, asker),
            (None, None) => true,
            _ => false,
        };
        if !self.rendered.as_ref().is_some_and(serves) {
            let record = named(self.template.clone(), asker.as_ref());
            self.rendered = Some(RenderedFor {
                asker: asker.clone(),
                json: Rendered::session(&record).ok()?,
            });
        }
        let session = Arc::clone(&self.rendered.as_ref()?.json);
        Some(Rendered::new(session, statement))
    }
}

/// A record that says who asks, where somebody is known to.
fn named(record: Record, asker: Option<&Arc<Asker>>) -> Record {
    let Some(asker) = asker else {
        return record;
    };
    Record {
        person: Some(Arc::clone(&asker.person)),
        app_user: asker.app_user.clone(),
        purpose: asker.purpose.clone(),
        role: asker.role.clone(),
        ..record
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
