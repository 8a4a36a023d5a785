//! What the two pumps share. Both run in one task, so the lock is never waited for; it is never held across an await. What
//! is said before and after every read and write stands beside it.
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use crate::export::Purse;
use crate::policy::compiled::RolePolicy;
use crate::session::charset::Charset;
use crate::session::claim::{Claim, Naming};
use crate::session::ledger::{Ledger, Rules};
use crate::session::made::Made;
use crate::session::question::{Asks, Listed, OwnQuery};
use crate::session::record::Recorder;
use crate::session::settings::{self, Touched};
use crate::session::statements::{Statement, declares, prepares};
use crate::sql::plan::{Effect, POISON, Plan, SessionFacts, StatementPlan};
use crate::sql::temporary;
use crate::wire::error::ErrorFields;
use crate::wire::frame::{HEADER_LEN, put_frame};

/// Temporary relations whose makers are kept in mind; those beyond cannot be read.
const MAX_OWNERS: usize = 10_000;

/// The encoding of what the client sends, as the server last reported it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encodings {
    pub client: String,
    pub server: String,
}

impl Encodings {
    /// How the client's bytes are read.
    pub fn charset(&self) -> Charset {
        Charset::of(&self.client, &self.server)
    }
}

/// Who made a temporary relation.
#[derive(Debug)]
pub struct Owner {
    /// `None`: one of several, for there was another of its name, which may come back.
    claim: Option<Arc<Claim>>,
    /// Somebody else's statement that makes one of the name is under way.
    contested: bool,
}

/// What somebody says an export is for.
#[derive(Debug)]
pub struct Said {
    pub reason: String,
    /// Who says so.
    pub by: Arc<Claim>,
}

impl Said {
    /// The reason, for statements of who has said it.
    pub fn to(&self, claim: &Claim) -> Option<&str> {
        (self.by.app_user == claim.app_user).then_some(self.reason.as_str())
    }
}

#[derive(Debug)]
pub struct State {
    pub restricted: bool,
    /// How statements say who they are for.
    pub naming: Arc<Naming>,
    /// Who made which of the temporary relations, where statements are not all for the same.
    pub owners: BTreeMap<String, Owner>,
    /// An unrestricted session has sent or got what could not be attributed: the server is asked nothing any more.
    pub astray: bool,
    pub ledger: Ledger,
    pub recorder: Recorder,
    pub role: Arc<RolePolicy>,
    pub facts: Arc<SessionFacts>,
    /// To the server the session was somebody else than who logged in, and may be so again.
    pub is_other_user: bool,
    /// The search path may be another one than `facts` says.
    pub dirty: bool,
    /// So may the temporary relations.
    pub temporary_dirty: bool,
    /// The facts once everything has run well that was sent; `None`: they cannot be told, or something has failed since.
    pub foreseen: Option<Arc<SessionFacts>>,
    /// Temporary relations that statements of the client made, and that may still be there.
    pub made: Made,
    /// pgveil's own question is under way.
    pub own: Option<OwnQuery>,
    /// What was changed in this transaction: its end may bring the old settings back.
    pub touched: Touched,
    /// A statement that may change the encoding is under way.
    pub unsettled: bool,
    pub encodings: Encodings,
    /// The schema was changed: the catalog is read again before the next plan.
    pub schema_changed: bool,
    /// What the person says an export is for.
    pub reason: Option<Said>,
    /// How often pgveil's own question has failed in a row.
    pub own_failures: u32,
    /// The client was told of an error that the server does not know of: until ReadyForQuery nothing goes to it, ...
    pub muted: bool,
    /// ... and until its Sync nothing comes from it, as a server that skips would have it.
    pub dropping: bool,
    /// The statement that runs is being cancelled: nothing may be sent behind its batch, or the cancel could hit that.
    pub cancelling: bool,
    /// Told to the client after everything the server still has to say.
    pub last_word: Option<ErrorFields>,
    /// The server was told to end, or has said that it will.
    pub ending: bool,
}

impl State {
    pub fn rules(restricted: bool, role: &RolePolicy, purse: Option<Arc<Purse>>) -> Rules {
        Rules {
            restricted,
            export: Arc::clone(&role.export),
            purse,
        }
    }

    /// It matters what settings say of who is asking.
    pub fn watches(&self) -> bool {
        !self.naming.watched().is_empty()
    }

    /// Whether what was touched is read again before anything is planned.
    pub fn rereads(&self, touched: Touched) -> bool {
        touched.search_path || (touched.said && self.watches())
    }

    /// The role that a statement was planned for.
    pub fn role_of<'a>(&'a self, statement: &'a Statement) -> &'a RolePolicy {
        statement.source.role.as_ref().unwrap_or(&self.role)
    }

    /// The session's facts for somebody: temporary relations are there for who made them. What another filled with what
    /// only the other may see stays the other's.
    pub fn facts_for(&self, facts: Arc<SessionFacts>, claim: &Claim) -> Arc<SessionFacts> {
        let own = |name: &String| {
            let owner = self.owners.get(name).filter(|owner| !owner.contested);
            owner.is_some_and(|owner| owner.claim.as_deref() == Some(claim))
        };
        let mut made = facts.temporary.iter().chain(&facts.spoiled);
        if !self.naming.varies() || made.all(own) {
            return facts;
        }
        let mut facts = SessionFacts::clone(&facts);
        facts.spoiled.retain(own);
        let (own, others) = std::mem::take(&mut facts.temporary)
            .into_iter()
            .partition(own);
        facts.temporary = own;
        facts.shadows.extend(others);
        Arc::new(facts)
    }

    /// A statement is about to make temporary relations for somebody. Where one of the name is another's, it is nobody's to
    /// read until the answer tells whose it is.
    pub fn make(&mut self, plan: &StatementPlan, claim: &Arc<Claim>) {
        for name in self.to_be_owned(plan) {
            let owner = self.owners.entry(name).or_insert_with(|| Owner {
                claim: Some(Arc::clone(claim)),
                contested: false,
            });
            owner.contested |= owner.claim.as_deref() != Some(claim);
        }
    }

    /// A statement has made temporary relations for somebody. What it took the place of may come back with the transaction.
    pub fn has_made(&mut self, plan: &StatementPlan, claim: &Arc<Claim>) {
        for name in self.to_be_owned(plan) {
            if let Some(owner) = self.owners.get_mut(&name)
                && owner.claim.as_deref() != Some(claim)
            {
                owner.claim = None;
            }
        }
    }

    /// Nothing is under way that could make any.
    pub fn nothing_contested(&mut self) {
        for owner in self.owners.values_mut() {
            owner.contested = false;
        }
    }

    /// Names of temporary relations that a statement makes, as far as it matters for whom.
    fn to_be_owned(&self, plan: &StatementPlan) -> Vec<String> {
        if !self.naming.varies() {
            return Vec::new();
        }
        let room = self.owners.len() < MAX_OWNERS;
        let made = plan.effects.iter().filter_map(|effect| match effect {
            Effect::TemporaryMade(name) => Some(name),
            _ => None,
        });
        made.filter(|name| room || self.owners.contains_key(*name))
            .cloned()
            .collect()
    }

    /// An error or notice as the client reads it.
    pub fn encoded(&self, words: &ErrorFields, tag: u8) -> Bytes {
        let frame = words.frame(tag);
        let body = frame.get(HEADER_LEN..).unwrap_or_default();
        let charset = self.encodings.charset();
        match std::str::from_utf8(body) {
            Ok(text) if charset != Charset::Utf8 && !text.is_ascii() => {
                let mut recoded = BytesMut::with_capacity(frame.len());
                put_frame(&mut recoded, tag, &charset.encode_lossy(text));
                recoded.freeze()
            }
            _ => frame,
        }
    }

    /// Another policy or catalog came into force.
    pub fn take_role(&mut self, role: Arc<RolePolicy>) {
        if Arc::ptr_eq(&self.role, &role) {
            return;
        }
        let purse = self.ledger.rules.purse.take();
        self.ledger.rules = State::rules(self.restricted, &role, purse);
        self.recorder.under(&role.policy);
        self.role = role;
    }

    /// What a statement may change by another one that it runs: EXECUTE, FETCH. `earlier`: those before it in its text.
    fn touched_within(&self, plan: &StatementPlan, earlier: &[StatementPlan]) -> Touched {
        let mut touched = Touched::default();
        for effect in &plan.effects {
            let (name, is_cursor) = match effect {
                Effect::Execute(name) | Effect::Explain(name) => (name.as_str().into(), false),
                Effect::Fetch(name) => (name.as_str().into(), true),
                _ => continue,
            };
            let makes = match is_cursor {
                true => declares,
                false => prepares,
            };
            let mut before = earlier.iter().rev();
            touched.merge(match before.find(|plan| makes(&plan.effects, &name)) {
                Some(here) => settings::touched_by(Some(here)),
                None => {
                    let sent = match is_cursor {
                        true => self.ledger.portal_as_sent(&name),
                        false => self.ledger.prepared_as_sent(&name),
                    };
                    let sent = sent.statement.as_ref();
                    settings::touched_by(sent.and_then(Statement::plan))
                }
            });
        }
        touched
    }

    /// A statement that stores rows of protected relations was stopped, or has failed. What the server takes back of it
    /// leaves traces (where later rows have their place, how large a table is): if it was to write one of the session's own
    /// relations, none of them is read again before it is made anew. What is written with it (what a foreign key
    /// carries on) is not told.
    pub fn spoil(&mut self, plan: &StatementPlan) {
        const OWN: &str = "pg_temp.";
        if !plan.writes.iter().any(|name| name.starts_with(OWN)) {
            return;
        }
        self.made.forget_all();
        let facts = [Some(&mut self.facts), self.foreseen.as_mut()];
        for facts in facts.into_iter().flatten() {
            Arc::make_mut(facts).spoil_temporary();
        }
    }

    /// Follows what a statement about to run does to settings. The answers to come may show otherwise, but until
    /// then nothing may be planned on what was known before.
    pub fn foresee(&mut self, plan: &StatementPlan, earlier: &[StatementPlan]) {
        if !self.dirty && !self.temporary_dirty {
            self.foreseen = Some(Arc::clone(&self.facts));
        }
        let within = self.touched_within(plan, earlier);
        if !settings::foreseeable(plan, within, self.touched, self.watches()) {
            self.foreseen = None;
        }
        if settings::ends_transaction(plan.kind) {
            self.suspect(self.touched);
            return;
        }
        let mut touched = settings::touched(plan);
        touched.merge(within);
        let readable = |facts: &Arc<SessionFacts>| !facts.temporary.is_empty();
        if settings::runs_code(plan)
            && (!self.made.is_empty() || self.foreseen.as_ref().is_some_and(readable))
        {
            touched.temporary = true;
            // Until the server has been asked, none of them is the session's own.
            if let Some(foreseen) = &mut self.foreseen {
                Arc::make_mut(foreseen).hide_temporary();
            }
        }
        self.suspect(touched);
        self.touched.merge(touched);
        if touched.names()
            && let Some(foreseen) = &self.foreseen
        {
            self.foreseen = temporary::after(foreseen, &plan.effects).map(Arc::new);
        }
    }

    /// What may have been changed is read again before it is relied on.
    pub fn suspect(&mut self, touched: Touched) {
        self.dirty |= self.rereads(touched);
        self.temporary_dirty |= touched.temporary;
        self.unsettled |= touched.encoding;
    }

    /// Whether a text names something where what it names cannot be told before it runs.
    pub fn names_after_change(&self, plan: &Plan) -> bool {
        let watches = self.watches();
        let mut unknown = false;
        let mut before = self.touched;
        for (index, statement) in plan.statements.iter().enumerate() {
            let continues = watches && settings::continues(statement.kind);
            let names = settings::resolves_names(statement.kind) && !statement.pathless;
            if unknown && (continues || names) {
                return true;
            }
            let earlier = plan.statements.get(..index).unwrap_or_default();
            let within = self.touched_within(statement, earlier);
            unknown |= !settings::foreseeable(statement, within, before, watches);
            before.merge(settings::touched(statement));
            before.merge(within);
        }
        false
    }

    /// pgveil's own question was answered.
    pub fn learn(&mut self, own: OwnQuery, search_path: String) {
        let in_transaction = self.ledger.transaction() == Some(b'T');
        let mut facts = SessionFacts::clone(&self.facts);
        facts.search_path = search_path;
        if let Some(user) = own.user {
            self.is_other_user |= user != facts.user;
            facts.user = user;
        }
        facts.said.clone_from(&own.said);
        self.dirty = false;
        self.touched.search_path &= in_transaction;
        self.touched.said &= in_transaction;
        self.own_failures = 0;
        if own.asks == Asks::Temporary {
            let mut temporary = BTreeSet::new();
            let mut shadows = BTreeSet::new();
            if !in_transaction {
                // Nothing that is gone can come back.
                let listed: BTreeSet<&String> =
                    own.temporary.iter().map(|(name, _)| name).collect();
                self.made.retain(&listed);
                self.owners.retain(|name, _| listed.contains(name));
            }
            for (name, listed) in own.temporary {
                let own = match listed {
                    Listed::Table(oid) => self.made.meets(&name, oid),
                    Listed::Other => true,
                };
                match own {
                    true => temporary.insert(name),
                    false => shadows.insert(name),
                };
            }
            facts.spoiled.retain(|name| shadows.contains(name));
            facts.temporary = temporary;
            facts.shadows = shadows;
            self.temporary_dirty = false;
            self.touched.temporary &= in_transaction;
        }
        if *self.facts != facts {
            self.facts = Arc::new(facts);
        }
        self.foreseen = Some(self.facts.clone());
    }
}

#[derive(Debug)]
pub struct Shared {
    state: Mutex<State>,
    /// The name of a statement and a portal that no client has: what must not exist is called so, and pgveil's own.
    pub own_name: String,
    /// Wakes the pump to the server when an answer has come.
    pub progress: Notify,
    /// Everything that the client has said was decided on and went on.
    client_waits: AtomicBool,
    /// What was written to the server ends at a message's end.
    server_at_boundary: AtomicBool,
}

impl Shared {
    /// `client_waits`: nothing of the client has been read that was not decided on.
    pub fn new(state: State, client_waits: bool) -> Self {
        let nonce = RandomState::new().build_hasher().finish();
        Shared {
            state: Mutex::new(state),
            own_name: format!("{POISON}_{nonce:016x}"),
            progress: Notify::new(),
            client_waits: AtomicBool::new(client_waits),
            server_at_boundary: AtomicBool::new(true),
        }
    }

    pub fn client_waits(&self) -> bool {
        self.client_waits.load(Ordering::Relaxed)
    }

    pub fn set_client_waits(&self, waits: bool) {
        self.client_waits.store(waits, Ordering::Relaxed);
    }

    pub fn server_at_boundary(&self) -> bool {
        self.server_at_boundary.load(Ordering::Relaxed)
    }

    pub fn set_server_at_boundary(&self, is_there: bool) {
        self.server_at_boundary.store(is_there, Ordering::Relaxed);
    }

    /// A question, and the messages that ask it.
    pub fn question(&self, asks: Asks) -> (OwnQuery, BytesMut) {
        let naming = Arc::clone(&self.lock().naming);
        asks.question(naming.watched(), &self.own_name)
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
