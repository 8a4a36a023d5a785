//! Columns that no class names, for roles that see none of those (`unlisted: redact` or `deny`).
//!
//! Primary keys stay, and the columns that refer to them: they say which row is meant and what belongs together, and
//! without them no join and no form works. A key that is personal data itself needs a class, which goes before.
use std::collections::HashSet;

use crate::catalog::{Catalog, ColumnSource, Relation, RelationKind};
use crate::policy::flow::{Cell, Flow, is_view};
use crate::policy::pattern::is_system;

/// All columns that hold unlisted data, those of views included that show or compute from it.
pub(super) fn cells(catalog: &Catalog, flow: &Flow) -> HashSet<Cell> {
    let relations: Vec<&Relation> = catalog
        .relations
        .values()
        .map(AsRef::as_ref)
        .filter(|relation| {
            !is_system(&relation.schema)
                && !matches!(relation.kind, RelationKind::Sequence | RelationKind::Other)
        })
        .collect();
    let mut unlisted = HashSet::new();
    for relation in relations.iter().filter(|relation| !is_view(relation)) {
        for column in &relation.columns {
            let cell = (relation.oid, column.num);
            if !flow.taints.contains_key(&cell) && !is_key(catalog, flow, relation, cell) {
                unlisted.insert(cell);
            }
        }
    }
    // Sets only grow and are bounded: this ends.
    loop {
        let before = unlisted.len();
        for relation in &relations {
            derive(relation, flow, &mut unlisted);
        }
        if unlisted.len() == before {
            return unlisted;
        }
    }
}

/// A column of a primary key, or one that refers to such. Not if it, or what it refers to at any remove, has a class.
fn is_key(catalog: &Catalog, flow: &Flow, relation: &Relation, cell: Cell) -> bool {
    /// References lead in circles at times.
    const MAX_STEPS: usize = 32;
    let first = catalog.foreign_keys.get(&cell);
    let mut chain = std::iter::successors(first, |cell| catalog.foreign_keys.get(cell));
    let key = relation.primary_key.contains(&cell.1) || first.is_some();
    key && !chain
        .by_ref()
        .take(MAX_STEPS)
        .any(|referred| flow.taints.contains_key(referred))
}

fn derive(relation: &Relation, flow: &Flow, unlisted: &mut HashSet<Cell>) {
    for (index, column) in relation.columns.iter().enumerate() {
        let cell = (relation.oid, column.num);
        // Whoever gave the column a class has looked at it.
        let own = flow
            .taints
            .get(&cell)
            .is_some_and(|taint| !taint.own.is_empty());
        if own || unlisted.contains(&cell) {
            continue;
        }
        let holds = match (is_view(relation), relation.sources.get(index)) {
            (true, Some(ColumnSource::Same { relation, column })) => {
                unlisted.contains(&(*relation, *column))
            }
            (true, Some(ColumnSource::Computed { from })) => {
                from.iter().any(|source| reads_any(*source, unlisted))
            }
            (true, Some(ColumnSource::Unknown) | None) => true,
            (false, _) => column
                .generated_from
                .iter()
                .any(|num| unlisted.contains(&(relation.oid, *num))),
        };
        if holds {
            unlisted.insert(cell);
        }
    }
}

/// Column 0 is the whole row.
fn reads_any(source: Cell, unlisted: &HashSet<Cell>) -> bool {
    match source {
        (relation, 0) => unlisted.iter().any(|(found, _)| *found == relation),
        cell => unlisted.contains(&cell),
    }
}
