//! Whether a text is one condition, and its tree.
use pg_query::NodeEnum;
use pg_query::protobuf::{Node, RangeVar, ScanToken, SelectStmt, Token};

use super::text::marker;
use super::{Objection, RESERVED};

/// Stands before a condition while it is parsed.
pub const HEAD: &str = "SELECT 1 FROM x WHERE ";

/// The tree of the condition.
pub fn condition(sql: &str) -> Result<Node, Objection> {
    let tokens = pg_query::scan(sql).map_err(|error| Objection::new(message(&error)))?;
    check_tokens(sql, &tokens.tokens)?;
    // The parentheses keep what follows a condition (GROUP BY, UNION) out; the tokens were seen to balance within.
    where_clause(&format!("{HEAD}({sql})")).map_err(|objection| {
        // What PostgreSQL stumbles over is then the parenthesis, which is not the author's.
        match pg_query::parse(&format!("{HEAD}{sql}"), pg_query::ParserOptions::DEFAULT) {
            Err(error) if message(&error).ends_with("at end of input") => {
                Objection::new("syntax error: the rule ends where more is expected")
            }
            _ => objection,
        }
    })
}

/// The condition of a text that begins with [`HEAD`], if it is nothing but that.
pub fn where_clause(text: &str) -> Result<Node, Objection> {
    let parsed = pg_query::parse(text, pg_query::ParserOptions::DEFAULT)
        .map_err(|error| Objection::new(message(&error)))?;
    let not_one = || Objection::new("expected one condition");
    let [statement] = <[_; 1]>::try_from(parsed.protobuf.stmts).map_err(|_| not_one())?;
    let Some(NodeEnum::SelectStmt(mut select)) = statement.stmt.and_then(|node| node.node) else {
        return Err(not_one());
    };
    let condition = select.where_clause.take().ok_or_else(not_one)?;
    match is_bare(&select) {
        true => Ok(*condition),
        false => Err(not_one()),
    }
}

/// `SELECT 1 FROM x`, its WHERE taken out.
fn is_bare(select: &SelectStmt) -> bool {
    let one_relation = matches!(
        select.from_clause.as_slice(),
        [Node { node: Some(NodeEnum::RangeVar(RangeVar { relname, .. })) }] if relname == "x"
    );
    let rest = SelectStmt {
        target_list: Vec::new(),
        from_clause: Vec::new(),
        limit_option: 0,
        op: 0,
        ..select.clone()
    };
    one_relation && select.target_list.len() == 1 && rest == SelectStmt::default()
}

fn check_tokens(sql: &str, tokens: &[ScanToken]) -> Result<(), Objection> {
    let mut open = 0_usize;
    for token in tokens {
        match token.token() {
            Token::SqlComment | Token::CComment => {
                return Err(Objection::new("a row rule holds no comments")
                    .suggest("comment in the policy file, with `#`"));
            }
            Token::Param => {
                return Err(Objection::new("a row rule has no parameters").suggest(
                    "values of the session are `{app_user}`, `{db_user}` and `{attr.name}`",
                ));
            }
            Token::Ascii59 => return Err(Objection::new("a row rule holds no `;`")),
            Token::Ascii40 => open += 1,
            Token::Ascii41 => {
                open = open
                    .checked_sub(1)
                    .ok_or_else(|| Objection::new("a `)` closes what the rule did not open"))?;
            }
            _ => {}
        }
    }
    if open > 0 {
        return Err(Objection::new("a `(` is not closed"));
    }
    check_values(sql, tokens)
}

/// Each value is a literal of its own. In quotes (`'{app_user}'`) it would be part of another, or end it.
fn check_values(sql: &str, tokens: &[ScanToken]) -> Result<(), Objection> {
    let literals = tokens
        .iter()
        .filter(|token| token.token() == Token::Sconst && text(sql, token).contains(RESERVED));
    let expected = sql.matches(RESERVED).count();
    let mut found = 0;
    for literal in literals {
        if text(sql, literal) != marker(found) {
            break;
        }
        found += 1;
    }
    match found == expected {
        true => Ok(()),
        false => Err(
            Objection::new("a value stands within other text or in quotes")
                .suggest("write `{app_user}` without quotes; pgveil quotes it"),
        ),
    }
}

pub fn text<'a>(sql: &'a str, token: &ScanToken) -> &'a str {
    let place = |number| usize::try_from(number).unwrap_or(usize::MAX);
    sql.get(place(token.start)..place(token.end))
        .unwrap_or_default()
}

fn message(error: &pg_query::Error) -> String {
    match error {
        pg_query::Error::Parse(message) | pg_query::Error::Scan(message) => message.clone(),
        _ => "the rule cannot be read".to_owned(),
    }
}
