//! Records of statements as JSON, with the parts that are the same each time made once.
//!
//! Most of a statement's record is known before it ends: who the session is and what the statement touches. Both are
//! made into JSON once, for a session and for a plan, by the same code that makes whole records; what is left is the
//! place, the time and the outcome.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::{
    Event, ExportRecord, Record, TraceRecord, VerdictRecord, WouldRecord, list, put_rfc3339,
    seconds, shared,
};
use crate::audit::sealed::Sealed;

/// Members of a record that were made into JSON before, each with a comma in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// `client_addr` to `database`.
    session: Arc<[u8]>,
    /// `kind` to `classes`.
    statement: Arc<[u8]>,
}

impl Rendered {
    pub fn new(session: Arc<[u8]>, statement: Arc<[u8]>) -> Self {
        Rendered { session, statement }
    }

    /// What records of a session have in common.
    ///
    /// # Errors
    /// As of any record.
    pub fn session(of: &Record) -> Result<Arc<[u8]>, serde_json::Error> {
        members(&Record {
            client_addr: of.client_addr,
            tls: of.tls.clone(),
            db_user: of.db_user.clone(),
            app_user: of.app_user.clone(),
            person: of.person.clone(),
            purpose: of.purpose.clone(),
            role: of.role.clone(),
            application_name: of.application_name.clone(),
            database: of.database.clone(),
            ..bare()
        })
    }

    /// What records of a planned statement have in common.
    ///
    /// # Errors
    /// As of any record.
    pub fn statement(of: &Record) -> Result<Arc<[u8]>, serde_json::Error> {
        members(&Record {
            kind: of.kind.clone(),
            text: of.text.clone(),
            fingerprint: of.fingerprint.clone(),
            reads: Arc::clone(&of.reads),
            writes: Arc::clone(&of.writes),
            masked: Arc::clone(&of.masked),
            lookups: Arc::clone(&of.lookups),
            columns: of.columns.clone(),
            classes: Arc::clone(&of.classes),
            ..bare()
        })
    }
}

fn bare() -> Record {
    Record::new(Event::Statement, SystemTime::UNIX_EPOCH)
}

/// The members that a record has besides those that all have.
fn members(record: &Record) -> Result<Arc<[u8]>, serde_json::Error> {
    let without = serde_json::to_vec(&bare())?.len().saturating_sub(1);
    let json = serde_json::to_vec(record)?;
    let members = json.get(without..json.len().saturating_sub(1));
    Ok(members.unwrap_or_default().into())
}

/// Appends a value as JSON behind what stands before it.
fn put<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    before: &[u8],
    value: &T,
) -> Result<(), serde_json::Error> {
    out.extend_from_slice(before);
    serde_json::to_writer(out, value)
}

/// Appends a word of pgveil's own, which has nothing to escape.
fn put_label(out: &mut Vec<u8>, before: &[u8], label: &'static str) {
    out.extend_from_slice(before);
    out.push(b'"');
    out.extend_from_slice(label.as_bytes());
    out.push(b'"');
}

/// What is not known before a statement ends, in the order of [`Record`].
#[derive(Serialize)]
struct Outcome<'a> {
    #[serde(serialize_with = "list", skip_serializing_if = "<[_]>::is_empty")]
    traps: &'a [Arc<str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    enforced: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    would: Option<&'a WouldRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: &'a Option<VerdictRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(serialize_with = "seconds", skip_serializing_if = "Option::is_none")]
    duration: &'a Option<Duration>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sqlstate: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<&'a TraceRecord>,
    #[serde(serialize_with = "shared", skip_serializing_if = "Option::is_none")]
    export: &'a Option<Arc<ExportRecord>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed: Option<&'a Sealed>,
}

impl Record {
    /// Appends the record as one JSON object.
    ///
    /// # Errors
    /// As serde_json says; what was written may be cut off.
    pub fn to_json(&self, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        let begin = out.len();
        let is_written = match &self.rendered {
            Some(rendered) => self.put_together(rendered, out)?,
            None => false,
        };
        if !is_written {
            return serde_json::to_writer(out, self);
        }
        debug_assert_eq!(
            out.get(begin..),
            serde_json::to_vec(self).ok().as_deref(),
            "put together as it is made whole"
        );
        Ok(())
    }

    /// Writes the record around what was made before; `false` where it holds what no record of a statement does. Every
    /// field is named, so that one that is added has to find its place here.
    fn put_together(
        &self,
        rendered: &Rendered,
        out: &mut Vec<u8>,
    ) -> Result<bool, serde_json::Error> {
        let Record {
            schema_version,
            time,
            event,
            chain: None,
            session: Some(session),
            sequence: Some(sequence),
            outside,
            // In the part of the session.
            client_addr: _,
            tls: _,
            db_user: _,
            app_user: _,
            person: _,
            purpose: _,
            role: _,
            application_name: _,
            database: _,
            // In the part of the statement.
            kind: _,
            text: _,
            fingerprint: _,
            reads: _,
            writes: _,
            masked: _,
            lookups: _,
            columns: _,
            classes: _,
            traps,
            enforced,
            would,
            verdict,
            reason,
            rule,
            policy_version,
            rows,
            bytes,
            duration,
            sqlstate,
            trace,
            export,
            message,
            sealed,
            checkpoint: None,
            tombstone: None,
            lost: None,
            alarm: None,
            rendered: _,
        } = self
        else {
            return Ok(false);
        };
        if !outside.is_empty() {
            return Ok(false);
        }
        put(out, b"{\"schema_version\":", schema_version)?;
        out.extend_from_slice(b",\"time\":\"");
        put_rfc3339(out, *time);
        put_label(out, b"\",\"event\":", event.label());
        put(out, b",\"session\":", session)?;
        put(out, b",\"sequence\":", sequence)?;
        out.extend_from_slice(&rendered.session);
        out.extend_from_slice(&rendered.statement);
        let is_usual = traps.is_empty()
            && would.is_none()
            && reason.is_none()
            && rule.is_none()
            && sqlstate.is_none()
            && trace.is_none()
            && export.is_none()
            && message.is_none()
            && sealed.is_none();
        // Nearly always: member by member, which serde does at several times the cost.
        if let (
            true,
            None,
            Some(verdict),
            Some(policy_version),
            Some(rows),
            Some(bytes),
            Some(duration),
        ) = (
            is_usual,
            enforced,
            verdict,
            policy_version,
            rows,
            bytes,
            duration,
        ) {
            put_label(out, b",\"verdict\":", verdict.label());
            put(out, b",\"policy_version\":", &**policy_version)?;
            put(out, b",\"rows\":", rows)?;
            put(out, b",\"bytes\":", bytes)?;
            put(out, b",\"duration\":", &duration.as_secs_f64())?;
            out.push(b'}');
            return Ok(true);
        }
        let outcome = Outcome {
            traps,
            enforced: *enforced,
            would: would.as_deref(),
            verdict,
            reason: reason.as_deref(),
            rule: rule.as_deref(),
            policy_version: policy_version.as_deref(),
            rows: *rows,
            bytes: *bytes,
            duration,
            sqlstate: sqlstate.as_deref(),
            trace: trace.as_deref(),
            export,
            message: message.as_deref(),
            sealed: sealed.as_deref(),
        };
        let joint = out.len();
        serde_json::to_writer(&mut *out, &outcome)?;
        match out.get_mut(joint..) {
            // `{}`
            Some(&mut [_, _]) => drop(out.drain(joint..=joint)),
            Some([brace, ..]) => *brace = b',',
            _ => {}
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{ColumnsRecord, TlsRecord};

    /// A record with every field that a statement's may have.
    fn full() -> Record {
        let names = |list: &[&str]| list.iter().copied().map(Arc::from).collect();
        let strings = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        Record {
            session: Some(7),
            sequence: Some(u64::MAX),
            client_addr: Some(([127, 0, 0, 1], 40_000).into()),
            tls: Some(Arc::new(TlsRecord {
                version: "TLSv1.3".into(),
                cipher: "TLS_AES_256_GCM_SHA384".into(),
                subject: Some("CN=\"\u{e9}\"".into()),
            })),
            db_user: Some("crm\u{0}\n\"agent".into()),
            app_user: Some("app".into()),
            person: Some("alice".into()),
            purpose: Some("support".into()),
            role: Some("agent".into()),
            application_name: Some("psql".into()),
            database: Some("crm".into()),
            kind: Some("SELECT".into()),
            text: Some("SELECT $1\n".into()),
            fingerprint: Some("0123456789abcdef".into()),
            reads: strings(&["crm.contacts"]),
            writes: strings(&["crm.notes"]),
            masked: strings(&["crm.contacts.phone"]),
            lookups: strings(&["crm.contacts.email"]),
            columns: Some(ColumnsRecord {
                projected: names(&["crm.contacts.id"]),
                truncated: true,
                ..ColumnsRecord::default()
            }),
            classes: names(&["phone"]),
            traps: vec!["vip".into()],
            enforced: Some(false),
            would: Some(Box::new(WouldRecord {
                verdict: VerdictRecord::Refuse,
                reason: Some("function".into()),
                rule: Some("role agent".into()),
                masked: strings(&["crm.contacts.phone"]).to_vec(),
                lookups: Vec::new(),
            })),
            trace: Some(Box::new(TraceRecord {
                trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
                parent_id: "b7ad6b7169203331".into(),
                sampled: true,
            })),
            verdict: Some(VerdictRecord::Rewrite),
            reason: Some("export_rows".into()),
            rule: Some("role agent".into()),
            policy_version: Some("3f2a".into()),
            rows: Some(3),
            bytes: Some(99),
            duration: Some(Duration::from_micros(187)),
            sqlstate: Some("57014".into()),
            message: Some("words".into()),
            ..Record::new(
                Event::ExportStop,
                SystemTime::UNIX_EPOCH + Duration::new(1_795_332_096, 1_234),
            )
        }
    }

    fn rendered(record: Record) -> Record {
        let session = Rendered::session(&record).expect("JSON");
        let statement = Rendered::statement(&record).expect("JSON");
        Record {
            rendered: Some(Rendered::new(session, statement)),
            ..record
        }
    }

    fn json(record: &Record) -> String {
        let mut out = Vec::new();
        record.to_json(&mut out).expect("JSON");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn a_record_in_parts_is_that_made_whole() {
        let empty = Record {
            session: Some(1),
            sequence: Some(1),
            ..bare()
        };
        let usual = Record {
            traps: Vec::new(),
            reason: None,
            rule: None,
            sqlstate: None,
            message: None,
            event: Event::Statement,
            ..full()
        };
        let bare = Record {
            would: None,
            enforced: None,
            trace: None,
            ..usual.clone()
        };
        let cut_short = Record {
            duration: None,
            ..bare.clone()
        };
        for record in [full(), usual, bare, cut_short, empty] {
            let whole = serde_json::to_string(&record).expect("JSON");
            assert_eq!(json(&rendered(record)), whole);
        }
    }

    #[test]
    fn a_record_that_is_of_no_statement_or_hides_rows_is_made_whole() {
        let lost = Record {
            lost: Some(3),
            ..full()
        };
        let outside = Record {
            outside: vec!["eu".into()],
            ..full()
        };
        for record in [lost, outside] {
            let whole = serde_json::to_string(&record).expect("JSON");
            assert_eq!(json(&rendered(record)), whole);
        }
    }

    #[test]
    fn the_parts_are_what_stands_in_the_line() {
        let record = rendered(full());
        let parts = record.rendered.clone().expect("rendered");
        let changed = Record {
            text: Some("changed since".into()),
            ..record.clone()
        };
        let whole = serde_json::to_string(&record).expect("JSON");
        let mut out = Vec::new();
        changed.put_together(&parts, &mut out).expect("JSON");
        assert_eq!(String::from_utf8(out).expect("UTF-8"), whole);
    }
}
