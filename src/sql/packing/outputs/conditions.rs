//! Conditions carry values: what is picked from a list of candidates by a gathered value is that value, and so is a truth
//! about it.
use std::sync::Arc;

use super::super::{Holding, calls};
use super::columns::Outputs;
use super::forms::{chosen, truth};
use super::{Reader, Source};
use crate::sql::tree::{Node, Tree};

use Holding::{Element, Own};

/// Clauses of a query that choose its rows, or what is made of them.
const CLAUSES: [&str; 8] = [
    "where_clause",
    "having_clause",
    "group_clause",
    "window_clause",
    "distinct_clause",
    "sort_clause",
    "limit_count",
    "limit_offset",
];
/// Those of an aggregate or window function.
const OF_CALLS: [&str; 3] = ["agg_filter", "agg_order", "over"];

impl<'t> Reader<'_, 't> {
    /// Whether what a query reads is chosen by values that are gathered. Its FROM is the innermost scope.
    pub(super) fn is_chosen(&self, query: &Node) -> bool {
        let around = self.scope.len().saturating_sub(1);
        let outer = self.scope.get(..around).unwrap_or_default();
        self.clauses_look(query, &self.scope)
            || self.expressions_look(query, outer)
            || query
                .list("from_clause")
                .iter()
                .any(|item| self.item_looks(item, outer))
            || query
                .list("target_list")
                .iter()
                .any(|target| self.calls_look(target))
    }

    fn clauses_look(&self, query: &Node, scope: &[Vec<Source<'t>>]) -> bool {
        let clauses = CLAUSES.iter().filter_map(|clause| query.get(clause));
        let mut clauses = clauses.flat_map(|clause| match clause {
            Tree::List(items) => items.as_slice(),
            one => std::slice::from_ref(one),
        });
        clauses.any(|clause| !is_bare(clause) && self.looks(clause, scope))
    }

    /// Common table expressions, by what is around them.
    fn expressions_look(&self, query: &Node, outer: &[Vec<Source<'t>>]) -> bool {
        let with = query.child("with_clause");
        let expressions = with.map_or(&[][..], |with| with.list("ctes"));
        let queries = expressions.iter().filter_map(Tree::node);
        let mut queries = queries.filter_map(|common| common.child("ctequery"));
        queries.any(|query| self.inner_looks(query, outer))
    }

    /// A query inside, whose values are looked at where they come out.
    fn inner_looks(&self, query: &Node, outer: &[Vec<Source<'t>>]) -> bool {
        if query.kind != "SelectStmt" {
            return false;
        }
        let arms = ["larg", "rarg"];
        let mut arms = arms.iter().filter_map(|arm| query.child(arm));
        arms.any(|arm| self.inner_looks(arm, outer))
            || self.clauses_look(query, outer)
            || self.expressions_look(query, outer)
            || query
                .list("from_clause")
                .iter()
                .any(|item| self.item_looks(item, outer))
    }

    /// A join in FROM, by its condition; or what a subquery or function there is given from around.
    fn item_looks(&self, item: &Tree, outer: &[Vec<Source<'t>>]) -> bool {
        let Some(node) = item.node() else {
            return false;
        };
        match node.kind {
            "JoinExpr" => {}
            "RangeSubselect" => {
                let query = node.child("subquery");
                return query.is_some_and(|query| self.inner_looks(query, outer));
            }
            _ => return self.looks(item, outer),
        }
        let joined = |name: &str| {
            let own = self.scope.last().map_or(&[][..], Vec::as_slice);
            let mut held = own
                .iter()
                .filter_map(|source| source.outputs.named(name))
                .map(|(holding, _)| holding);
            held.any(|holding| truth(holding) != Own)
        };
        let mut using = node.list("using_clause").iter().filter_map(Tree::string);
        let natural = node.flag("is_natural")
            && self.scope.last().is_some_and(|own| {
                own.iter()
                    .any(|source| truth(source.outputs.worst()) != Own)
            });
        natural
            || using.any(joined)
            || node
                .get("quals")
                .is_some_and(|condition| self.looks(condition, &self.scope))
            || ["larg", "rarg"]
                .iter()
                .filter_map(|side| node.get(side))
                .any(|side| self.item_looks(side, outer))
    }

    /// Whether a gathered value is named, as these levels know it.
    fn looks(&self, tree: &Tree, scope: &[Vec<Source<'t>>]) -> bool {
        if scope
            .iter()
            .flatten()
            .all(|source| source.outputs.worst() == Own)
        {
            return false;
        }
        match tree {
            Tree::List(items) => items.iter().any(|item| self.looks(item, scope)),
            Tree::Node(node) if node.kind == "ColumnRef" => self
                .found(node, scope, false)
                .is_some_and(|holding| holding != Own),
            Tree::Node(node) => node
                .fields
                .iter()
                .any(|(_, field)| self.looks(field, scope)),
            _ => false,
        }
    }

    fn calls_look(&self, tree: &Tree) -> bool {
        match tree {
            Tree::List(items) => items.iter().any(|item| self.calls_look(item)),
            Tree::Node(node) if node.kind == "SelectStmt" => false,
            Tree::Node(node) => {
                let of_call = OF_CALLS.iter().filter_map(|field| node.get(field));
                let mut conditions = of_call.filter(|_| node.kind == "FuncCall");
                conditions
                    .any(|condition| !is_bare(condition) && self.looks(condition, &self.scope))
                    || node.fields.iter().any(|(_, field)| self.calls_look(field))
            }
            _ => false,
        }
    }

    /// Candidates are what they were chosen by: each source of them is one value.
    pub(super) fn mark_candidates(&mut self) {
        let Some(level) = self.scope.last_mut() else {
            return;
        };
        for source in level.iter_mut() {
            if source.counted || source.outputs.worst() != Own {
                continue;
            }
            self.candidates += 1;
            let key: Arc<str> = format!("candidate {}", self.candidates).into();
            source.stored = None;
            for column in &mut source.outputs.columns {
                column.1 = Element(Arc::clone(&key));
            }
        }
    }

    /// What a condition says of a gathered value that does not come out itself, as in `CASE WHEN list = '' THEN NULL ELSE list END`.
    pub(super) fn condition(&mut self, node: &'t Node, results: &[&Node]) -> Holding {
        let operand = match node.kind {
            "NullTest" => node.child("arg"),
            "AExpr" if compares_with_constant(node) => node.child("lexpr"),
            _ => None,
        };
        let comes_out = operand.is_some_and(|operand| {
            let operand = uncast(operand);
            results.iter().any(|result| uncast(result) == operand)
        });
        match comes_out {
            true => Own,
            false => truth(self.expression(node)),
        }
    }

    /// A truth about whether there is anything is none about a row.
    pub(super) fn null_test(&mut self, node: &'t Node) -> Holding {
        match node.child("arg") {
            Some(inner) if is_whole(uncast(inner)) => Own,
            Some(inner) => truth(self.expression(inner)),
            None => Own,
        }
    }

    /// The value of an aggregate by its FILTER.
    pub(super) fn filtered(&mut self, node: &'t Node, holding: Holding) -> Holding {
        let Some(filter) = node.child("agg_filter") else {
            return holding;
        };
        let arguments: Vec<&Node> = node.list("args").iter().filter_map(Tree::node).collect();
        let by = self.condition(filter, &arguments);
        chosen(holding, by)
    }
}

/// All columns of a query whose rows such a value has chosen.
pub(super) fn all_chosen(mut outputs: Outputs) -> Outputs {
    for column in &mut outputs.columns {
        let holding = std::mem::take(&mut column.1);
        column.1 = chosen(holding, Element(Arc::from("")));
    }
    outputs
}

/// All rows of a column in an array, a list or a document.
pub(super) fn is_whole(node: &Node) -> bool {
    node.kind == "FuncCall"
        && calls::gathers(node)
        && node.get("agg_filter").is_none()
        && node
            .list("args")
            .first()
            .and_then(Tree::node)
            .is_some_and(|argument| argument.kind == "ColumnRef")
}

/// An order or window by columns as they are.
fn is_bare(tree: &Tree) -> bool {
    match tree {
        Tree::List(items) => items.iter().all(is_bare),
        Tree::Node(node) => match node.kind {
            "ColumnRef" => true,
            "SortBy" => node.get("node").is_some_and(is_bare),
            "WindowDef" => {
                let frame = ["start_offset", "end_offset"];
                frame.iter().all(|offset| node.get(offset).is_none())
                    && ["partition_clause", "order_clause"]
                        .iter()
                        .all(|clause| node.get(clause).is_none_or(is_bare))
            }
            _ => false,
        },
        _ => false,
    }
}

/// What is cast, to whatever type.
pub(super) fn uncast(node: &Node) -> &Node {
    match node.child("arg").filter(|_| node.kind == "TypeCast") {
        Some(inner) => uncast(inner),
        None => node,
    }
}

fn compares_with_constant(node: &Node) -> bool {
    let operator = node.names("name").unwrap_or_default();
    matches!(operator.last(), Some(&("=" | "<>" | "!=")))
        && node
            .child("rexpr")
            .is_some_and(|right| uncast(right).kind == "AConst")
}
