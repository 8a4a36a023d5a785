//! Columns that look like classified ones and are in no class.
use std::collections::BTreeMap;

use crate::catalog::{Catalog, Column, RelationKind};
use crate::config::{Diagnostic, Diagnostics};
use crate::policy::PolicySet;
use crate::policy::flow::Flow;
use crate::policy::pattern::is_system;

/// Columns that are told by name; of the others their number.
const SHOWN: usize = 5;
/// Shorter names say too little.
const SHORTEST: usize = 4;

/// A place in the policy that names a column: class, and index into its columns.
type Place = (usize, usize);

/// One finding for each place that names a column to which others are alike.
pub fn left_out(policy: &PolicySet, catalog: &Catalog, flow: &Flow, findings: &mut Diagnostics) {
    // By what their names come to; of several places the first.
    let mut known: BTreeMap<String, (char, Place)> = BTreeMap::new();
    for (cell, named) in &flow.named {
        let column = catalog
            .relations
            .get(&cell.0)
            .and_then(|relation| relation.column_number(cell.1));
        let (Some(column), Some(place)) = (column, named.iter().min()) else {
            continue;
        };
        let stem = stem(&column.name);
        if stem.chars().count() >= SHORTEST {
            let entry = known
                .entry(stem)
                .or_insert((category(column, catalog), *place));
            entry.1 = entry.1.min(*place);
        }
    }
    let mut alike: BTreeMap<Place, Vec<String>> = BTreeMap::new();
    for relation in catalog.relations.values() {
        // Views take their classes from what they read; what an extension brings is not the policy's matter.
        let holds_data = matches!(
            relation.kind,
            RelationKind::Table | RelationKind::PartitionedTable | RelationKind::ForeignTable
        );
        if !holds_data || is_system(&relation.schema) || relation.extension.is_some() {
            continue;
        }
        for column in &relation.columns {
            let classified = flow.taints.contains_key(&(relation.oid, column.num));
            if classified {
                continue;
            }
            let of_kind = category(column, catalog);
            let stem = stem(&column.name);
            let found = known.iter().find(|(name, (kind, _))| {
                *kind == of_kind && (stem == **name || has_words(&stem, name))
            });
            if let Some((_, (_, place))) = found {
                let name = format!("{}.{}", relation.full_name(), column.name);
                alike.entry(*place).or_default().push(name);
            }
        }
    }
    for ((class, index), mut columns) in alike {
        let Some(class) = policy.classes.get(class) else {
            continue;
        };
        let Some(named) = class.columns.get(index) else {
            continue;
        };
        columns.sort();
        let more = columns.len().saturating_sub(SHOWN);
        let listed: Vec<String> = columns
            .iter()
            .take(SHOWN)
            .map(|name| format!("`{name}`"))
            .collect();
        let more = match more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let message = format!(
            "in no class, and by name and type like this one: {}{more}",
            listed.join(", ")
        );
        findings.push(Diagnostic::warning(&named.origin, message).suggest(format!(
            "if they hold the same, add them to `{}`",
            class.name
        )));
    }
}

/// A name without what tells one column from its neighbour: case, and digits at the end.
fn stem(name: &str) -> String {
    let name = name.to_lowercase().replace(['-', ' '], "_");
    let end = |c: char| c.is_ascii_digit() || c == '_';
    let stem = name.trim_end_matches(end);
    match stem.is_empty() {
        true => name,
        false => stem.to_owned(),
    }
}

/// Whether one name has all words of the other, one after the other: `work_phone` has `phone`.
fn has_words(longer: &str, shorter: &str) -> bool {
    format!("_{longer}_").contains(&format!("_{shorter}_"))
}

/// `pg_type.typcategory`: texts are like texts, and dates like dates.
fn category(column: &Column, catalog: &Catalog) -> char {
    let data_type = catalog.types.get(&column.type_oid);
    data_type.map_or('?', |data_type| data_type.category)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_alike_by_words_and_not_by_letters() {
        for (name, of, expected) in [
            ("phone2", "phone", true),
            ("phone_2", "phone", true),
            ("Work-Phone", "phone", true),
            ("home_phone_number", "phone", true),
            ("phonetic", "phone", false),
            ("microphone", "phone", false),
            ("id_card", "id_card", true),
            ("card_id", "id_card", false),
        ] {
            let (name, of) = (stem(name), stem(of));
            assert_eq!(name == of || has_words(&name, &of), expected, "{name} {of}");
        }
        assert_eq!(stem("2024"), "2024");
    }
}
