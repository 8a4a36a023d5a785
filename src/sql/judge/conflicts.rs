//! ON CONFLICT of an INSERT into a protected relation.
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::catalog::{Relation, RelationKind};
use crate::sql::plan::Refusal;
use crate::sql::refuse;
use crate::sql::tree::{Node, Tree};

use super::conditions::is_constant;
use super::walk::{Walk, at, offset};

impl Walk<'_> {
    /// ON CONFLICT. That a row conflicts tells whether a value is stored, so no column that is masked or denied may take part in
    /// finding it.
    pub(super) fn conflict(&mut self, node: &mut Node) -> Result<(), Refusal> {
        const DO_UPDATE: i64 = 3;
        self.arbiter(node)?;
        let Some(conflict) = node.get_mut("on_conflict_clause").and_then(Tree::node_mut) else {
            return Ok(());
        };
        // Index inference compares expressions with the definitions of indexes and reads no row.
        let target = self.target.take();
        self.field(conflict, "infer")?;
        self.target = target;
        if let Some(target) = &mut self.target {
            target.beside_excluded = true;
        }
        self.assignments(conflict)?;
        if conflict.int("action") == DO_UPDATE {
            let anchor = offset(conflict.location);
            self.guarded_condition(conflict, "where_clause", anchor)?;
        }
        if let Some(target) = &mut self.target {
            target.beside_excluded = false;
        }
        Ok(())
    }

    /// A conflict looks its columns up. Masked ones have to be looked up by `lookup: exact`, and by values that are named as
    /// in a comparison: computed ones would try out as many as somebody likes.
    fn arbiter(&mut self, insert: &Node) -> Result<(), Refusal> {
        let (Some(conflict), Some(target)) = (insert.child("on_conflict_clause"), &self.target)
        else {
            return Ok(());
        };
        let relation = Arc::clone(&target.relation);
        let exact = |name: &String| {
            let mask = target.mask(self.rules.role, name);
            let lookup = mask.map(|(_, mask)| mask.lookup);
            // A column that the role may not name is looked up in no way.
            lookup.or(target.guarded(self.rules.role, name).then_some(false))
        };
        let columns = found_by(conflict, &relation);
        let Some(columns) =
            columns.filter(|names| names.iter().all(|name| exact(name) != Some(false)))
        else {
            return Err(at(
                refuse::construct(
                    "ON CONFLICT that may find a row by a column that is masked or denied",
                    "name the conflict's columns, for instance ON CONFLICT (id)",
                ),
                conflict.location,
            ));
        };
        let looked_up = columns.into_iter().filter(|name| exact(name).is_some());
        for name in looked_up.collect::<Vec<_>>() {
            if !inserts_constants(insert, &relation, &name) {
                return Err(at(
                    refuse::construct(
                        &format!("ON CONFLICT that looks {name} up by values that are computed"),
                        "give them as constants or parameters: INSERT ... VALUES",
                    ),
                    conflict.location,
                ));
            }
            self.lookups.push((relation.oid, name));
        }
        Ok(())
    }
}

/// The columns by which a conflict may find a row: those that are named, or else those of any unique index. `None`: that
/// cannot be told.
fn found_by(conflict: &Node, relation: &Relation) -> Option<BTreeSet<String>> {
    let named = conflict
        .child("infer")
        .map_or(&[][..], |infer| infer.list("index_elems"));
    if named.is_empty() {
        let unique = relation.unique.iter();
        let columns = unique.map(|num| Some(relation.column_number(*num)?.name.clone()));
        return (relation.kind == RelationKind::Table)
            .then(|| columns.collect())
            .flatten();
    }
    let name = |element: &Tree| Some(element.node()?.text("name").to_owned());
    let named = named
        .iter()
        .map(|element| name(element).filter(|name| !name.is_empty()));
    named.collect()
}

/// Whether every row that is inserted has a constant or parameter for the column, or its default.
fn inserts_constants(insert: &Node, relation: &Relation, name: &str) -> bool {
    let given = insert.list("cols").iter().filter_map(Tree::node);
    let mut given = given.map(|column| column.text("name")).peekable();
    let place = match given.peek() {
        Some(_) => given.position(|column| column == name),
        None => {
            let mut columns = relation.columns.iter();
            columns.position(|column| column.name == name)
        }
    };
    let (Some(place), Some(source)) = (place, insert.child("select_stmt")) else {
        return true;
    };
    let rows = source.list("values_lists");
    let is_named = |row: &Tree| {
        let value = row.items().and_then(|values| values.get(place));
        value.is_none_or(|value| {
            is_constant(value)
                || value
                    .node()
                    .is_some_and(|value| value.kind == "SetToDefault")
        })
    };
    !rows.is_empty() && rows.iter().all(is_named)
}
