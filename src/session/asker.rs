//! Who a statement is for by the policy in force: the role, the person, and what row rules know of them.
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use crate::export::Purse;
use crate::sql::lex::{self, Kind, Token};
use crate::sql::template::SessionValues;

/// Who a statement is run for.
#[derive(Debug)]
pub struct Asker {
    /// `None`: nobody who has a role. Only what names nothing may run.
    pub role: Option<Arc<str>>,
    /// Whose rows are counted, and who may be granted more.
    pub person: Arc<str>,
    /// The application's user.
    pub app_user: Option<Arc<str>>,
    /// What the statement is for.
    pub purpose: Option<Arc<str>>,
    /// What row rules name.
    pub values: Arc<SessionValues>,
    /// Regions that the session does not come from, and the relations that have rows of theirs.
    pub outside: Arc<[(Arc<str>, Vec<String>)]>,
    /// Those of them whose rows are masked for the session ([`crate::policy::PolicySet::masked_outside`]).
    pub masked_outside: u32,
    /// Where people share the database user: what this one has in hand.
    pub purse: Option<Arc<Purse>>,
    /// `values` is all that is known of them: the directory, if there is one, could be read.
    pub is_known: bool,
    /// Others of the session are somebody else.
    pub is_one_of_many: bool,
    /// Of all that says whose rights they have, once somebody has asked.
    pub key: OnceLock<u64>,
}

impl Asker {
    /// Differs between two that differ in whose rights they have.
    pub fn key(&self) -> u64 {
        *self.key.get_or_init(|| {
            let mut hasher = DefaultHasher::new();
            self.role.hash(&mut hasher);
            self.person.hash(&mut hasher);
            self.app_user.hash(&mut hasher);
            self.purpose.hash(&mut hasher);
            self.values.hash(&mut hasher);
            hasher.finish()
        })
    }
}

/// Statements that name nothing of the database: they run for whoever is asking, for they are how a session comes to say
/// who that is. FETCH gives rows, and EXECUTE runs what was decided on for somebody.
pub fn names_nothing(kind: &str) -> bool {
    const NAMELESS: &[&str] = &[
        "BEGIN",
        "START TRANSACTION",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT",
        "RELEASE",
        "SET",
        "RESET",
        "SHOW",
        "DISCARD",
        "DISCARD ALL",
        "DEALLOCATE",
        "CLOSE",
        "UNLISTEN",
    ];
    NAMELESS.contains(&kind)
}

/// Functions of the server's own that say nothing of its data, as drivers and pools call them before anybody is named.
const OF_THE_SESSION: &[&str] = &[
    "current_database",
    "current_schema",
    "pg_advisory_unlock_all",
    "pg_backend_pid",
    "pg_is_in_recovery",
    "version",
];
const WORDS: &[&str] = &["current_user", "false", "null", "session_user", "true"];

/// Whether a text that was decided on selects nothing but constants and facts of the session: what keeps a connection alive,
/// and what pools put it back with.
pub fn looks_around(text: &str) -> bool {
    let Ok(tokens) = lex::tokens(text) else {
        return false;
    };
    let Some((first, rest)) = tokens.split_first() else {
        return false;
    };
    let end = rest.iter().rposition(|token| !token.is(text, ";"));
    let items = rest.get(..end.map_or(0, |end| end + 1)).unwrap_or_default();
    first.is_word(text, "select")
        && items
            .split(|token| token.is(text, ","))
            .all(|item| is_of_the_session(text, item))
}

/// One output, and perhaps its name.
fn is_of_the_session(text: &str, item: &[Token]) -> bool {
    let is = |token: &Token, words: &[&str]| words.iter().any(|word| token.is_word(text, word));
    let call = match item {
        [schema, dot, rest @ ..] if schema.is_word(text, "pg_catalog") && dot.is(text, ".") => rest,
        item => item,
    };
    let named = match (call, item) {
        ([called, open, close, name @ ..], _)
            if is(called, OF_THE_SESSION) && open.is(text, "(") && close.is(text, ")") =>
        {
            name
        }
        (_, [value, name @ ..])
            if matches!(value.kind, Kind::String | Kind::Number) || is(value, WORDS) =>
        {
            name
        }
        _ => return false,
    };
    let is_name = |token: &Token| matches!(token.kind, Kind::Word | Kind::Quoted);
    match named {
        [] => true,
        [name] => is_name(name),
        [word, name] => word.is_word(text, "as") && is_name(name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::looks_around;

    #[test]
    fn what_keeps_a_connection_alive_names_nothing() {
        for (text, passes) in [
            ("SELECT 1", true),
            ("select 1 ;", true),
            ("SELECT 'x' AS hello, NULL", true),
            ("SELECT pg_catalog.version()", true),
            ("select current_schema()", true),
            ("SELECT pg_is_in_recovery(), current_user u", true),
            ("SELECT pg_advisory_unlock_all()", true),
            ("/* pool */ SELECT 1 -- ping", true),
            ("SELECT", false),
            ("SELECT 1,", false),
            ("SELECT *", false),
            ("SELECT 1 FROM t", false),
            ("SELECT t", false),
            ("SELECT version(1)", false),
            ("SELECT public.version()", false),
            ("SELECT other()", false),
            ("SELECT (SELECT 1)", false),
            ("SELECT 1 UNION SELECT 2", false),
            ("SELECT 1 INTO t", false),
            ("SELECT 1; SELECT 2", false),
            ("SELECT pg_catalog.current_user", false),
            ("SELECT 'one.people'::regclass", false),
            ("SELECT DISTINCT 1", false),
            ("TABLE t", false),
            ("VALUES (1)", false),
        ] {
            assert_eq!(looks_around(text), passes, "{text}");
        }
    }
}
