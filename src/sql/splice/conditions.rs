//! Conditions that are written into templates or beside masks, taken from the client's own tokens.
use crate::sql::judge::{Condition, Shape};
use crate::sql::lex::Token;

use super::ends::condition_end;
use super::{Edit, emit, name_end, token_at};

/// A condition found in the tokens.
pub(super) struct Found {
    /// Its tokens.
    pub first: usize,
    pub end: usize,
    operator: usize,
}

pub(super) fn find(text: &str, tokens: &[Token], condition: &Condition) -> Option<Found> {
    let first = token_at(tokens, condition.at)?;
    // `IN` has its location at its word.
    let operator = token_at(tokens, condition.operator_at)?;
    let end = condition_end(text, tokens, operator + 1);
    (first < operator && operator < end).then_some(Found {
        first,
        end,
        operator,
    })
}

/// The condition over a column that is named like this, by PostgreSQL's own operator.
pub(super) fn rendered(
    text: &str,
    tokens: &[Token],
    found: &Found,
    condition: &Condition,
    reference: &str,
) -> Option<String> {
    let slice = |from: usize, to: usize| Some(emit(text, tokens.get(from..to)?, &[]).text);
    let one = |value: &str| {
        format!(
            "{reference} OPERATOR(pg_catalog.{}) {value}",
            condition.operator
        )
    };
    Some(match condition.shape {
        Shape::Left | Shape::Any => one(&slice(found.operator + 1, found.end)?),
        Shape::Right => one(&slice(found.first, found.operator)?),
        Shape::In => {
            let mut from = found.operator + 1;
            if !tokens.get(from)?.is(text, "(") {
                return None;
            }
            let mut values = Vec::new();
            while from + 1 < found.end {
                from += 1;
                let to = condition_end(text, tokens, from);
                values.push(one(&slice(from, to)?));
                from = to;
            }
            match values.as_slice() {
                [single] => single.clone(),
                all => format!("({})", all.join(" OR ")),
            }
        }
    })
}

/// The client's condition with its column replaced by this.
pub(super) fn over(
    text: &str,
    tokens: &[Token],
    found: &Found,
    condition: &Condition,
    column: &str,
) -> Option<String> {
    let (from, to) = match condition.shape {
        Shape::Right => (found.operator + 1, found.end),
        _ => (found.first, name_end(text, tokens, found.first)),
    };
    let edit = Edit {
        first: from - found.first,
        end: to - found.first,
        text: column.to_owned(),
    };
    Some(emit(text, tokens.get(found.first..found.end)?, &[edit]).text)
}
