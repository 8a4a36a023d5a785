//! What happened, in a form that can be used as evidence: records, the hash chain over them, the spool on disk
//! and its verification.
//!
//! * [`record`]: the one shape of a record.
//! * [`schema`]: that shape as a JSON Schema.
//! * [`chain`]: how a record becomes a line that names the line before it.
//! * [`segment`]: one file of the spool, written so that a failed write leaves no trace.
//! * [`recover`]: finding the chain's end after a crash.
//! * [`spool`]: the chain as it is written.
//! * [`checkpoint`], [`key`]: signatures over the chain.
//! * [`retention`]: what becomes of old segments.
//! * [`sealed`]: full texts, for the eyes of one recipient.
//! * [`verify`]: the chain as it is checked.
//! * [`read`], [`entry`], [`range`]: the records as they are read back.
//! * [`search`], [`glob`], [`classes`]: finding some of them; [`csv`]: for spreadsheets.
//! * [`report`]: all of them summed up.
//! * [`detect`]: what is out of the ordinary in them; [`watch`] looks at each as it comes ([`tail`]), and opens an
//!   [`incident`].
//! * [`disk`]: room on it; [`durable`]: small files that are there whole or not at all.
//! * [`format`], [`sink`]: the records as others get them, and how they do.
pub mod chain;
pub mod checkpoint;
pub mod classes;
pub mod csv;
pub mod detect;
pub mod disk;
pub mod durable;
pub mod entry;
#[cfg(test)]
mod fixture;
pub mod format;
pub mod glob;
pub mod incident;
pub mod key;
pub mod range;
pub mod read;
pub mod record;
pub mod recover;
pub mod report;
pub mod retention;
pub mod schema;
pub mod sealed;
pub mod search;
pub mod segment;
pub mod sink;
pub mod spool;
pub mod tail;
pub mod verify;
pub mod watch;

pub use entry::Entry;
pub use read::{Line, Position, Reader};
pub use record::{
    AlarmRecord, ColumnsRecord, Event, ExportRecord, Record, Rendered, Signature, TlsRecord,
    TraceRecord, VerdictRecord, WouldRecord,
};
pub use spool::{Ack, Appended, Spool, SpoolError, SpoolSettings, Ticket};
