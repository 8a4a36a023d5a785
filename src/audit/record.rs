//! One audit record: what is written about a statement, a login, a refusal.
use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

mod event;
mod export;
mod rendered;

pub use self::event::Event;
pub use self::export::{ExportRecord, Signature};
pub use self::rendered::Rendered;

use super::checkpoint::{Checkpoint, Tombstone};
use super::sealed::Sealed;

/// Raised when a field changes its meaning or goes away; new fields do not raise it.
pub const SCHEMA_VERSION: u32 = 1;

/// What was decided about a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerdictRecord {
    /// It ran as the client sent it.
    Pass,
    /// Another text ran in its place, in which protected relations are masked and their rows chosen.
    Rewrite,
    /// It did not run.
    Refuse,
}

impl VerdictRecord {
    pub const fn label(self) -> &'static str {
        match self {
            VerdictRecord::Pass => "pass",
            VerdictRecord::Rewrite => "rewrite",
            VerdictRecord::Refuse => "refuse",
        }
    }
}

/// What would have been decided about a statement if its role were enforced. It ran as the client sent it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WouldRecord {
    /// What would have been decided.
    pub verdict: VerdictRecord,
    /// Label of why it would have been refused, or its result stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'static, str>>,
    /// The rule behind the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// `schema.table.column` of the columns that would have been masked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub masked: Vec<String>,
    /// `schema.table.column` of those that would have been looked up by their stored value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lookups: Vec<String>,
}

/// What raised an alarm. Who, and in which words, stand in the record itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct AlarmRecord {
    /// Label of `pgveil_alarms_total`.
    pub alarm: &'static str,
    /// The incident that it opened or belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incident: Option<String>,
    /// Sequence numbers of the records that raised it; the last ones where there are many.
    pub records: Vec<u64>,
}

/// The TLS of a client's connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TlsRecord {
    /// As PostgreSQL's `pg_stat_ssl` names it: `TLSv1.3`.
    pub version: String,
    /// As OpenSSL names it: `TLS_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// Of the client's certificate, as RFC 4514 writes distinguished names; empty where the certificate has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// The trace that a statement is part of (W3C Trace Context), as its text said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TraceRecord {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// Of the span in which the statement was sent: 16 hexadecimal digits.
    pub parent_id: String,
    /// Whether the trace is kept.
    pub sampled: bool,
}

/// The columns that a statement uses, as `schema.table.column`.
///
/// A relation that the catalog did not know stands under the name the statement gave it, all its columns as `*`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ColumnsRecord {
    /// Their values reach the result, or are stored in another relation.
    #[serde(serialize_with = "names", skip_serializing_if = "<[_]>::is_empty")]
    pub projected: Arc<[Arc<str>]>,
    /// They take part in finding, joining, grouping or sorting rows, or are named where their values go nowhere.
    #[serde(serialize_with = "names", skip_serializing_if = "<[_]>::is_empty")]
    pub filtered: Arc<[Arc<str>]>,
    /// The statement assigns to them.
    #[serde(serialize_with = "names", skip_serializing_if = "<[_]>::is_empty")]
    pub written: Arc<[Arc<str>]>,
    /// There are more than are listed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// One record. Fields that do not apply are left out of the line.
///
/// No literal, parameter or result value is ever put into it: `text` is the normalised text, `message` is pgveil's
/// own words.
///
/// What stays the same for a session is cheap to clone, so a session keeps one record as its template:
/// ```
/// use pgveil::audit::{Event, Record};
/// use std::time::SystemTime;
///
/// let session = Record { session: Some(7), role: Some("agent".into()), ..Record::new(Event::Login, SystemTime::UNIX_EPOCH) };
/// let statement = Record { event: Event::Statement, sequence: Some(1), kind: Some("SELECT".into()), ..session.clone() };
/// assert!(serde_json::to_string(&statement).unwrap().starts_with(
///     r#"{"schema_version":1,"time":"1970-01-01T00:00:00.000000Z","event":"statement","session":7,"sequence":1"#));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Record {
    /// Of the shape of records. It rises when a field changes its meaning or goes away, not when one is added.
    pub schema_version: u32,
    /// When the event ended. RFC 3339, UTC, microseconds.
    #[serde(serialize_with = "in_rfc3339")]
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: SystemTime,
    /// What the record is about.
    pub event: Event,
    /// Names the chain, in its first record only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<String>,
    /// Unique while the process lives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<u64>,
    /// Of the record within its session, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// Address and port of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_addr: Option<SocketAddr>,
    /// The TLS of the client's connection; absent where it has none.
    #[serde(serialize_with = "shared", skip_serializing_if = "Option::is_none")]
    pub tls: Option<Arc<TlsRecord>>,
    /// The user that logged in to the database.
    #[serde(serialize_with = "shared", skip_serializing_if = "Option::is_none")]
    pub db_user: Option<Arc<str>>,
    /// The person behind a shared database user, where the application names one.
    #[serde(serialize_with = "shared", skip_serializing_if = "Option::is_none")]
    pub app_user: Option<Arc<str>>,
    /// Who acted: at the console or its API, or the person whom the policy's `people` name behind the database user.
    #[serde(serialize_with = "shared", skip_serializing_if = "Option::is_none")]
    pub person: Option<Arc<str>>,
    /// What the statement is for, as the session or the policy says.
    #[serde(serialize_with = "shared", skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Arc<str>>,
    /// Regions whose rows were left out of the relations that the statement names, for the session comes from elsewhere.
    #[serde(serialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub outside: Vec<Arc<str>>,
    /// The role of the policy that the session has; of a shared database user, that the person has.
    #[serde(serialize_with = "shared", skip_serializing_if = "Option::is_none")]
    pub role: Option<Arc<str>>,
    /// As the client names itself.
    #[serde(serialize_with = "shared", skip_serializing_if = "Option::is_none")]
    pub application_name: Option<Arc<str>>,
    /// The database of the session.
    #[serde(serialize_with = "shared", skip_serializing_if = "Option::is_none")]
    pub database: Option<Arc<str>>,
    /// Of the statement: `SELECT`, `INSERT`, `BEGIN`, ...
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Cow<'static, str>>,
    /// The statement with its literals replaced by `$n`.
    #[serde(serialize_with = "shared", skip_serializing_if = "Option::is_none")]
    pub text: Option<Arc<str>>,
    /// Of the normalised text, 16 hexadecimal digits.
    #[serde(serialize_with = "shared", skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Arc<str>>,
    /// `schema.name` of the relations read.
    #[serde(serialize_with = "slice", skip_serializing_if = "<[_]>::is_empty")]
    pub reads: Arc<[String]>,
    /// `schema.name` of the relations written.
    #[serde(serialize_with = "slice", skip_serializing_if = "<[_]>::is_empty")]
    pub writes: Arc<[String]>,
    /// `schema.table.column` of the masked columns that the statement can reach.
    #[serde(serialize_with = "slice", skip_serializing_if = "<[_]>::is_empty")]
    pub masked: Arc<[String]>,
    /// `schema.table.column` of the masked columns that were looked up by their stored value.
    #[serde(serialize_with = "slice", skip_serializing_if = "<[_]>::is_empty")]
    pub lookups: Arc<[String]>,
    /// The columns that the statement uses, and what for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub columns: Option<ColumnsRecord>,
    /// Classes of data, as the policy names them, that these columns belong to; masked for the role or not.
    #[serde(serialize_with = "names", skip_serializing_if = "<[_]>::is_empty")]
    pub classes: Arc<[Arc<str>]>,
    /// Honeytoken rows, as the policy names them, that the statement looks for or that came out of it.
    #[serde(serialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub traps: Vec<Arc<str>>,
    /// `false`: the rules of the role are not in force (`enforce: false`). The record says what was done, `would` what would
    /// have been.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforced: Option<bool>,
    /// What the rules of a role that is not enforced would have done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would: Option<Box<WouldRecord>>,
    /// What was decided about the statement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<VerdictRecord>,
    /// Label of why a statement was refused or a result stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Cow<'static, str>>,
    /// The rule behind the reason, as the client's DETAIL gives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Of the policies that the session stands under.
    #[serde(serialize_with = "shared", skip_serializing_if = "Option::is_none")]
    pub policy_version: Option<Arc<str>>,
    /// Rows sent to the client, or copied from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Bytes of those rows on the wire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Seconds.
    #[serde(serialize_with = "seconds", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<f64>")]
    pub duration: Option<Duration>,
    /// Of the error in which the statement or login ended; absent where it ended well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<Cow<'static, str>>,
    /// The trace that the statement is part of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<Box<TraceRecord>>,
    /// The export request that the record is about, or the grant that the statement ran under.
    #[serde(serialize_with = "shared", skip_serializing_if = "Option::is_none")]
    pub export: Option<Arc<ExportRecord>>,
    /// What else there is to say, in pgveil's words; never data.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The statement with its values, for one recipient's eyes, where the role's policy says `audit: { text: full }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Box<Sealed>>,
    /// The signature, in a record of the event `checkpoint`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Box<Checkpoint>>,
    /// What was removed, in a record of the event `retention`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tombstone: Option<Box<Tombstone>>,
    /// Records that could not be written since the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// What raised an alarm, in a record of the event `alarm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alarm: Option<Box<AlarmRecord>>,
    /// Parts of it as JSON, where they were made before; what they say is in the fields, too.
    #[serde(skip)]
    #[schemars(skip)]
    pub rendered: Option<Rendered>,
}

impl Record {
    /// A record that says only what happened and when.
    pub fn new(event: Event, time: SystemTime) -> Self {
        Record {
            schema_version: SCHEMA_VERSION,
            time,
            event,
            chain: None,
            session: None,
            sequence: None,
            client_addr: None,
            tls: None,
            db_user: None,
            app_user: None,
            purpose: None,
            outside: Vec::new(),
            person: None,
            role: None,
            application_name: None,
            database: None,
            kind: None,
            text: None,
            fingerprint: None,
            reads: Arc::default(),
            writes: Arc::default(),
            masked: Arc::default(),
            lookups: Arc::default(),
            columns: None,
            classes: Arc::default(),
            traps: Vec::new(),
            enforced: None,
            would: None,
            verdict: None,
            reason: None,
            rule: None,
            policy_version: None,
            rows: None,
            bytes: None,
            duration: None,
            sqlstate: None,
            trace: None,
            export: None,
            message: None,
            sealed: None,
            checkpoint: None,
            tombstone: None,
            lost: None,
            alarm: None,
            rendered: None,
        }
    }
}

/// `2026-11-22T07:21:36.000001Z`. A clock before 1970 or after 9999 gives the epoch: a record with a wrong time is
/// better than none.
pub fn rfc3339(time: SystemTime) -> String {
    let mut text = String::with_capacity(27);
    // `format_rfc3339_micros` panics on a time before the epoch.
    let time = time.max(SystemTime::UNIX_EPOCH);
    if write!(text, "{}", humantime::format_rfc3339_micros(time)).is_err() {
        text.clear();
        text.push_str("1970-01-01T00:00:00.000000Z");
    }
    text
}

/// Digits of a time behind its whole seconds: `.000001Z`.
const FRACTION: usize = ".000000Z".len();
/// Seconds from 1970 to the first year of five digits.
const YEAR_10000: u64 = 253_402_300_800;

thread_local! {
    /// The second that this thread wrote last, and the text of it. Most records are of the same second as the one before.
    static SECOND: RefCell<(u64, Vec<u8>)> = const { RefCell::new((0, Vec::new())) };
}

/// Appends what [`rfc3339`] gives.
fn put_rfc3339(out: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let Some(since) = since.ok().filter(|since| since.as_secs() < YEAR_10000) else {
        out.extend_from_slice(rfc3339(time).as_bytes());
        return;
    };
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != since.as_secs() || text.is_empty() {
            text.clear();
            text.extend_from_slice(rfc3339(time).as_bytes());
            *second = since.as_secs();
        }
        let Some((seconds, fraction)) = text.split_last_chunk_mut::<FRACTION>() else {
            return;
        };
        let mut left = since.subsec_micros();
        for digit in fraction.iter_mut().rev().skip(1).take(6) {
            *digit = b'0' + u8::try_from(left % 10).unwrap_or_default();
            left /= 10;
        }
        out.extend_from_slice(seconds);
        out.extend_from_slice(fraction);
    });
}

fn in_rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*time))
}

/// An `Arc` by its content, without serde's `rc` feature.
fn shared<T, S>(value: &Option<Arc<T>>, serializer: S) -> Result<S::Ok, S::Error>
where
    T: Serialize + ?Sized,
    S: Serializer,
{
    match value {
        Some(value) => value.serialize(serializer),
        None => serializer.serialize_none(),
    }
}

fn names<S: Serializer>(names: &Arc<[Arc<str>]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(names.iter().map(AsRef::as_ref))
}

fn slice<S: Serializer>(names: &Arc<[String]>, serializer: S) -> Result<S::Ok, S::Error> {
    names.serialize(serializer)
}

fn list<S: Serializer>(names: &[Arc<str>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(names.iter().map(AsRef::as_ref))
}

fn seconds<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.serialize_f64(value.as_secs_f64()),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(record: &Record) -> String {
        serde_json::to_string(record).expect("a record serialises")
    }

    #[test]
    fn fields_that_do_not_apply_are_left_out() {
        let record = Record::new(Event::Start, SystemTime::UNIX_EPOCH);
        assert_eq!(
            json(&record),
            r#"{"schema_version":1,"time":"1970-01-01T00:00:00.000000Z","event":"start"}"#
        );
    }

    #[test]
    fn time_has_microseconds_and_duration_is_in_seconds() {
        let record = Record {
            duration: Some(Duration::from_micros(1500)),
            ..Record::new(
                Event::Statement,
                SystemTime::UNIX_EPOCH + Duration::new(1_795_332_096, 1_234),
            )
        };
        assert_eq!(
            json(&record),
            r#"{"schema_version":1,"time":"2026-11-22T07:21:36.000001Z","event":"statement","duration":0.0015}"#
        );
    }

    #[test]
    fn a_time_is_written_alike_whatever_was_written_before() {
        let at = |seconds, nanos| SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
        let times = [
            at(0, 0),
            at(0, 999_999_999),
            at(1_795_332_096, 1_234),
            at(1_795_332_096, 120_000_000),
            at(1_795_332_095, 7_000),
            at(YEAR_10000 - 1, 5_000),
            at(YEAR_10000, 5_000),
            // The epoch stands for it, with nothing behind its seconds.
            at(1 << 38, 5_000),
            at(1 << 38, 6_000),
            at(1_795_332_096, 999_999_000),
            SystemTime::UNIX_EPOCH - Duration::from_micros(1),
        ];
        for (first, second) in times
            .iter()
            .flat_map(|one| times.map(|other| (*one, other)))
        {
            let mut out = Vec::new();
            put_rfc3339(&mut out, first);
            put_rfc3339(&mut out, second);
            let expected = rfc3339(first) + &rfc3339(second);
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }

    #[test]
    fn a_clock_out_of_range_does_not_stop_the_record() {
        let epoch = SystemTime::UNIX_EPOCH;
        let (before, after) = (Duration::from_secs(1), Duration::from_secs(1 << 38));
        for time in [epoch - before, epoch + after] {
            let record = Record::new(Event::Start, time);
            assert!(json(&record).contains("1970-01-01T00:00:00.000000Z"));
        }
    }

    #[test]
    fn a_line_holds_no_raw_newline_whatever_the_text_holds() {
        let record = Record {
            text: Some("SELECT $1\nFROM \"a\u{0}b\"".into()),
            ..Record::new(Event::Statement, SystemTime::UNIX_EPOCH)
        };
        assert!(!json(&record).contains('\n'));
    }
}
