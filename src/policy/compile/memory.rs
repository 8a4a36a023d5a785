//! What a policy has matched in a database, by object identifier and column number: that stays protected when its name
//! does not match any more.
//!
//! A name in a policy is a promise about the data that had it. A column that is renamed, or whose table is renamed or
//! moved, holds that data still; a column that takes over the name is meant by the policy as well.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{column_name, locate};
use crate::catalog::{AttNum, Catalog, Oid, Relation};
use crate::policy::PolicySet;
use crate::policy::compiled::{RowRule, RulePart};
use crate::policy::flow::{Cell, ClassIndex, Flow};
use crate::policy::rules::{ClassColumn, Missing};

/// A place in a policy that names columns: class, and index into its columns.
pub type Place = (ClassIndex, usize);
/// Index of a role, and of a row rule within it.
pub type RulePlace = (usize, usize);

/// What one version of a policy has matched in one database so far.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    policy: String,
    columns: BTreeMap<Place, BTreeSet<Cell>>,
    rules: BTreeMap<RulePlace, BTreeMap<Oid, KnownRule>>,
    /// The same of what honeytoken rows are known by.
    traps: Option<Box<Memory>>,
}

/// A row rule that was bound to a relation, and the columns it names as they were numbered.
#[derive(Debug, Clone)]
struct KnownRule {
    rule: Arc<RowRule>,
    columns: BTreeMap<Box<str>, AttNum>,
}

impl Memory {
    /// What is worth knowing for this policy: another one starts anew.
    pub(super) fn of(&self, policy: &PolicySet) -> Memory {
        match self.policy == policy.version {
            true => self.clone(),
            false => Memory {
                policy: policy.version.clone(),
                ..Memory::default()
            },
        }
    }

    /// What is known of the columns of honeytoken rows.
    pub fn of_traps(&mut self) -> &mut Memory {
        self.traps.get_or_insert_default()
    }

    /// Columns that a place in the policy has matched and does not match by name now, if they are still there. What no
    /// longer fits is told to `drift`.
    pub fn kept(
        &self,
        policy: &PolicySet,
        catalog: &Catalog,
        drift: &mut BTreeSet<String>,
    ) -> Vec<(Cell, Place)> {
        let mut kept = Vec::new();
        for (place, cells) in &self.columns {
            let Some((class, named)) = named(policy, *place) else {
                continue;
            };
            let mut there = false;
            for cell in cells {
                let Some((relation, column)) = locate(catalog, *cell) else {
                    continue;
                };
                there = true;
                let matches = named.pattern.matches_relation(relation)
                    && named.pattern.column.matches(&column.name);
                if !matches {
                    drift.insert(format!(
                        "`{}` is `{}` now, still meant by `{class}`",
                        named.pattern,
                        column_name(relation, column)
                    ));
                    kept.push((*cell, *place));
                }
            }
            if !there && !is_matched(catalog, named) && missing(policy, *place) == Missing::Error {
                drift.insert(format!(
                    "`{}` of the class `{class}` is not there any more",
                    named.pattern
                ));
            }
        }
        kept
    }

    /// Takes in what matches now.
    pub fn learn(&mut self, policy: &PolicySet, catalog: &Catalog, flow: &Flow) {
        for (cell, places) in &flow.named {
            for place in places {
                self.columns.entry(*place).or_default().insert(*cell);
            }
        }
        // What a wildcard has matched and is gone is gone; with an exact name it is missed.
        self.columns.retain(|place, cells| {
            if !named(policy, *place).is_some_and(|(_, named)| named.pattern.is_exact()) {
                cells.retain(|cell| locate(catalog, *cell).is_some());
            }
            !cells.is_empty()
        });
    }

    pub(super) fn learn_rule(
        &mut self,
        place: RulePlace,
        relation: &Relation,
        rule: &Arc<RowRule>,
    ) {
        let columns = rule.parts.iter().filter_map(|part| match part {
            RulePart::Column(name) => Some((name.clone(), relation.column(name)?.num)),
            RulePart::Sql(_) | RulePart::Value(_) => None,
        });
        let known = KnownRule {
            rule: Arc::clone(rule),
            columns: columns.collect(),
        };
        let rules = self.rules.entry(place).or_default();
        rules.insert(relation.oid, known);
    }

    /// Relations that a rule was bound to.
    pub(super) fn ruled(&self, place: RulePlace) -> impl Iterator<Item = Oid> {
        self.rules
            .get(&place)
            .into_iter()
            .flat_map(BTreeMap::keys)
            .copied()
    }

    /// The rule as it was, over the names that its columns have now; `None` if one of them is gone.
    pub(super) fn rule(&self, place: RulePlace, relation: &Relation) -> Option<RowRule> {
        let known = self.rules.get(&place)?.get(&relation.oid)?;
        let parts = known.rule.parts.iter().map(|part| match part {
            RulePart::Column(name) => {
                let column = relation.column_number(*known.columns.get(name)?)?;
                Some(RulePart::Column(column.name.as_str().into()))
            }
            other => Some(other.clone()),
        });
        Some(RowRule {
            parts: parts.collect::<Option<_>>()?,
        })
    }
}

fn named(policy: &PolicySet, (class, index): Place) -> Option<(&str, &ClassColumn)> {
    let class = policy.classes.get(class)?;
    Some((&class.name, class.columns.get(index)?))
}

fn missing(policy: &PolicySet, (class, _): Place) -> Missing {
    let class = policy.classes.get(class);
    class.map_or(Missing::Error, |class| class.missing)
}

fn is_matched(catalog: &Catalog, named: &ClassColumn) -> bool {
    catalog
        .relations
        .values()
        .filter(|relation| named.pattern.matches_relation(relation))
        .any(|relation| {
            let mut columns = relation.columns.iter();
            columns.any(|column| named.pattern.column.matches(&column.name))
        })
}
