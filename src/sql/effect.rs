//! What a statement does to its session.
use crate::sql::tree::{Node, Tree};

/// What a statement does to the session's own state, as far as pgveil must follow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// `SET search_path`, RESET, ROLLBACK, DISCARD and everything else after which the search path must be read again.
    SettingsChanged,
    /// SQL-level PREPARE: the inner statement's own plan governs EXECUTE.
    Prepare(String),
    Execute(String),
    /// EXPLAIN of EXECUTE: what the prepared statement reads decides whether it may be.
    Explain(String),
    Deallocate(Option<String>),
    DeclareCursor {
        name: String,
        /// WITH HOLD: it outlives its transaction.
        held: bool,
    },
    /// FETCH or MOVE from a cursor.
    Fetch(String),
    CloseCursor(Option<String>),
    /// SAVEPOINT, RELEASE and ROLLBACK TO of that name.
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    /// DDL: the catalog must be read again.
    SchemaChanged,
    /// `SET search_path` to this value, as SHOW will give it. Stands besides [`Effect::SettingsChanged`].
    SearchPath(String),
    /// A relation of this name is in the session's temporary schema now.
    TemporaryMade(String),
    /// It is gone; `None`: all of them are.
    TemporaryGone(Option<String>),
    /// `set_config` with parameters that decide whether it may be. Stands besides [`Effect::SettingsChanged`].
    NamesSetting {
        name: SettingText,
        value: SettingText,
    },
    /// `SET pgveil.reason`: what the person says an export is for.
    Reason(Option<String>),
    /// It may run users' code: a trigger, or a function that is allowed.
    RunsCode,
    /// Rows of protected relations go into another relation; the command tag says how many.
    StoresRows,
    /// ... and go into another relation: none of their bytes is seen.
    StoresElsewhere,
    /// So many new rows are tried, and the client is told which of them were there already.
    Tries(u64),
    /// Rows come back that it has put in itself, of values that it brought.
    GivesBack,
    /// It draws random numbers for protected relations: how many it drew shows in the next ones.
    DrawsNumbers,
    /// COPY TO STDOUT begins with a line of column names, which is no row.
    CopiesHeader,
}

/// The name of a setting, or the value that it gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingText {
    Known(String),
    /// The parameter of this number.
    Parameter(usize),
    /// It could be any.
    Unknown,
}

/// `CURSOR_OPT_HOLD` (nodes/parsenodes.h).
const HOLD: i64 = 0x0020;

/// Whether ROLLBACK TO is among the effects: a part of a transaction is taken back, not all of it.
pub fn takes_back_a_part(effects: &[Effect]) -> bool {
    let mut effects = effects.iter();
    effects.any(|effect| matches!(effect, Effect::RollbackTo(_)))
}

/// Whether which settings are set is known by the parameters of a Bind.
pub fn names_settings(effects: &[Effect]) -> bool {
    let mut effects = effects.iter();
    effects.any(|effect| matches!(effect, Effect::NamesSetting { .. }))
}

impl Effect {
    /// Of a `TransactionStmt`.
    pub fn of_transaction(node: &Node) -> Option<Self> {
        let name = || node.text("savepoint_name").to_owned();
        match node.int("kind") {
            5 => Some(Effect::Savepoint(name())),
            6 => Some(Effect::Release(name())),
            7 => Some(Effect::RollbackTo(name())),
            _ => None,
        }
    }

    /// Of a `CopyStmt`: as `defGetCopyHeaderChoice` (commands/copy.c) reads its option. In doubt there is no header.
    pub fn of_copy(node: &Node) -> Option<Self> {
        let mut options = node.list("options").iter().filter_map(Tree::node);
        let header = options.find(|option| option.text("defname") == "header")?;
        let is_set = match header.child("arg") {
            None => true,
            Some(value) => match value.kind {
                "Boolean" => value.flag("boolval"),
                "Integer" => value.int("ival") == 1,
                "String" => ["true", "on"]
                    .iter()
                    .any(|word| value.text("sval").eq_ignore_ascii_case(word)),
                _ => false,
            },
        };
        (is_set && !node.flag("is_from")).then_some(Effect::CopiesHeader)
    }

    /// Of a `DeclareCursorStmt`.
    pub fn declares(node: &Node) -> Self {
        Effect::DeclareCursor {
            name: node.text("portalname").to_owned(),
            held: node.int("options") & HOLD != 0,
        }
    }
}
