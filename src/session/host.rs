//! What a session asks of the process around it. The pumps know this seam and nothing behind it.
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::audit::Record;
use crate::audit::sealed::{self, Sealed};
use crate::catalog::Oid;
use crate::export::Purse;
use crate::policy::compiled::RolePolicy;
use crate::session::asker::Asker;
use crate::session::claim::Claim;
use crate::session::exports::{Decision, Excess};
use crate::session::statements::{Clear, Epoch, Granted};
use crate::sql::plan::{Plan, Refusal, SessionFacts};

/// The role of a session under the catalog and the policy in force.
#[derive(Debug, Clone)]
pub struct Standing {
    pub role: Arc<RolePolicy>,
    pub asker: Arc<Asker>,
    pub epoch: Epoch,
}

#[derive(Debug, Clone)]
pub struct Planned {
    pub plan: Arc<Plan>,
    pub standing: Standing,
}

/// Nothing can be decided.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unavailable {
    /// The database's catalog could not be read, or its policy not be compiled.
    #[error("{0}")]
    Schema(String),
    /// The session is about to end.
    #[error("the policy in force has another role for the session's user, or none")]
    Dismissed,
    /// Who is in which group is not known.
    #[error("the directory of people is not available")]
    Directory,
}

/// The record could not be written, and what it is about must not happen without.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the audit record could not be written: {0}")]
pub struct Unrecorded(pub String);

/// On the heap: few sessions wait.
pub type Settling<'a> = Pin<Box<dyn Future<Output = Result<(), Unrecorded>> + Send + 'a>>;

pub trait Host: Send + Sync + 'static {
    /// Decides about a text for who is claimed to send it.
    fn plan(
        &self,
        text: Arc<str>,
        facts: Arc<SessionFacts>,
        claim: Arc<Claim>,
    ) -> impl Future<Output = Result<Planned, Unavailable>> + Send;

    /// The role of who is claimed to be asking as it stands now; cheap.
    fn standing(
        &self,
        claim: Arc<Claim>,
    ) -> impl Future<Output = Result<Standing, Unavailable>> + Send;

    /// Whether the session's user still has the role that the session was begun with; cheap.
    fn holds(&self) -> bool;

    /// Comes to pass when that is not so any more.
    fn dismissed(&self) -> impl Future<Output = ()> + Send;

    /// Why a parameter may not have that type; cheap.
    fn parameter_objection(
        &self,
        oid: Oid,
        claim: Arc<Claim>,
    ) -> impl Future<Output = Option<Refusal>> + Send;

    /// Reads the catalog again: a statement of this session has changed the schema. Done, for a restricted role, when the
    /// next plan will be made on what was read; an unrestricted one is not kept waiting.
    fn schema_changed(&self) -> impl Future<Output = ()> + Send;

    /// Encrypts what a statement says for the one who may read it; `None` where nobody may.
    fn seal(&self, clear: &sealed::Clear) -> Option<Sealed>;

    /// Records can be written, or this session may go on without; cheap.
    fn can_record(&self) -> bool;

    /// Appends a record. That of a statement need not be kept before [`Host::settling`] says so. `protected`: of a statement,
    /// whether it read a protected relation.
    ///
    /// # Errors
    /// The spool failed, and for this role nothing may go on without a record.
    fn record(&self, record: &Record, protected: bool) -> Result<(), Unrecorded>;

    /// What has to come to pass before the client gets anything that the session's records so far are about; `None`:
    /// nothing.
    ///
    /// # Errors
    /// The records are not known to be kept, and for this role nothing may go on without them.
    fn settling(&self) -> Option<Settling<'_>>;

    /// What the session's person has in hand; `None`: nothing is limited over results.
    fn purse(&self) -> Option<Arc<Purse>>;

    /// Decides about a row that a limit stands in the way of.
    fn exceeded(&self, excess: Excess) -> impl Future<Output = Decision> + Send;

    /// Somebody has a grant that takes masks off; cheap.
    fn grants_clear(&self) -> bool;

    /// A text without the masks that a grant of this person takes off it, and what those are; cheap where there is none.
    /// `whole`: the values that it runs with are in it, and the grant is for them.
    fn clear_plan(
        &self,
        text: Arc<str>,
        facts: Arc<SessionFacts>,
        excess: Excess,
        whole: bool,
    ) -> impl Future<Output = Option<(Arc<Plan>, Clear)>> + Send;

    /// Whether there is a grant that takes masks off a statement with these values; cheap.
    fn has_clear(&self, excess: Excess) -> impl Future<Output = bool> + Send;

    /// Uses the grant that takes the masks of these classes off a statement.
    fn redeem(&self, excess: Excess, clear: Clear) -> impl Future<Output = Option<Granted>> + Send;

    /// Cancels what the session's backend is running. Done once the server has closed the cancel connection: a
    /// cancel can then no longer hit a later statement.
    fn cancel(&self) -> impl Future<Output = ()> + Send + 'static;
}

/// Limits of one session.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of a Query or Parse message that is planned.
    pub statement_bytes: u64,
    /// How long a running transaction may take to finish once pgveil is to end.
    pub drain: Duration,
}
