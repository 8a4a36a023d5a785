//! `*` beside a system column of a protected relation. The template shows the column to whoever names it, and a `*` would
//! show it unasked: so the `*` is written out, as tools ask for rows to edit (`SELECT t.*, ctid FROM t`).
use std::collections::BTreeSet;

use crate::sql::names::qualified;
use crate::sql::naming;
use crate::sql::scope::{Item, Offer};
use crate::sql::tree::{Node, Tree};

use super::system_columns::SYSTEM_COLUMNS;
use super::target::reference;
use super::walk::{Walk, offset};
use super::{Change, Side};

/// Output columns in the place of a `*`: as tree and as text.
type Columns = Vec<(Node, String)>;

impl Walk<'_> {
    /// Writes out each `*` of a query's output, if all of them can be.
    pub(super) fn write_out_stars(&mut self, query: &mut Node) {
        if self.side == Side::Run
            || self.target.is_some()
            || !query.list("target_list").iter().any(stands_for_columns)
        {
            return;
        }
        let offer = self.reader().from(query.list("from_clause"));
        if !self.shows_system_columns(query, &offer) {
            return;
        }
        let merges = query.list("from_clause").iter().any(merges_columns);
        let targets = query.list("target_list").iter();
        let written: Option<Vec<Option<Columns>>> = targets
            .map(|target| match stands_for_columns(target) {
                true => self.columns_of(target, &offer, merges).map(Some),
                false => Some(None),
            })
            .collect();
        let Some(written) = written else {
            return;
        };
        let Some(Tree::List(targets)) = query.get_mut("target_list") else {
            return;
        };
        for (target, columns) in std::mem::take(targets).into_iter().zip(written) {
            let Some(columns) = columns else {
                targets.push(target);
                continue;
            };
            let text: Vec<&str> = columns.iter().map(|(_, text)| text.as_str()).collect();
            self.changes.push(Change::Star {
                at: target.node().map_or(0, |target| offset(target.location)),
                text: text.join(", "),
            });
            targets.extend(columns.into_iter().map(|(node, _)| Tree::Node(node)));
        }
    }

    /// Whether the query names a system column that may be of a protected relation of its FROM.
    fn shows_system_columns(&self, query: &Node, offer: &Offer) -> bool {
        let substituted = |item: &&Item| {
            let relation = item.relation;
            relation.is_some_and(|relation| self.rules.role.substitutes(relation))
        };
        let aliases: BTreeSet<&str> = offer
            .items
            .iter()
            .filter(substituted)
            .map(|item| item.alias.as_str())
            .collect();
        !aliases.is_empty() && names_system_column(query, &aliases)
    }

    fn columns_of(&self, target: &Tree, offer: &Offer, merges: bool) -> Option<Columns> {
        let fields = target.node()?.child("val")?.list("fields");
        let items: Vec<&Item> = match fields {
            [_] if merges => return None,
            [_] => offer.items.iter().collect(),
            [alias, _] => vec![offer.item(alias.string()?)?],
            _ => return None,
        };
        let mut columns = Vec::new();
        for item in items {
            let own = item.columns.as_deref()?;
            let mut names = BTreeSet::new();
            for column in own {
                if column
                    .origin
                    .is_some_and(|(relation, num)| self.rules.role.denies(relation, num))
                {
                    continue;
                }
                // A name without an item before it, or of two columns, would mean another one.
                let alone = names.insert(&column.name) && offer.item(&item.alias).is_some();
                if item.alias.is_empty() || !alone {
                    return None;
                }
                let value = reference(&item.alias, &column.name, -1);
                let target = Node::new("ResTarget", vec![("val", Tree::Node(value))]);
                columns.push((target, qualified(&item.alias, &column.name)));
            }
        }
        (!columns.is_empty()).then_some(columns)
    }
}

/// `*` or `alias.*` as an output column.
pub(super) fn is_star(target: &Node) -> bool {
    let value = target.child("val");
    value.is_some_and(|value| value.kind == "ColumnRef" && naming::is_star(value))
}

fn stands_for_columns(target: &Tree) -> bool {
    target.node().is_some_and(is_star)
}

/// A join in it merges columns. One with an alias is one item, of the columns that it has.
pub(super) fn merges_columns(item: &Tree) -> bool {
    let joined = item.node().filter(|node| node.kind == "JoinExpr");
    joined.is_some_and(|node| {
        let sides = ["larg", "rarg"];
        node.get("alias").is_none()
            && (node.flag("is_natural")
                || node.get("using_clause").is_some()
                || sides
                    .iter()
                    .any(|side| node.get(side).is_some_and(merges_columns)))
    })
}

/// Whether a system column is named alone or by one of the aliases.
fn names_system_column(node: &Node, aliases: &BTreeSet<&str>) -> bool {
    if node.kind == "ColumnRef" {
        let names = node.names("fields").unwrap_or_default();
        return match names.as_slice() {
            [name] => SYSTEM_COLUMNS.contains(name),
            [.., alias, name] => SYSTEM_COLUMNS.contains(name) && aliases.contains(alias),
            [] => false,
        };
    }
    node.fields.iter().any(|(_, field)| in_tree(field, aliases))
}

fn in_tree(tree: &Tree, aliases: &BTreeSet<&str>) -> bool {
    match tree {
        Tree::Node(node) => names_system_column(node, aliases),
        Tree::List(items) => items.iter().any(|item| in_tree(item, aliases)),
        _ => false,
    }
}
