//! What the two pumps share. Both run in one task, so the lock is never waited for; it is never held across an await.
use std::borrow::Cow;
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::Notify;

use crate::catalog::Oid;
use crate::export::Purse;
use crate::policy::compiled::RolePolicy;
use crate::session::charset::Charset;
use crate::session::claim::{Claim, Naming};
use crate::session::ledger::{Ledger, Rules};
use crate::session::made::Made;
use crate::session::messages::{self, Name};
use crate::session::record::Recorder;
use crate::session::settings::{self, Touched};
use crate::session::statements::{Statement, declares, prepares};
use crate::sql::plan::{Effect, POISON, Plan, SessionFacts, StatementPlan};
use crate::sql::temporary;
use crate::wire::error::ErrorFields;
use crate::wire::frame::{HEADER_LEN, put_frame};

/// Names of temporary relations that are kept from being read at most; those beyond cannot be read at all.
const MAX_WITHHELD: usize = 10_000;

/// The search path behind a `p`, the user behind a `u`, and the names in the session's temporary schema: behind a `t` those of
/// tables, behind an `o` those of indexes and sequences, each behind its OID. In hexadecimal digits of UTF-8: the client's encoding may
/// lack their letters.
const TEMPORARY_RELATIONS: &str = "SELECT 'p' OPERATOR(pg_catalog.||) pg_catalog.current_setting('search_path') \
     UNION ALL SELECT CASE WHEN c.relkind OPERATOR(pg_catalog.=) 'i' OR c.relkind OPERATOR(pg_catalog.=) 'S' \
     THEN 'o' ELSE 't' END OPERATOR(pg_catalog.||) c.oid::pg_catalog.text OPERATOR(pg_catalog.||) ':' OPERATOR(pg_catalog.||) \
     pg_catalog.encode(pg_catalog.convert_to(c.relname::pg_catalog.text, 'UTF8'), 'hex') \
     FROM pg_catalog.pg_class c WHERE c.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema() \
     UNION ALL SELECT 'u' OPERATOR(pg_catalog.||) CURRENT_USER::pg_catalog.text";

/// The search path behind a `p`, `client_min_messages` behind an `m`, behind a `u` the user whose schema `"$user"` is.
const LOGIN: &str = "SELECT 'p' OPERATOR(pg_catalog.||) pg_catalog.current_setting('search_path') \
     UNION ALL SELECT 'm' OPERATOR(pg_catalog.||) pg_catalog.current_setting('client_min_messages') \
     UNION ALL SELECT 'u' OPERATOR(pg_catalog.||) CURRENT_USER::pg_catalog.text";

/// What pgveil asks the server on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Asks {
    /// The search path alone. SHOW needs no snapshot, so it changes nothing about the transaction it runs in.
    #[default]
    Path,
    /// Also what `ALTER ROLE ... SET` may have preset and the server does not report.
    Login,
    /// The same later on, of a session that began as another user: that one may have become who logged in again.
    User,
    /// Also the session's temporary relations: only after a statement that changes them, which has taken a snapshot.
    Temporary,
}

impl Asks {
    const fn text(self) -> &'static str {
        match self {
            Asks::Path => "SHOW search_path",
            Asks::Login | Asks::User => LOGIN,
            Asks::Temporary => TEMPORARY_RELATIONS,
        }
    }
}

/// What pgveil's own question has brought so far.
#[derive(Debug, Default)]
pub struct OwnQuery {
    pub asks: Asks,
    /// How many of its questions were answered to the end, ...
    pub ended: usize,
    /// ... and how many there are besides the first.
    pub further: usize,
    /// What settings say of who is asking, in the order in which they are asked for.
    pub said: Vec<String>,
    pub search_path: Option<String>,
    /// `client_min_messages`.
    pub verbosity: Option<String>,
    /// Who the session is to the server (`ALTER ROLE ... SET role`).
    pub user: Option<String>,
    /// Names in the session's temporary schema, and what goes by them.
    pub temporary: Vec<(String, Listed)>,
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
    /// How the client's bytes are read.
    pub fn charset(&self) -> Charset {
        Charset::of(&self.client, &self.server)
    }
}

#[derive(Debug)]
pub struct State {
    pub restricted: bool,
    /// How statements say who they are for.
    pub naming: Arc<Naming>,
    /// Who made which of the temporary relations, where statements are not all for the same.
    pub owners: BTreeMap<String, Arc<Claim>>,
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
    /// Temporary relations that hold more rows than the role may take out.
    pub withheld: BTreeSet<String>,
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
    pub reason: Option<String>,
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
    /// Everything that the client has said was decided on and went on.
    pub client_waits: bool,
    /// What was written to the server ends at a message's end.
    pub server_at_boundary: bool,
}

/// Something in the session's temporary schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// A table or view, by its OID.
    Table(Oid),
    /// An index or sequence.
    Other,
}

impl OwnQuery {
    /// Everything that was asked for has come.
    pub fn is_complete(&self) -> bool {
        self.ended == 1 + self.further && self.said.len() == self.further
    }

    /// Takes a row's only column.
    pub fn row(&mut self, value: &[u8], charset: Charset) {
        let text = charset.decode(value).ok();
        if self.ended > 0 {
            // What cannot be read is no name either.
            self.said
                .push(text.map_or_else(|| "\0".to_owned(), Cow::into_owned));
            return;
        }
        if self.asks == Asks::Path {
            self.search_path = text.map(Cow::into_owned);
            return;
        }
        match text.as_deref().and_then(|text| text.split_at_checked(1)) {
            Some(("p", path)) => self.search_path = Some(path.to_owned()),
            Some(("m", verbosity)) => self.verbosity = Some(verbosity.to_owned()),
            Some(("u", user)) => self.user = Some(user.to_owned()),
            Some((kind @ ("t" | "o"), listed)) => {
                let (oid, digits) = listed.split_once(':').unwrap_or_default();
                if let (Ok(oid), Some(name)) = (oid.parse(), of_digits(digits)) {
                    let listed = match kind {
                        "t" => Listed::Table(oid),
                        _ => Listed::Other,
                    };
                    self.temporary.push((name, listed));
                }
            }
            _ => {}
        }
    }
}

/// The text whose bytes are written as pairs of hexadecimal digits.
fn of_digits(digits: &str) -> Option<String> {
    let pairs = (0..digits.len()).step_by(2);
    let bytes: Option<Vec<u8>> = pairs
        .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
        .collect();
    String::from_utf8(bytes?).ok()
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
            let owner = self.owners.get(name);
            owner.is_some_and(|owner| **owner == *claim)
        };
        if !self.naming.varies() || facts.temporary.iter().all(own) {
            return facts;
        }
        let mut facts = SessionFacts::clone(&facts);
        let (own, others) = std::mem::take(&mut facts.temporary)
            .into_iter()
            .partition(own);
        facts.temporary = own;
        facts.shadows.extend(others);
        Arc::new(facts)
    }

    /// A statement is about to make temporary relations for somebody. Those that are there stay whose they are.
    pub fn make(&mut self, plan: &StatementPlan, claim: &Arc<Claim>) {
        if !self.naming.varies() {
            return;
        }
        for effect in &plan.effects {
            if let Effect::TemporaryMade(name) = effect
                && self.owners.len() < MAX_WITHHELD
            {
                let owner = self.owners.entry(name.clone());
                owner.or_insert_with(|| Arc::clone(claim));
            }
        }
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
            let (here, sent) = match effect {
                Effect::Execute(name) | Effect::Explain(name) => {
                    let name = Name::from(name.as_str());
                    let prepares = |before: &&StatementPlan| prepares(&before.effects, &name);
                    let here = earlier.iter().rev().find(prepares);
                    (here, self.ledger.prepared_as_sent(&name))
                }
                Effect::Fetch(name) => {
                    let name = Name::from(name.as_str());
                    let declares = |before: &&StatementPlan| declares(&before.effects, &name);
                    let here = earlier.iter().rev().find(declares);
                    (here, self.ledger.portal_as_sent(&name))
                }
                _ => continue,
            };
            let runs = here.or_else(|| sent.statement.as_ref()?.plan());
            touched.merge(runs.map_or(Touched::SETTINGS, settings::touched));
        }
        touched
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
            if unknown && (continues || settings::resolves_names(statement.kind)) {
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
                self.withheld.retain(|name| listed.contains(name));
                self.owners.retain(|name, _| listed.contains(name));
            }
            for (name, listed) in own.temporary {
                let own = match listed {
                    Listed::Table(oid) => self.made.meets(&name, oid),
                    Listed::Other => true,
                };
                match own && !self.withheld.contains(&name) {
                    true => temporary.insert(name),
                    false => shadows.insert(name),
                };
            }
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

    /// More rows were stored in temporary relations than the role may take out: they are not read.
    pub fn withhold(&mut self, plan: &StatementPlan) {
        let made = plan.effects.iter().filter_map(|effect| match effect {
            Effect::TemporaryMade(name) => Some(name.as_str()),
            _ => None,
        });
        let filled = plan
            .writes
            .iter()
            .filter_map(|name| name.strip_prefix("pg_temp."));
        for name in made.chain(filled) {
            if self.withheld.len() >= MAX_WITHHELD {
                // What is not known to be made here is not read either.
                self.made.forget(name);
            }
            self.withheld.insert(name.to_owned());
        }
        self.temporary_dirty = true;
        self.foreseen = None;
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

    /// A question, and the messages that ask it.
    pub fn question(&self, asks: Asks) -> (OwnQuery, BytesMut) {
        let naming = Arc::clone(&self.lock().naming);
        let further = naming.watched().iter().map(|name| match asks {
            Asks::Login => introduced(name),
            Asks::Path | Asks::User | Asks::Temporary => shown(name),
        });
        let further: Vec<String> = further.collect();
        let texts: Vec<&str> = std::iter::once(asks.text())
            .chain(further.iter().map(String::as_str))
            .collect();
        let mut question = BytesMut::new();
        messages::put_batch(&mut question, &self.own_name, &texts);
        let own = OwnQuery {
            asks,
            further: further.len(),
            ..OwnQuery::default()
        };
        (own, question)
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a setting. SHOW needs no snapshot.
fn shown(setting: &str) -> String {
    let parts: Vec<String> = setting
        .split('.')
        .map(|part| format!("\"{part}\""))
        .collect();
    format!("SHOW {}", parts.join("."))
}

/// Makes a setting known to the session, as it is or empty: then it can be shown, whatever becomes of it.
fn introduced(setting: &str) -> String {
    format!(
        "SELECT pg_catalog.set_config('{setting}', COALESCE(pg_catalog.current_setting('{setting}', true), ''), false)"
    )
}
