//! What tells the rows of a relation apart, as far as the catalog and a role's masks know it.
use crate::catalog::ties::TieKind;
use crate::catalog::{AttNum, Catalog, ColumnSource, Oid, Relation};
use crate::policy::compiled::RolePolicy;

/// Views over views that a key is followed through.
const MAX_DEPTH: u32 = 8;

/// Sets of columns that name a row: primary keys, unique indexes, and each column that is masked for the role, as names of
/// people are. A view has those of its relations that it shows whole; a column that it computes from one is one.
pub fn of(catalog: &Catalog, role: &RolePolicy, relation: Oid) -> Vec<Vec<String>> {
    let Some(known) = catalog.relations.get(&relation) else {
        return Vec::new();
    };
    let named = |key: Vec<AttNum>| -> Option<Vec<String>> {
        key.into_iter()
            .map(|number| {
                known
                    .column_number(number)
                    .map(|column| column.name.clone())
            })
            .collect()
    };
    let keys = numbers(catalog, role, known, 0).into_iter();
    keys.filter_map(named)
        .filter(|key| !key.is_empty())
        .collect()
}

fn numbers(
    catalog: &Catalog,
    role: &RolePolicy,
    relation: &Relation,
    depth: u32,
) -> Vec<Vec<AttNum>> {
    let mut keys: Vec<Vec<AttNum>> = vec![relation.primary_key.clone()];
    let ties = catalog.ties.get(&relation.oid).into_iter().flatten();
    let unique = ties.filter(|tie| matches!(tie.kind, TieKind::Unique | TieKind::Exclusion));
    keys.extend(unique.map(|tie| tie.columns.clone()));
    let masks = role.masks.get(&relation.oid).into_iter().flatten();
    keys.extend(masks.map(|(column, _)| vec![*column]));
    if depth < MAX_DEPTH {
        keys.extend(through(catalog, role, relation, depth));
    }
    keys
}

/// Keys of the relations that a view reads.
fn through(catalog: &Catalog, role: &RolePolicy, view: &Relation, depth: u32) -> Vec<Vec<AttNum>> {
    let mut keys = Vec::new();
    let columns = || view.columns.iter().zip(&view.sources);
    let own_keys = |oid: Oid| {
        let base = catalog.relations.get(&oid);
        base.map_or_else(Vec::new, |base| numbers(catalog, role, base, depth + 1))
    };
    let mut bases: Vec<Oid> = Vec::new();
    for (column, source) in columns() {
        match source {
            ColumnSource::Same { relation, .. } => bases.push(*relation),
            ColumnSource::Computed { from } => {
                let of_a_key = |(relation, number): &(Oid, AttNum)| {
                    own_keys(*relation)
                        .iter()
                        .flatten()
                        .any(|own| own == number)
                };
                if from.iter().any(of_a_key) {
                    keys.push(vec![column.num]);
                }
            }
            ColumnSource::Unknown => keys.push(vec![column.num]),
        }
    }
    bases.sort_unstable();
    bases.dedup();
    for base in bases {
        for key in own_keys(base) {
            let shown = |number: AttNum| {
                let mut columns = columns();
                let is_it = |source: &ColumnSource| matches!(source, ColumnSource::Same { relation, column } if *relation == base && *column == number);
                columns
                    .find(|(_, source)| is_it(source))
                    .map(|(column, _)| column.num)
            };
            keys.extend(key.into_iter().map(shown).collect::<Option<Vec<_>>>());
        }
    }
    keys
}
