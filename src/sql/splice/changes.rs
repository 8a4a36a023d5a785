//! The edits that writes to protected targets need: where the expressions end that are wrapped, labelled or replaced.
//!
//! Ends are found by tokens. What is found wrong here, the judge refuses.
use crate::sql::judge::{Change, Form};
use crate::sql::lex::Token;

use super::ends::{clauses_end, expression_end, output_end};
use super::{Edit, closing, conditions, name_end, token_at};

/// The edits of one change. `None` where the tokens are not what the judge saw.
pub(super) fn edits(text: &str, tokens: &[Token], change: &Change) -> Option<Vec<Edit>> {
    let at = match change {
        Change::Unconditional => return Some(vec![unconditional(text, tokens)?]),
        Change::Whole { text } => {
            return Some(vec![Edit {
                first: 0,
                end: tokens.len(),
                text: text.clone(),
            }]);
        }
        Change::Reference { at, .. }
        | Change::Named { at, .. }
        | Change::Assigned { at, .. }
        | Change::AssignedRow { at, .. }
        | Change::Label { at, .. }
        | Change::Star { at, .. }
        | Change::Wrap { at, .. }
        | Change::Append { at, .. } => *at,
        Change::Lookup { condition, .. } => condition.at,
        Change::Guard { at, .. } => *at,
    };
    let first = token_at(tokens, at)?;
    let edit = |first: usize, end: usize, text: &str| Edit {
        first,
        end,
        text: text.to_owned(),
    };
    Some(match change {
        Change::Unconditional | Change::Whole { .. } => return None,
        Change::Reference { text: mask, .. } => {
            vec![edit(first, name_end(text, tokens, first), mask)]
        }
        Change::Star { text: columns, .. } => {
            let mut end = match tokens.get(first)?.is(text, "(") {
                // `(row).*`
                true => closing(text, tokens, first)?,
                false => name_end(text, tokens, first),
            };
            if tokens.get(end).is_some_and(|token| token.is(text, ".")) {
                end += 2;
            }
            vec![edit(first, end, columns)]
        }
        Change::Named {
            parts, text: own, ..
        } => {
            // The dot behind them goes with them.
            let end = first + 2 * parts - usize::from(!own.is_empty());
            let whole = name_end(text, tokens, first) >= end;
            vec![edit(first, end, own)]
                .into_iter()
                .filter(|_| whole)
                .collect()
        }
        Change::Label { text: label, .. } => {
            let end = output_end(text, tokens, first);
            vec![edit(end, end, label)]
        }
        Change::Lookup {
            condition,
            reference,
            masked,
        } => {
            let found = conditions::find(text, tokens, condition)?;
            let stored = conditions::rendered(text, tokens, &found, condition, reference)?;
            let shown = conditions::over(text, tokens, &found, condition, &format!("({masked})"))?;
            vec![edit(
                found.first,
                found.end,
                &format!("({stored} OR {shown})"),
            )]
        }
        Change::Append { text: added, .. } => {
            let end = clauses_end(text, tokens, first);
            vec![edit(end, end, added)]
        }
        Change::Wrap {
            open, close, named, ..
        } => {
            let mut end = expression_end(text, tokens, first);
            if *named {
                end = alias_begin(text, tokens, first, end);
            }
            vec![edit(first, first, open), edit(end, end, close)]
        }
        Change::Guard {
            word,
            present,
            rule,
            form,
            repeats,
            ..
        } => {
            let apart = format!("CASE WHEN {rule} THEN TRUE ELSE FALSE END");
            let rule_alone = match form {
                Form::Conjunct | Form::Case => rule,
                Form::Apart | Form::CaseApart => &apart,
            };
            if !present {
                let end = clauses_end(text, tokens, first);
                return Some(vec![edit(end, end, &format!(" WHERE {rule_alone}"))]);
            }
            let keyword = (0..first).rev().find(|at| {
                tokens
                    .get(*at)
                    .is_some_and(|token| token.is_word(text, word))
            })?;
            let (from, to) = (keyword + 1, expression_end(text, tokens, keyword + 1));
            if matches!(form, Form::Conjunct | Form::Apart) {
                return Some(vec![
                    edit(from, from, " ("),
                    edit(to, to, &format!(") AND {rule_alone}")),
                ]);
            }
            let mut open = String::from(" ");
            for (reference, condition) in repeats {
                let found = conditions::find(text, tokens, condition)?;
                let again = conditions::rendered(text, tokens, &found, condition, reference)?;
                open.push_str(&format!("{again} AND "));
            }
            if *form == Form::CaseApart {
                open.push_str(&format!("{apart} AND "));
            }
            open.push_str(&format!("CASE WHEN {rule} THEN ("));
            vec![edit(from, from, &open), edit(to, to, ") ELSE FALSE END")]
        }
        Change::AssignedRow { around, .. } => {
            let equals = (first..tokens.len()).find(|at| tokens[*at].is(text, "="))?;
            let (from, to) = (equals + 2, closing(text, tokens, equals + 1)? - 1);
            vec![edit(from, from, &around.open), edit(to, to, &around.close)]
        }
        Change::Assigned { nth, around, .. } => {
            let (from, to) = assigned(text, tokens, first, *nth)?;
            vec![edit(from, from, &around.open), edit(to, to, &around.close)]
        }
    })
}

/// Takes IF NOT EXISTS out: what comes before it in a CREATE holds no name.
fn unconditional(text: &str, tokens: &[Token]) -> Option<Edit> {
    let is = |token: &Token, word: &str| token.is_word(text, word);
    let first = tokens.windows(3).position(|words| match words {
        [a, b, c] => is(a, "if") && is(b, "not") && is(c, "exists"),
        _ => false,
    })?;
    Some(Edit {
        first,
        end: first + 3,
        text: String::new(),
    })
}

/// The tokens of the expression that is assigned to the column at `column`.
fn assigned(
    text: &str,
    tokens: &[Token],
    column: usize,
    nth: Option<usize>,
) -> Option<(usize, usize)> {
    let equals = (column..tokens.len()).find(|at| tokens[*at].is(text, "="))?;
    let mut from = equals + 1;
    let Some(nth) = nth else {
        return Some((from, expression_end(text, tokens, from)));
    };
    // `(a, b) = [ROW] (x, y)`
    if tokens.get(from)?.is_word(text, "row") {
        from += 1;
    }
    if !tokens.get(from)?.is(text, "(") {
        return None;
    }
    from += 1;
    for _ in 0..nth {
        from = expression_end(text, tokens, from);
        if !tokens.get(from)?.is(text, ",") {
            return None;
        }
        from += 1;
    }
    Some((from, expression_end(text, tokens, from)))
}

/// Where the alias of an output column begins, with its AS.
fn alias_begin(text: &str, tokens: &[Token], from: usize, end: usize) -> usize {
    match end.checked_sub(2) {
        Some(at)
            if at > from
                && tokens
                    .get(at)
                    .is_some_and(|token| token.is_word(text, "as")) =>
        {
            at
        }
        _ => end.saturating_sub(1),
    }
}
