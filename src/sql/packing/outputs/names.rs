//! Names: what the columns hold that they stand for. A name that nothing is found under stands for anything.
use super::super::{Holding, levels, mentioned_in};
use super::forms::either;
use super::{Reader, Source};
use crate::sql::naming;
use crate::sql::tree::{Node, Tree};

use Holding::{Anything, Element, Own};

/// A column reference: the relation before the point, and the column; `None`: all of them.
type Name<'n> = (Option<&'n str>, Option<&'n str>);

pub(super) fn name_of(node: &Node) -> Name<'_> {
    match levels::names(node).as_slice() {
        [relation] if naming::is_star(node) => (Some(*relation), None),
        [name] => (None, Some(*name)),
        [.., relation, name] => (Some(*relation), Some(*name)),
        [] => (None, None),
    }
}

impl<'t> Reader<'_, 't> {
    /// `inside`: it goes into a document as it is. A row in text form hides what it holds behind quotes.
    pub(super) fn column(&self, node: &Node, inside: bool) -> Holding {
        match self.found(node, &self.scope, inside) {
            Some(found) => found,
            None if self.reaches() => {
                self.met.set(0);
                Anything
            }
            None => Own,
        }
    }

    /// Something counts that a name could stand for.
    fn reaches(&self) -> bool {
        let gathers = |source: &Source<'t>| source.counted || source.outputs.worst() != Own;
        self.counts
            || self.scope.iter().flatten().any(gathers)
            || self
                .common
                .iter()
                .any(|common| common.outputs.worst() != Own)
    }

    /// What is found under the name among these, the innermost first; `None`: nothing.
    pub(super) fn found(
        &self,
        node: &Node,
        scope: &[Vec<Source<'t>>],
        inside: bool,
    ) -> Option<Holding> {
        let name = name_of(node);
        let mut all: Option<Holding> = None;
        for (at, level) in scope.iter().enumerate().rev() {
            let mut sure = false;
            for source in level {
                let Some((holding, has)) = self.in_source(name, source, inside) else {
                    continue;
                };
                sure |= has;
                if holding != Own {
                    self.met.set(self.met.get().min(at));
                }
                all = Some(match all {
                    Some(all) => either(all, holding),
                    None => holding,
                });
            }
            if sure {
                break;
            }
        }
        all
    }

    /// What it holds if it is of this source, and whether it is for sure.
    pub(super) fn in_source(
        &self,
        name: Name<'_>,
        source: &Source<'t>,
        inside: bool,
    ) -> Option<(Holding, bool)> {
        let row = || match source.outputs.worst() {
            Own => Own,
            // All of it is of one row.
            Element(key) if !key.is_empty() => Element(key),
            holding if inside => holding,
            _ => Anything,
        };
        match name {
            (Some(relation), _) if source.alias != relation => None,
            (Some(_), Some(name)) => Some(match source.outputs.named(name) {
                Some((holding, _)) => (holding, true),
                // A function of the row, in the notation of a column.
                None if source.outputs.worst() == Own => (Own, true),
                None => (Anything, true),
            }),
            (_, None) => Some((row(), true)),
            (None, Some(_)) if source.qualified => None,
            (None, Some(name)) => {
                let column = match source.stored {
                    Some(relation) if (self.facts.columns)(relation, name) => Some((Own, true)),
                    Some(_) => None,
                    None => source.outputs.named(name),
                };
                // A column of a query around comes before a whole row.
                match column {
                    None if source.alias == name => Some((row(), false)),
                    Some((holding, false)) if source.alias == name => {
                        Some((either(holding, row()), false))
                    }
                    column => column,
                }
            }
        }
    }

    /// The aggregate is over relations whose rows do not count: its arguments are of this query, which reads none that
    /// do, and not of the query around it, whose aggregate it would be then.
    pub(super) fn of_uncounted(&self, node: &Node) -> bool {
        let Some((level, around)) = self.scope.split_last() else {
            return false;
        };
        let counted = self.chosen || level.iter().any(|source| source.counted);
        !counted
            && !level.is_empty()
            && node
                .get("args")
                .is_some_and(|args| self.names_own(args, level, around))
    }

    /// Whether a column in it is of this query for sure.
    fn names_own(&self, tree: &Tree, level: &[Source<'t>], around: &[Vec<Source<'t>>]) -> bool {
        match tree {
            Tree::List(items) => items.iter().any(|item| self.names_own(item, level, around)),
            Tree::Node(node) if node.kind == "ColumnRef" => match node.list("fields") {
                [first, _] => level
                    .iter()
                    .any(|source| first.string() == Some(source.alias.as_str())),
                [only] => only.string().is_some_and(|name| {
                    let own =
                        |source: &Source<'t>| self.in_source((None, Some(name)), source, true);
                    let column = level.iter().filter_map(own).any(|(_, has)| has);
                    let row = level.iter().any(|source| source.alias == name);
                    column || (row && self.found(node, around, true).is_none())
                }),
                // The relation of a schema may be one around.
                _ => false,
            },
            // What is in there has names of its own.
            Tree::Node(node) if node.kind == "SelectStmt" => false,
            Tree::Node(node) => node
                .fields
                .iter()
                .any(|(_, field)| self.names_own(field, level, around)),
            _ => false,
        }
    }

    /// Whether something in FROM reads rows that count; a common table expression does if its query does.
    pub(super) fn reads_counted(&self, node: &Node) -> bool {
        self.mentions_counted(node, &mut Vec::new())
    }

    fn mentions_counted<'n>(&self, node: &'n Node, inner: &mut Vec<&'n str>) -> bool {
        if node.kind == "RangeVar" {
            let name = node.text("relname");
            if node.text("schemaname").is_empty() {
                if inner.contains(&name) {
                    return false;
                }
                if let Some(common) = self.common.iter().rev().find(|known| known.name == name) {
                    return common.counted;
                }
            }
            return mentioned_in(node, self.facts.counted);
        }
        let before = inner.len();
        let with = node.child("with_clause");
        let expressions = with.map_or(&[][..], |with| with.list("ctes"));
        inner.extend(
            expressions
                .iter()
                .filter_map(Tree::node)
                .map(|common| common.text("ctename")),
        );
        let found = node
            .fields
            .iter()
            .any(|(_, field)| self.mentions_any(field, inner));
        inner.truncate(before);
        found
    }

    fn mentions_any<'n>(&self, tree: &'n Tree, inner: &mut Vec<&'n str>) -> bool {
        match tree {
            Tree::List(items) => items.iter().any(|item| self.mentions_any(item, inner)),
            Tree::Node(node) => self.mentions_counted(node, inner),
            _ => false,
        }
    }
}
