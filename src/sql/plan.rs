//! The outcome of planning: what to run for a statement text, and what to put on record about it.
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::catalog::{AttNum, Oid};
use crate::policy::compiled::SessionValue;
use crate::sql::columns::Columns;
use crate::sql::companion::Companion;
use crate::sql::packing::Packed;

pub use super::effect::{Effect, SettingText, names_settings, takes_back_a_part};

/// What a session knows about itself when a statement is planned.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct SessionFacts {
    /// The setting `search_path` as the server shows it (`"$user", public`).
    pub search_path: String,
    /// The database user, for `"$user"`.
    pub user: String,
    /// What row rules name of the session.
    pub values: Arc<BTreeMap<SessionValue, String>>,
    /// Names in the session's temporary schema.
    pub temporary: std::collections::BTreeSet<String>,
    /// Names there that may not be read, or not by who asks: as types they are found before all others none the less.
    pub shadows: std::collections::BTreeSet<String>,
    /// Of these, those of the session's own that may be dropped.
    pub spoiled: std::collections::BTreeSet<String>,
    /// What settings hold that name who is asking, in the order in which the session reads them. Nothing is planned by it.
    pub said: Vec<String>,
    /// Types that the client gives to the parameters of the text (Parse), 0 where it leaves one to the server, none behind
    /// the last that it gives; `None`: they are not known.
    pub parameters: Option<Vec<Oid>>,
}

impl SessionFacts {
    /// The same, whatever the types of parameters are.
    pub fn is_alike(&self, other: &Self) -> bool {
        let SessionFacts {
            search_path,
            user,
            values,
            temporary,
            shadows,
            spoiled,
            said,
            parameters: _,
        } = self;
        *search_path == other.search_path
            && *user == other.user
            && *values == other.values
            && *temporary == other.temporary
            && *shadows == other.shadows
            && *spoiled == other.spoiled
            && *said == other.said
    }

    /// The same with these types of parameters.
    pub fn declaring(self: Arc<Self>, parameters: &Option<Vec<Oid>>) -> Arc<Self> {
        if self.parameters == *parameters {
            return self;
        }
        let mut facts = Self::clone(&self);
        facts.parameters.clone_from(parameters);
        Arc::new(facts)
    }
}

/// Why a statement is refused. The label is a metric label and a field of the audit record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The grammar rejects the text: the client gets the grammar's own error (42601).
    Syntax,
    /// A relation or function that does not exist: the client gets PostgreSQL's own message (42P01, 42883, ...).
    Undefined,
    /// A statement kind that a restricted role may not send.
    Statement,
    /// A construct over protected data that is not handled.
    Construct,
    Relation,
    Function,
    Operator,
    Type,
    Setting,
    /// The judge did not accept the rewriter's text.
    Judge,
    /// Too long, too many tokens, too deeply nested.
    Limit,
    /// Bytes that are not valid in the session's encoding, or an encoding that is not handled.
    Encoding,
    /// FunctionCall, replication, and other messages that restricted sessions may not send.
    Protocol,
    /// The audit spool cannot be written.
    Audit,
    /// Who the statement is for, or what for, is not certain, not proved, or has no role.
    Identity,
}

impl Reason {
    pub const fn label(self) -> &'static str {
        match self {
            Reason::Syntax => "syntax",
            Reason::Undefined => "undefined",
            Reason::Statement => "statement",
            Reason::Construct => "construct",
            Reason::Relation => "relation",
            Reason::Function => "function",
            Reason::Operator => "operator",
            Reason::Type => "type",
            Reason::Setting => "setting",
            Reason::Judge => "judge",
            Reason::Limit => "limit",
            Reason::Encoding => "encoding",
            Reason::Protocol => "protocol",
            Reason::Audit => "audit",
            Reason::Identity => "identity",
        }
    }
}

/// A refusal as the client sees it. No field holds a literal, parameter or stored value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    /// SQLSTATE: 42501, or the server's own for [`Reason::Syntax`] and [`Reason::Undefined`].
    pub sqlstate: &'static str,
    /// Without the prefix `pgveil: `, which is put before messages with SQLSTATE 42501.
    pub message: String,
    /// The rule that refused.
    pub detail: String,
    /// The way out.
    pub hint: String,
    /// 1-based character position in the client's text, where known.
    pub position: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Runs as the client sent it.
    Pass,
    /// Runs as [`Plan::text`].
    Rewrite,
    /// Does not run; a poison stands in its place.
    Refuse(Refusal),
}

/// What would be decided about a statement if its role's rules were in force (`enforce: false`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Would {
    /// A refusal without its position: that is the text's own.
    pub verdict: Verdict,
    /// As [`StatementPlan::masked`] and [`StatementPlan::lookups`].
    pub masked: Vec<String>,
    pub lookups: Vec<String>,
}

impl Would {
    pub fn refuse(refusal: &Refusal) -> Self {
        Would {
            verdict: Verdict::Refuse(Refusal {
                position: None,
                ..refusal.clone()
            }),
            masked: Vec::new(),
            lookups: Vec::new(),
        }
    }
}

/// An output column that is a plain column of a relation in the client's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub relation: Oid,
    /// 0: the whole row.
    pub column: AttNum,
    pub name: String,
    /// Of a whole row, its type.
    pub row_type: Option<Oid>,
}

/// The plan of one statement of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementPlan {
    /// `SELECT`, `INSERT`, `BEGIN`, ... as the command tag would say.
    pub kind: &'static str,
    pub verdict: Verdict,
    /// What the verdict would be if the role were enforced; `None`: it is, or has no rules.
    pub would: Option<Box<Would>>,
    /// The text with literals replaced by `$n` and white space folded.
    pub normalised: String,
    /// Of the normalised text, 16 hexadecimal digits.
    pub fingerprint: String,
    /// `schema.name` of relations read and written.
    pub reads: Vec<String>,
    pub writes: Vec<String>,
    /// `schema.table.column` of masked columns that the statement can reach.
    pub masked: Vec<String>,
    /// `schema.table.column` of masked columns that are looked up by their stored value.
    pub lookups: Vec<String>,
    /// Which columns it uses, and what for; of the client's text, whatever the verdict.
    pub columns: Arc<Columns>,
    /// The rows that come back are of pgveil's own asking: neither they nor their description are for the client.
    pub hidden_rows: bool,
    /// Columns that it may leave as they are and not change, each with what it is that forbids it.
    pub tied: Vec<String>,
    /// The statement reads a protected relation: its rows are counted.
    pub protected: bool,
    /// It computes with rows of users as they are stored: what fails then may quote them.
    pub over_rows: bool,
    /// Where no relation that it names has anything in it that is kept from the role, or counted: what it writes to, with
    /// those partitions of it of which the same is so.
    pub open_targets: Vec<String>,
    /// No name in it means something else on another search path ([`super::pathless`]).
    pub pathless: bool,
    /// For how many rows one of them may count.
    pub packed: Packed,
    /// Per output column, the column whose metadata is restored in RowDescription. Empty where nothing is to
    /// be restored.
    pub origins: Vec<Option<Origin>>,
    pub effects: Vec<Effect>,
    /// Byte range in the text that was planned; see [`Plan::span`].
    pub span: (usize, usize),
    /// What whoever writes records has made of it.
    pub companion: Companion,
}

/// Of a statement's record as it is kept beside the plan, whatever it says: the fields and their names as JSON.
const RECORD: usize = 1024;

impl StatementPlan {
    /// Memory that it takes, in bytes, as the caches count it.
    pub fn size(&self) -> usize {
        let strings = |list: &[String]| list.iter().map(|item| item.len() + 24).sum::<usize>();
        let said = self.normalised.len()
            + strings(&self.reads)
            + strings(&self.writes)
            + strings(&self.masked)
            + strings(&self.lookups)
            + strings(&self.tied);
        let columns = self.columns.size();
        // Its record says all of it once more, twice.
        size_of::<Self>()
            + RECORD
            + 3 * said
            + 2 * columns
            + self.would.as_ref().map_or(0, |would| {
                size_of::<Would>() + strings(&would.masked) + strings(&would.lookups) + 256
            })
            + size_of::<Columns>()
            + self.origins.len() * 64
            + self.effects.len() * 48
    }

    /// A statement that passes and of which nothing else is known yet. `normalised` and `fingerprint` as
    /// [`super::normalise::recorded`] gives them.
    pub fn passing(
        kind: &'static str,
        (normalised, fingerprint): (String, String),
        span: (usize, usize),
    ) -> Self {
        StatementPlan {
            kind,
            verdict: Verdict::Pass,
            would: None,
            normalised,
            fingerprint,
            reads: Vec::new(),
            writes: Vec::new(),
            masked: Vec::new(),
            lookups: Vec::new(),
            columns: Arc::default(),
            hidden_rows: false,
            tied: Vec::new(),
            protected: false,
            over_rows: false,
            open_targets: Vec::new(),
            pathless: false,
            packed: Packed::default(),
            origins: Vec::new(),
            effects: Vec::new(),
            span,
            companion: Companion::default(),
        }
    }
}

/// The plan of one Query or Parse text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub statements: Arc<[StatementPlan]>,
    /// What goes to the server in place of the client's text; `None`: the client's own bytes.
    pub text: Option<Arc<str>>,
    pub positions: PositionMap,
    /// By how many bytes the text is longer than the one that `statements` speaks of, modulo 2^64: another of the same
    /// shape. Then there is one statement.
    grown: usize,
}

impl Plan {
    /// A plan whose statements speak of the text itself.
    pub fn new(
        statements: Vec<StatementPlan>,
        text: Option<Arc<str>>,
        positions: PositionMap,
    ) -> Self {
        Plan {
            statements: statements.into(),
            text,
            positions,
            grown: 0,
        }
    }

    /// A plan whose one statement speaks of a text of the same shape, than which this one is longer by so many bytes.
    pub(super) fn of_shape(
        statements: Arc<[StatementPlan]>,
        text: Option<Arc<str>>,
        positions: PositionMap,
        grown: usize,
    ) -> Self {
        Plan {
            statements,
            text,
            positions,
            grown,
        }
    }

    /// The plan of a text that runs as it is and would be refused.
    pub fn would_refuse(&self, refusal: &Refusal) -> Plan {
        let refused = |plan: &StatementPlan| StatementPlan {
            would: Some(Box::new(Would::refuse(refusal))),
            ..plan.clone()
        };
        Plan {
            statements: self.statements.iter().map(refused).collect(),
            text: self.text.clone(),
            positions: self.positions.clone(),
            grown: self.grown,
        }
    }

    /// Byte range of a statement in the client's text.
    pub fn span(&self, index: usize) -> Option<(usize, usize)> {
        let (start, end) = self.statements.get(index)?.span;
        Some((start, end.wrapping_add(self.grown)))
    }

    /// A statement is refused because the catalog does not know a name in it.
    pub fn names_unknown(&self) -> bool {
        self.statements.iter().any(|statement| {
            matches!(&statement.verdict, Verdict::Refuse(refusal) if refusal.reason == Reason::Undefined)
        })
    }
}

/// Maps a 1-based character position in the text that ran to the position in the client's text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PositionMap {
    /// `(sent, client)`: first character position (0-based) of each run, ascending by `sent`; a run that pgveil
    /// added maps to the client position where it was put.
    pub runs: Vec<Run>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    pub sent: u32,
    pub client: u32,
    /// The run was copied from the client's text: positions advance in step.
    pub copied: bool,
}

impl PositionMap {
    /// The client's position of a 1-based character position in the text that ran.
    pub fn to_client(&self, sent: u32) -> u32 {
        let Some(zero_based) = sent.checked_sub(1) else {
            return sent;
        };
        let index = self.runs.partition_point(|run| run.sent <= zero_based);
        match index.checked_sub(1).and_then(|index| self.runs.get(index)) {
            Some(run) if run.copied => run.client + (zero_based - run.sent) + 1,
            Some(run) => run.client + 1,
            None => sent,
        }
    }
}

/// What a row that a row rule forbids makes the server complain of (22P02): it stands in the message.
pub const ROW_RULE: &str = "pgveil_row_rule";

/// What a new value of a column that may not change makes the server complain of (22P02): a constraint ties it to masked ones, or
/// a foreign key carries it into what says who sees a row.
pub const TIED: &str = "pgveil_tied";

/// The same to the client, and what it can do.
pub const TIED_DETAIL: &str =
    "the write would tell a stored value that the role does not see, or show it more of rows";
pub const TIED_HINT: &str = "leave the column as it is, have a role do it that sees all of it, or ask the owner of \
     the pgveil policy if your role needs this";

/// What a value that holds masks among other things makes the server complain of (22P02).
pub const MASKED_PARTS: &str = "pgveil_masked_parts";

/// The name in a poison, so that the error the server makes of it is recognised. Never a column anybody has.
pub const POISON: &str = "pgveil_refused";
