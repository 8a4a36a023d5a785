//! The whole row of a protected relation as a value of the relation's own type.
//!
//! Where the relation is the target of a write, the row is put together of masks. Where it is read, its template is a
//! subquery, whose row has the type `record`: INSERT cannot put that into a column of the relation's type, and the row is
//! put together anew.
use crate::catalog::{Catalog, Column, Relation, TypeKind};
use crate::policy::compiled::RolePolicy;
use crate::sql::names::{qualified, quoted};
use crate::sql::tree::{Node, Tree};

use super::walk::{Walk, offset};
use super::{Change, Side};

/// `ROW(...)` in the relation's type, with these values for its columns; `None` where the role may not see all of them, or
/// where a mask might break the rules of a domain.
pub(super) fn row(
    catalog: &Catalog,
    role: &RolePolicy,
    relation: &Relation,
    value: impl Fn(&Column) -> String,
) -> Option<String> {
    let checked = |column: &Column| {
        let data_type = catalog.types.get(&column.type_oid);
        data_type.is_none_or(|found| found.kind == TypeKind::Domain)
            || catalog.checked_types.contains_key(&column.type_oid)
    };
    let closed = |column: &Column| {
        role.denies(relation.oid, column.num)
            || (role.mask(relation.oid, column.num).is_some() && checked(column))
    };
    if relation.columns.is_empty() || relation.columns.iter().any(closed) {
        return None;
    }
    let values: Vec<String> = relation.columns.iter().map(value).collect();
    let row_type = qualified(&relation.schema, &relation.name);
    Some(format!("ROW({})::{row_type}", values.join(", ")))
}

impl Walk<'_> {
    /// Output columns of `INSERT ... SELECT` that are the whole row of a protected relation.
    pub(super) fn inserted_rows(&mut self, insert: &mut Node) {
        const PLAIN: i64 = 1;
        let Some(select) = insert.get_mut("select_stmt").and_then(Tree::node_mut) else {
            return;
        };
        if select.kind != "SelectStmt"
            || select.int("op") > PLAIN
            || select.get("with_clause").is_some()
        {
            return;
        }
        let Some(Tree::List(mut items)) = select.remove("target_list") else {
            return;
        };
        for item in items.iter_mut().filter_map(Tree::node_mut) {
            match self.side {
                Side::Client => self.note_row(select, item),
                Side::Run => self.fold_row(item),
            }
        }
        select.set("target_list", Tree::List(items));
    }

    fn note_row(&mut self, select: &Node, item: &Node) {
        let Some(value) = item.child("val").filter(|value| value.kind == "ColumnRef") else {
            return;
        };
        let names = value.names("fields").unwrap_or_default();
        let [name] = names.as_slice() else {
            return;
        };
        let offer = self.reader().from(select.list("from_clause"));
        let relation = offer.item(name).and_then(|item| item.relation);
        let relation = relation.and_then(|oid| self.rules.catalog.relations.get(&oid));
        let found = relation
            .filter(|relation| self.rules.role.substitutes(relation.oid))
            .filter(|_| offer.names_column(name) == Some(false))
            .and_then(|relation| self.typed_row(relation, name));
        if let Some(text) = found {
            self.changes.push(Change::Reference {
                at: offset(value.location),
                text,
            });
        }
    }

    fn fold_row(&self, item: &mut Node) {
        let Some(value) = item.child("val").filter(|value| value.kind == "CaseExpr") else {
            return;
        };
        let Some((alias, schema, table)) = parts(value) else {
            return;
        };
        let text = self
            .rules
            .catalog
            .relation(schema, table)
            .and_then(|relation| self.typed_row(relation, alias))
            .and_then(|sql| self.rules.templates.text(&format!("SELECT {sql}")));
        let is_row = text.as_deref().and_then(super::target::first_value) == Some(value);
        if is_row {
            let name = Tree::Node(bare(alias, value.location));
            item.set("val", name);
        }
    }

    /// NULL where the row is: on the nullable side of a join.
    fn typed_row(&self, relation: &Relation, alias: &str) -> Option<String> {
        let rules = self.rules;
        let row = row(rules.catalog, rules.role, relation, |column| {
            qualified(alias, &column.name)
        })?;
        let alias = quoted(alias);
        Some(format!(
            "(CASE WHEN {alias} IS DISTINCT FROM NULL THEN {row} END)"
        ))
    }
}

/// A reference by a single name.
pub(super) fn bare(name: &str, location: i32) -> Node {
    let field = Node::new("String", vec![("sval", Tree::Text(name.to_owned()))]);
    let fields = Tree::List(vec![Tree::Node(field)]);
    let mut node = Node::new("ColumnRef", vec![("fields", fields)]);
    node.location = location;
    node
}

/// Alias, schema and table in `CASE WHEN alias IS DISTINCT FROM NULL THEN ROW(...)::schema.table END`.
fn parts(value: &Node) -> Option<(&str, &str, &str)> {
    let [when] = value.list("args") else {
        return None;
    };
    let when = when.node()?;
    let alias = when.child("expr")?.child("lexpr")?.names("fields")?;
    let row_type = when.child("result")?.child("type_name")?.names("names")?;
    match (alias.as_slice(), row_type.as_slice()) {
        ([alias], [schema, table]) => Some((*alias, *schema, *table)),
        _ => None,
    }
}
