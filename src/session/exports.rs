//! What a session tells of a statement that goes beyond a limit, and what it is told.
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::audit::ExportRecord;
use crate::export::LimitKind;
use crate::session::asker::Asker;
use crate::session::ledger::Running;
use crate::session::record;
use crate::session::statements::{Arguments, Statement};
use crate::sql::columns::Columns;
use crate::sql::lex;
use crate::sql::normalise;
use crate::wire::error::ErrorFields;

/// A row that a limit stands in the way of.
#[derive(Debug, Clone)]
pub struct Excess {
    pub limit: LimitKind,
    /// For how many rows it counts.
    pub weight: u64,
    /// `SELECT`, `COPY`, ...
    pub kind: &'static str,
    pub fingerprint: String,
    /// The statement without its literals.
    pub text: String,
    /// `schema.name`
    pub reads: Vec<String>,
    /// `schema.table.column`
    pub masked: Vec<String>,
    /// Which columns the statement uses.
    pub columns: Arc<Columns>,
    /// What tells this run from one with other values; `None`: it cannot be told.
    pub values: Option<Vec<u8>>,
    pub reason: Option<String>,
    /// Who it is for; `None`: not known, so the session's own user.
    pub asker: Option<Arc<Asker>>,
    /// The grant that the statement runs under, and its rows.
    pub grant: Option<(Arc<ExportRecord>, u64)>,
}

/// What was decided about a row.
#[derive(Debug, Clone)]
pub enum Decision {
    /// There is room for it now.
    Again,
    /// The role is not enforced: this limit would have ended the result, or, where there is none, what the person has in
    /// hand could not be looked at.
    Unenforced(Option<LimitKind>),
    /// The statement runs under a grant of so many rows.
    Granted(Arc<ExportRecord>, u64),
    /// It ends here; the client is told so.
    Stop(Box<ErrorFields>, Option<Arc<ExportRecord>>),
}

/// What a result that goes beyond a limit is.
pub fn excess(running: &Running, limit: LimitKind, weight: u64, reason: Option<&str>) -> Excess {
    let governing = running.governing();
    let plan = governing.plan();
    let sent = running.statement.plan();
    Excess {
        limit,
        weight,
        kind: record::kind(governing, running.fallback_kind),
        fingerprint: plan
            .map(|plan| plan.fingerprint.clone())
            .unwrap_or_default(),
        text: plan.map(|plan| plan.normalised.clone()).unwrap_or_default(),
        reads: plan.map(|plan| plan.reads.clone()).unwrap_or_default(),
        masked: plan.map(|plan| plan.masked.clone()).unwrap_or_default(),
        columns: plan
            .map(|plan| Arc::clone(&plan.columns))
            .unwrap_or_default(),
        values: match sent.map(|sent| sent.kind) {
            None => None,
            // How many rows are fetched at once is not what is asked for.
            Some("FETCH") => values(None, governing),
            Some(_) => values(Some(&running.statement), governing),
        },
        reason: told(&running.statement)
            .or_else(|| commented(&running.statement))
            .or_else(|| commented(governing))
            .or_else(|| told(governing).filter(|_| is_same_persons(&running.statement, governing)))
            .or_else(|| reason.map(str::to_owned)),
        asker: running.statement.source.asker.clone(),
        grant: running
            .grant
            .clone()
            .map(|grant| (grant, running.meter.limits().rows.unwrap_or(0))),
    }
}

/// What a statement that is about to run is, to find the grant for it.
pub fn asked_again(statement: &Statement) -> Excess {
    let plan = statement.plan();
    Excess {
        limit: LimitKind::Rows,
        weight: 0,
        kind: record::kind(statement, "UNPARSED"),
        fingerprint: plan
            .map(|plan| plan.fingerprint.clone())
            .unwrap_or_default(),
        text: String::new(),
        reads: Vec::new(),
        masked: Vec::new(),
        columns: Arc::default(),
        values: values(Some(statement), statement),
        reason: None,
        asker: statement.source.asker.clone(),
        grant: None,
    }
}

/// What tells a run from every other: the literals and parameters of what was sent, and the statement that it runs, token by
/// token. Of that a fingerprint says too little: it has 64 bits, of which somebody can find two statements that share them, and
/// is made of names, which stand for other relations under another search_path.
fn values(sent: Option<&Statement>, governing: &Statement) -> Option<Vec<u8>> {
    let mut hash = Sha256::new();
    let mut put = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    };
    if let Some(sent) = sent {
        let text = own_text(sent)?;
        let tokens = lex::tokens(text).ok()?;
        let literals = normalise::literals(text, &tokens);
        literals.into_iter().for_each(&mut put);
    }
    put("");
    let text = own_text(governing)?;
    let tokens = lex::tokens(text).ok()?;
    tokens.iter().for_each(|token| put(token.text(text)));
    put("");
    let mut reads: Vec<&str> = governing.plan()?.reads.iter().map(String::as_str).collect();
    reads.sort_unstable();
    reads.dedup();
    reads.into_iter().for_each(&mut put);
    for statement in sent.into_iter().chain([governing]) {
        match statement.arguments {
            Arguments::None => hash.update([0]),
            Arguments::Hash(arguments) => {
                hash.update([1]);
                hash.update(arguments);
            }
            Arguments::Unseen => return None,
        }
    }
    Some(hash.finalize().to_vec())
}

fn own_text(statement: &Statement) -> Option<&str> {
    let (start, end) = statement.span()?;
    statement.source.text.as_deref()?.get(start..end)
}

/// The key under which a comment gives the reason.
pub(super) const REASON: &str = "pgveil_reason";

/// The reason in the comment that says for whom the statement is: that is no part of its text any more.
fn told(statement: &Statement) -> Option<String> {
    let reason = statement.source.spoken.reason.as_ref();
    reason.map(|reason| reason.to_string())
}

/// FETCH and EXECUTE go on with what their own person has said.
fn is_same_persons(statement: &Statement, governing: &Statement) -> bool {
    statement.source.claim.app_user == governing.source.claim.app_user
}

/// The reason in a comment of the statement's text, as sqlcommenter writes it: `/*pgveil_reason='ticket%204711'*/`.
fn commented(statement: &Statement) -> Option<String> {
    let text = statement.source.text.as_deref()?;
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("/*") {
        let (comment, following) = after.split_once("*/").unwrap_or((after, ""));
        for pair in comment.split(',') {
            let Some((key, value)) = pair.split_once('=') else {
                continue;
            };
            let value = value.trim();
            if key.trim() == REASON
                && let Some(value) = value
                    .strip_prefix('\'')
                    .and_then(|value| value.strip_suffix('\''))
            {
                return Some(unescaped(value));
            }
        }
        rest = following;
    }
    None
}

/// Percent-encoded text (RFC 3986, 2.1), and quotes behind backslashes.
fn unescaped(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let digit = |at: usize| {
            after
                .get(at)
                .and_then(|byte| char::from(*byte).to_digit(16))
        };
        match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                rest = after.get(2..).unwrap_or_default();
            }
            (b'\\', ..) => {}
            (byte, ..) => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::fixtures;

    #[test]
    fn a_comment_can_give_the_reason() {
        for (text, expected) in [
            ("SELECT 1", None),
            (
                "SELECT 1 /*pgveil_reason='ticket%204711'*/",
                Some("ticket 4711"),
            ),
            (
                "/*a='1',pgveil_reason='it\\'s due',b='2'*/ SELECT 1",
                Some("it's due"),
            ),
            (
                "SELECT 1 /*other='x'*/ /* pgveil_reason = 'late' */",
                Some("late"),
            ),
            ("SELECT 1 /*pgveil_reason=unquoted*/", None),
            ("SELECT 1 /*pgveil_reason='open", None),
            ("SELECT 1 /*pgveil_reason='%zz%4'*/", Some("%zz%4")),
        ] {
            let statement = fixtures::statement_of(text);
            assert_eq!(commented(&statement).as_deref(), expected, "{text}");
        }
    }
}
