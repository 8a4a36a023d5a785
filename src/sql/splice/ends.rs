//! Where an expression, an operand or the clauses of a statement end, by tokens.
use crate::sql::lex::Token;

/// One past the tokens from `from` on: up to the first outside of brackets at which `stops`, or the bracket that closes
/// what is around them.
fn until(
    text: &str,
    tokens: &[Token],
    from: usize,
    mut stops: impl FnMut(&Token) -> bool,
) -> usize {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(from) {
        if token.is(text, "(") || token.is(text, "[") {
            depth += 1;
        } else if token.is(text, ")") || token.is(text, "]") {
            if depth == 0 {
                return index;
            }
            depth -= 1;
        } else if depth == 0 && stops(token) {
            return index;
        }
    }
    tokens.len()
}

/// What follows an expression that is written or given back.
const BEHIND_WRITTEN: &[&str] = &["where", "returning", "when"];

/// What follows a query's conditions, or its output columns where it has none.
const BEHIND_CONDITIONS: &[&str] = &[
    "group",
    "having",
    "window",
    "order",
    "limit",
    "offset",
    "fetch",
    "for",
    "union",
    "except",
    "intersect",
];

/// One past the clauses behind `from` that come before RETURNING.
pub(super) fn clauses_end(text: &str, tokens: &[Token], from: usize) -> usize {
    until(text, tokens, from, |token| {
        token.is(text, ";") || token.is_word(text, "returning")
    })
}

/// One past the expression that begins at `from`: up to a comma, a closing bracket or the next clause.
pub(super) fn expression_end(text: &str, tokens: &[Token], from: usize) -> usize {
    ends_before(text, tokens, from, &[BEHIND_WRITTEN])
}

/// One past the output column that begins at `from`. What follows those of a query may begin in other ways.
pub(super) fn output_end(text: &str, tokens: &[Token], from: usize) -> usize {
    ends_before(text, tokens, from, &[BEHIND_WRITTEN, BEHIND_CONDITIONS])
}

fn ends_before(text: &str, tokens: &[Token], from: usize, next: &[&[&str]]) -> usize {
    let mut cases = 0usize;
    let (mut distinct, mut within) = (false, false);
    until(text, tokens, from, |token| {
        let word = |word: &str| token.is_word(text, word);
        // `IS DISTINCT FROM`
        let from_clause = word("from") && !distinct;
        distinct = word("distinct");
        // `WITHIN GROUP (ORDER BY ...)`
        let clause = !(within && word("group"));
        within = word("within");
        if word("case") {
            cases += 1;
        } else if word("end") && cases > 0 {
            cases -= 1;
        } else if cases == 0 {
            return token.is(text, ",")
                || token.is(text, ";")
                || from_clause
                || (clause && next.iter().copied().flatten().any(|next| word(next)));
        }
        false
    })
}

/// One past an operand that begins at `from`: up to AND, OR, a comma, a closing parenthesis or the next clause.
pub(super) fn condition_end(text: &str, tokens: &[Token], from: usize) -> usize {
    const NEXT: &[&str] = &["and", "or", "returning", "when", "then", "on"];
    until(text, tokens, from, |token| {
        token.is(text, ",")
            || token.is(text, ";")
            || NEXT
                .iter()
                .chain(BEHIND_CONDITIONS)
                .any(|word| token.is_word(text, word))
    })
}
