//! Keys that rows are sorted, told apart or grouped by: an expression, the number of an output column or its name
//! (`findTargetlistEntrySQL92` in `src/backend/parser/parse_clause.c`).
use crate::sql::tree::{Node, Tree};

/// Whose key it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clause {
    /// ORDER BY and DISTINCT ON.
    Sort,
    Group,
}

/// Keys that were taken off a query.
#[derive(Default)]
pub(super) struct Keys {
    /// For each key in turn.
    pub taken: Vec<Option<Tree>>,
    /// Keys that may be names of output columns.
    pub unclear: Vec<Tree>,
}

impl Keys {
    /// Puts them back on the query that they were taken off.
    pub fn put_back(self, query: &mut Node) {
        let mut taken = self.taken.into_iter();
        each(query, &mut |_, key| {
            if let Some(Some(own)) = taken.next() {
                *key = own;
            }
        });
    }
}

/// Calls back for each key of a query.
pub(super) fn each(query: &mut Node, call: &mut impl FnMut(Clause, &mut Tree)) {
    for (field, clause) in [
        ("sort_clause", Clause::Sort),
        ("distinct_clause", Clause::Sort),
        ("group_clause", Clause::Group),
    ] {
        if let Some(Tree::List(items)) = query.get_mut(field) {
            items.iter_mut().for_each(|item| key(item, clause, call));
        }
    }
}

/// `COERCE_IMPLICIT_CAST` as libpg_query numbers it: a row without ROW, whose parts are keys of GROUP BY.
const IMPLICIT: i64 = 3;

fn key(item: &mut Tree, clause: Clause, call: &mut impl FnMut(Clause, &mut Tree)) {
    let parts = match (item.node(), clause) {
        (Some(node), Clause::Sort) if node.kind == "SortBy" => "node",
        (Some(node), Clause::Group) if node.kind == "GroupingSet" => "content",
        (Some(node), Clause::Group)
            if node.kind == "RowExpr" && node.int("row_format") == IMPLICIT =>
        {
            "args"
        }
        _ => return call(clause, item),
    };
    match item.node_mut().and_then(|node| node.get_mut(parts)) {
        Some(Tree::List(items)) => items.iter_mut().for_each(|item| key(item, clause, call)),
        Some(own) => call(clause, own),
        None => {}
    }
}
