//! From a bound tree to the parts of a rule, proven to read as that tree.
use pg_query::protobuf::{Node, ParseResult, Token};

use super::Objection;
use super::bind::column_marker;
use super::syntax::{self, HEAD, where_clause};
use super::text::marker;
use crate::policy::compiled::{RulePart, SessionValue};

/// Fields of syntax nodes that say where something stood in the text.
const PLACES: [&str; 4] = ["location: ", "list_start: ", "list_end: ", "stmt_len: "];

/// The SQL of a tree in which each column of the ruled relation is a [`column_marker`].
pub fn parts(
    tree: Node,
    columns: &[Box<str>],
    values: &[SessionValue],
) -> Result<Vec<RulePart>, Objection> {
    let inexpressible = || {
        Objection::new("the rule cannot be written with all names qualified")
            .suggest("put parentheses around its parts, or write it more plainly")
    };
    let sql = print(tree.clone()).ok_or_else(inexpressible)?;
    let again = where_clause(&format!("{HEAD}({sql})"))?;
    if without_places(&again) != without_places(&tree) {
        return Err(inexpressible());
    }
    let tokens = pg_query::scan(&sql).map_err(|_| inexpressible())?.tokens;
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut end = 0;
    for token in &tokens {
        let place = |number| usize::try_from(number).unwrap_or(usize::MAX);
        let text = syntax::text(&sql, token);
        let part = match token.token() {
            Token::Ident => {
                find(columns.iter().cloned(), column_marker, text).map(RulePart::Column)
            }
            Token::Sconst => find(values.iter().cloned(), marker, text).map(RulePart::Value),
            _ => None,
        };
        if let Some(part) = part {
            plain.push_str(sql.get(end..place(token.start)).unwrap_or_default());
            parts.push(RulePart::Sql(std::mem::take(&mut plain).into()));
            parts.push(part);
            end = place(token.end);
        }
    }
    plain.push_str(sql.get(end..).unwrap_or_default());
    parts.push(RulePart::Sql(plain.into()));
    parts.retain(|part| !matches!(part, RulePart::Sql(text) if text.is_empty()));
    Ok(parts)
}

fn find<T>(
    mut items: impl Iterator<Item = T>,
    marker: impl Fn(usize) -> String,
    text: &str,
) -> Option<T> {
    let mut index = 0;
    items.find(|_| {
        index += 1;
        marker(index - 1) == text
    })
}

/// The condition as libpg_query writes it.
fn print(tree: Node) -> Option<String> {
    let mut parsed = pg_query::parse(&format!("{HEAD}true"), pg_query::ParserOptions::DEFAULT)
        .ok()?
        .protobuf;
    set_condition(&mut parsed, tree)?;
    let text = pg_query::deparse(&parsed, pg_query::DeparseOptions::default()).ok()?;
    text.strip_prefix(HEAD).map(str::to_owned)
}

fn set_condition(parsed: &mut ParseResult, tree: Node) -> Option<()> {
    let statement = parsed.stmts.first_mut()?.stmt.as_mut()?.node.as_mut()?;
    let pg_query::NodeEnum::SelectStmt(select) = statement else {
        return None;
    };
    select.where_clause = Some(Box::new(tree));
    Some(())
}

/// The tree as text, without what says where things stood.
fn without_places(tree: &Node) -> String {
    PLACES.iter().fold(format!("{tree:?}"), |text, place| {
        text.split(place)
            .map(|piece| piece.trim_start_matches(|c: char| c == '-' || c.is_ascii_digit()))
            .collect()
    })
}
