//! Recursive queries: what their turns leave of what columns hold.
use std::sync::Arc;

use super::super::{Holding, mentioned_in};
use super::columns::Outputs;
use super::forms::{chosen, either};
use super::{Common, Given, Reader};
use crate::sql::naming;
use crate::sql::tree::{Node, Tree};

use Holding::{Anything, Element, Joined, Own};

impl<'t> Reader<'_, 't> {
    /// A query that reads its own rows: with every turn it could put one row more into a value, or one more beside the
    /// others. What comes from another relation, or stands where it stood before, is as it was.
    pub(super) fn recursion(&mut self, name: &str, query: &'t Node, names: &'t [Tree]) -> Outputs {
        let common = self.common.len();
        self.with_clause(query);
        let level = self.scope.len();
        let first = query
            .child("larg")
            .map_or_else(Outputs::default, |arm| self.query(arm));
        let mut outputs = first.renamed(names);
        let (mut looked, given) = (self.looked, self.given);
        let Some(turn) = query.child("rarg") else {
            return outputs;
        };
        let targets: Vec<&Node> = turn
            .list("target_list")
            .iter()
            .filter_map(|target| target.node()?.child("val"))
            .collect();
        let told = outputs.stars.is_empty()
            && targets.len() == outputs.columns.len()
            && !targets.iter().any(|target| naming::is_star(target));
        if !told {
            self.common.truncate(common);
            self.given = Given::Made;
            let gathers = mentioned_in(query, self.facts.counted);
            return Outputs::all(if gathers { Anything } else { Own });
        }
        let own: Vec<String> = outputs
            .columns
            .iter()
            .filter_map(|(name, _)| name.clone())
            .collect();
        let alias = own_alias(turn, name);
        // What it has gathered so far, in whatever column it was.
        let most = either(Joined, outputs.worst());
        let mut gathered = outputs.clone();
        gathered
            .columns
            .iter_mut()
            .for_each(|column| column.1 = most.clone());
        self.common.push(Common {
            name: name.to_owned(),
            outputs: gathered,
            counted: self.reads_counted(query),
            given,
        });
        let others = self.query(turn);
        looked = looked.min(self.looked);
        if given != self.given {
            self.given = Given::Made;
        }
        self.common.truncate(common);
        let moves = |target: &Node| match (target.names("fields").as_deref(), alias) {
            (Some([column]), Some(_)) => own.iter().any(|own| own == column),
            (Some([of, _]), Some(alias)) => *of == alias,
            _ => false,
        };
        let stays = |name: &Option<String>, target: &Node| match (name, alias) {
            (Some(name), Some(alias)) => stays(target, name, alias),
            _ => false,
        };
        // One row's value, that of an earlier turn, unless something is appended to what moves.
        let mut moved = outputs
            .columns
            .iter()
            .fold(Element(Arc::from("")), |moved, (_, first)| match first {
                Own => moved,
                first => either(moved, first.clone()),
            });
        for (((name, _), target), (_, other)) in
            outputs.columns.iter().zip(&targets).zip(&others.columns)
        {
            if !stays(name, target) && !moves(target) {
                moved = either(moved, other.clone());
            }
        }
        for ((column, target), (_, other)) in
            outputs.columns.iter_mut().zip(targets).zip(others.columns)
        {
            let turned = match moves(target) {
                _ if stays(&column.0, target) => Own,
                true => moved.clone(),
                false => other,
            };
            column.1 = either(column.1.clone(), turned);
            // How many turns there are is chosen by values from outside.
            if looked < level {
                column.1 = chosen(std::mem::take(&mut column.1), Element(Arc::from("")));
            }
        }
        self.looked = looked;
        outputs
    }
}

/// Under which name a turn's own FROM has the common table expression, with the names that its columns have; in a
/// subquery there, columns of those names may be others.
fn own_alias<'n>(turn: &'n Node, name: &'n str) -> Option<&'n str> {
    fn collect<'n>(tree: &'n Tree, name: &str, found: &mut Vec<&'n Node>) {
        match tree {
            Tree::List(items) => items.iter().for_each(|item| collect(item, name, found)),
            Tree::Node(node) if node.kind == "RangeVar" => {
                let is_it = node.text("schemaname").is_empty() && node.text("relname") == name;
                found.extend(is_it.then_some(node));
            }
            Tree::Node(node) if node.kind == "JoinExpr" && node.get("alias").is_none() => {
                for side in ["larg", "rarg"].iter().filter_map(|side| node.get(side)) {
                    collect(side, name, found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    let with = turn.child("with_clause");
    let expressions = with.map_or(&[][..], |with| with.list("ctes"));
    let named = |common: &Tree| {
        common
            .node()
            .is_none_or(|common| common.text("ctename") == name)
    };
    if turn.get("larg").is_none() && !expressions.iter().any(named) {
        collect(turn.get("from_clause")?, name, &mut found);
    }
    match (found.as_slice(), found.first()?.child("alias")) {
        ([_], None) => Some(name),
        ([_], Some(alias)) if alias.list("colnames").is_empty() => Some(alias.text("aliasname")),
        _ => None,
    }
}

/// The column itself, or counted up by a constant.
fn stays(target: &Node, name: &str, alias: &str) -> bool {
    match target.kind {
        "ColumnRef" => match target.names("fields").as_deref() {
            Some([column]) => *column == name,
            Some([of, column]) => *column == name && *of == alias,
            _ => false,
        },
        "AExpr" => {
            let operator = target.names("name").unwrap_or_default();
            let step = target
                .child("rexpr")
                .and_then(|step| step.child("val"))
                .map(|step| step.kind);
            matches!(operator.last(), Some(&("+" | "-")))
                && step == Some("Integer")
                && target
                    .child("lexpr")
                    .is_some_and(|inner| stays(inner, name, alias))
        }
        _ => false,
    }
}
