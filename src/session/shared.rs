//! What the two pumps share. Both run in one task, so the lock is never waited for; it is never held across an await.
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use crate::policy::compiled::RolePolicy;
use crate::session::ledger::{Ledger, Rules};
use crate::session::messages;
use crate::session::record::Recorder;
use crate::session::settings::{self, Touched};
use crate::sql::plan::{POISON, Plan, SessionFacts, StatementPlan};
use crate::wire::error::ErrorFields;

/// What pgveil's own question has brought so far.
#[derive(Debug, Default)]
pub struct OwnQuery {
    pub search_path: Option<String>,
    /// Goes to the client once the answer is there: the ReadyForQuery of the login.
    pub then: Option<Bytes>,
}

/// The encoding of what the client sends, as the server last reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encodings {
    pub client: String,
    pub server: String,
}

impl Encodings {
    /// Text reaches the server's lexer as the UTF-8 that pgveil analysed.
    pub fn is_utf8(&self) -> bool {
        let raw = ["SQL_ASCII", "UTF8"].contains(&self.server.as_str());
        self.client == "UTF8" || (self.client == "SQL_ASCII" && raw)
    }
}

#[derive(Debug)]
pub struct State {
    pub restricted: bool,
    pub ledger: Ledger,
    pub recorder: Recorder,
    pub role: Arc<RolePolicy>,
    pub facts: Arc<SessionFacts>,
    /// The search path may be another one than `facts` says.
    pub dirty: bool,
    /// pgveil's own question is under way.
    pub own: Option<OwnQuery>,
    /// What was changed in this transaction: its end may bring the old settings back.
    pub touched: Touched,
    /// A statement that may change the encoding is under way.
    pub unsettled: bool,
    pub encodings: Encodings,
    /// The schema was changed: the catalog is read again before the next plan.
    pub schema_changed: bool,
    /// How often pgveil's own question has failed in a row.
    pub own_failures: u32,
    /// The client was told of an error that the server does not know of: until ReadyForQuery nothing goes to it, ...
    pub muted: bool,
    /// ... and until its Sync nothing comes from it, as a server that skips would have it.
    pub dropping: bool,
    /// Told to the client after everything the server still has to say.
    pub last_word: Option<ErrorFields>,
    /// The server was told to end, or has said that it will.
    pub ending: bool,
    /// What was written to the server ends at a message's end.
    pub server_at_boundary: bool,
}

impl State {
    pub fn rules(restricted: bool, role: &RolePolicy) -> Rules {
        Rules {
            restricted,
            export_rows: role.export_rows,
        }
    }

    /// Another policy or catalog came into force.
    pub fn take_role(&mut self, role: Arc<RolePolicy>) {
        if Arc::ptr_eq(&self.role, &role) {
            return;
        }
        self.ledger.rules = State::rules(self.restricted, &role);
        self.role = role;
    }

    /// Follows what a statement about to run does to settings. The answers to come may show otherwise, but until
    /// then nothing may be planned on what was known before.
    pub fn foresee(&mut self, plan: &StatementPlan) {
        if settings::ends_transaction(plan.kind) {
            self.dirty |= self.touched.search_path;
            self.unsettled |= self.touched.encoding;
            return;
        }
        let touched = settings::touched(plan);
        self.dirty |= touched.search_path;
        self.unsettled |= touched.encoding;
        self.touched.merge(touched);
    }

    /// Whether a text changes the search path and then names something: what it names cannot be known before.
    pub fn names_after_change(&self, plan: &Plan) -> bool {
        let mut changed = false;
        for statement in &plan.statements {
            if changed && settings::resolves_names(statement.kind) {
                return true;
            }
            changed |= settings::touched(statement).search_path
                || (settings::ends_transaction(statement.kind) && self.touched.search_path);
        }
        false
    }
}

#[derive(Debug)]
pub struct Shared {
    state: Mutex<State>,
    /// The name of a statement and a portal that no client has: what must not exist is called so, and pgveil's own.
    pub own_name: String,
    /// Wakes the pump to the server when an answer has come.
    pub progress: Notify,
}

impl Shared {
    pub fn new(state: State) -> Self {
        let nonce = RandomState::new().build_hasher().finish();
        Shared {
            state: Mutex::new(state),
            own_name: format!("{POISON}_{nonce:016x}"),
            progress: Notify::new(),
        }
    }

    /// The messages that ask for the search path. SHOW needs no snapshot, so it changes nothing about the transaction
    /// it runs in.
    pub fn question(&self) -> BytesMut {
        let mut question = BytesMut::new();
        messages::put_batch(&mut question, &self.own_name, "SHOW search_path");
        question
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
