//! The records that no session writes: start, stop, policy, failed logins.
use std::sync::Arc;
use std::time::SystemTime;

use crate::admin::Metrics;
use crate::audit::{Event, Record, Spool, SpoolError};
use crate::export::desk::RecordFn;
use crate::session::login::LoginError;
use crate::session::proxy::append;
use crate::session::record;

/// Where those records go.
#[derive(Clone)]
pub struct Journal {
    pub spool: Arc<Spool>,
    pub metrics: Arc<Metrics>,
}

impl Journal {
    pub fn write(&self, record: &Record) -> Result<(), SpoolError> {
        append(&self.spool, &self.metrics, record)
    }

    /// [`Journal::write`] for whoever keeps records and knows nothing of spools.
    pub fn writer(&self) -> RecordFn {
        let journal = self.clone();
        Arc::new(move |record: &Record| journal.write(record).map_err(|error| error.to_string()))
    }

    /// Writes a record of something that has happened already: all that can be done without the disk is to say so.
    pub fn note(&self, record: &Record) {
        if let Err(error) = self.write(record) {
            tracing::error!(%error, event = record.event.label(), "an audit record is lost");
        }
    }

    pub fn event(&self, event: Event, message: String) -> Record {
        Record {
            message: Some(message),
            ..Record::new(event, SystemTime::now())
        }
    }
}

/// The user and database are what the client claimed.
pub fn login_failed(error: &LoginError) -> Record {
    Record {
        client_addr: Some(error.client_addr),
        tls: error.tls.as_ref().map(record::tls),
        db_user: error.db_user.as_deref().map(Arc::from),
        database: error.database.as_deref().map(Arc::from),
        application_name: error.application_name.as_deref().map(Arc::from),
        reason: Some(error.blame.as_str().into()),
        sqlstate: Some(error.sqlstate.clone().into()),
        message: Some(error.message.clone()),
        ..Record::new(Event::LoginFailed, SystemTime::now())
    }
}
