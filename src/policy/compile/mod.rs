//! From a [`PolicySet`] and a catalog to what the planner uses.
mod clear;
mod memory;
mod missing;
mod outside;
mod role;
mod rows;
mod ties;
mod unlisted;
mod version;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use foldhash::fast::RandomState;
pub use memory::Memory;
use role::Common;
use rows::Rows;

use super::PolicySet;
use super::compiled::{Classes, RolePolicy, Traps};
use super::flow::{Cell, ClassIndex, Flow, Taint};
use crate::catalog::{Catalog, Column, Oid, Relation};
use crate::config::{Diagnostic, Diagnostics, Severity};

/// Role, purpose, and the regions that a session is outside of.
type Elsewhere = (Arc<str>, Option<Arc<str>>, u32);

/// A policy for one database.
#[derive(Debug, Clone, Default)]
pub struct CompiledPolicy {
    /// For what no class says it is for, and of roles with a purpose of their own for that.
    pub roles: HashMap<Arc<str>, Arc<RolePolicy>, RandomState>,
    /// By role and purpose.
    for_purpose: HashMap<(Arc<str>, Arc<str>), Arc<RolePolicy>>,
    /// By role, purpose where that matters, and the regions that a session is outside of and whose rows are masked for it.
    outside: HashMap<Elsewhere, Arc<RolePolicy>>,
}

impl CompiledPolicy {
    /// A role as it is for a purpose and for who is outside of those regions ([`PolicySet::masked_outside`]).
    pub fn role(
        &self,
        name: &str,
        purpose: Option<&str>,
        outside: u32,
    ) -> Option<&Arc<RolePolicy>> {
        if outside != 0 {
            let known = |purpose: Option<&str>| {
                let key = (Arc::from(name), purpose.map(Arc::from), outside);
                self.outside.get(&key)
            };
            return purpose
                .and_then(|purpose| known(Some(purpose)))
                .or_else(|| known(None));
        }
        let special = purpose.filter(|_| !self.for_purpose.is_empty());
        let special = special
            .and_then(|purpose| self.for_purpose.get(&(Arc::from(name), Arc::from(purpose))));
        special.or_else(|| self.roles.get(name))
    }
}

/// A policy held against a database once more.
#[derive(Debug, Default)]
pub struct Recompiled {
    pub compiled: CompiledPolicy,
    /// For the next time.
    pub memory: Memory,
    /// What of the policy does not fit the database any more, in names alone. It is protected all the same: by object
    /// identifier and column number, redacted, or closed.
    pub drift: BTreeSet<String>,
    /// All findings, those that are no drift included (views closed by row rules).
    pub findings: Diagnostics,
}

impl PolicySet {
    /// Holds the policy against one database.
    ///
    /// The compiled policy is safe to use whatever is found: a column whose mask does not fit, or that stands in two
    /// classes, is redacted. Errors stop a start all the same; with several databases use
    /// [`PolicySet::check_catalogs`], which lets a column be missing where another database has it.
    pub fn compile(&self, catalog: &Catalog) -> (CompiledPolicy, Diagnostics) {
        let (compiled, mut diagnostics) =
            self.compile_present(catalog, &mut Memory::default(), &mut BTreeSet::new());
        for diagnostic in self.missing(catalog).into_values() {
            diagnostics.push(diagnostic);
        }
        diagnostics.sort();
        (compiled, diagnostics)
    }

    /// All findings of the policy against the databases it serves: a name is missing if no database has it.
    pub fn check_catalogs<'a>(
        &self,
        catalogs: impl IntoIterator<Item = &'a Catalog>,
    ) -> Diagnostics {
        let mut diagnostics = Diagnostics::default();
        let mut missing: Option<BTreeMap<_, Diagnostic>> = None;
        for catalog in catalogs {
            let (_, found) =
                self.compile_present(catalog, &mut Memory::default(), &mut BTreeSet::new());
            diagnostics.extend(found);
            let absent = self.missing(catalog);
            missing = Some(match missing {
                Some(mut missing) => {
                    missing.retain(|key, finding| match absent.get(key) {
                        // The database that it is meant for knows what is nearly called so.
                        Some(other) if knows_better(other, finding) => {
                            *finding = other.clone();
                            true
                        }
                        other => other.is_some(),
                    });
                    missing
                }
                None => absent,
            });
        }
        for diagnostic in missing.into_iter().flat_map(BTreeMap::into_values) {
            diagnostics.push(diagnostic);
        }
        diagnostics.sort();
        diagnostics
    }

    /// Holds the policy against a database that it was held against before: what it matched then stays protected by
    /// object identifier and column number.
    pub fn compile_again(&self, catalog: &Catalog, before: &Memory) -> Recompiled {
        let mut memory = before.of(self);
        let mut drift = BTreeSet::new();
        let (compiled, mut diagnostics) = self.compile_present(catalog, &mut memory, &mut drift);
        diagnostics.sort();
        drift.extend(
            diagnostics
                .iter()
                .filter(|finding| finding.severity == Severity::Error)
                .map(|finding| finding.message.clone()),
        );
        Recompiled {
            compiled,
            memory,
            drift,
            findings: diagnostics,
        }
    }

    fn compile_present(
        &self,
        catalog: &Catalog,
        memory: &mut Memory,
        drift: &mut BTreeSet<String>,
    ) -> (CompiledPolicy, Diagnostics) {
        let kept = memory.kept(self, catalog, drift);
        let flow = Flow::trace(self, catalog, &kept);
        memory.learn(self, catalog, &flow);
        let mut diagnostics = self.contradictions(catalog, &flow);
        outside::check(self, catalog, &flow, &mut diagnostics);
        let rows: Vec<Rows> = self
            .roles
            .iter()
            .enumerate()
            .map(|(index, role)| {
                rows::compile(index, role, catalog, memory, drift, &mut diagnostics)
            })
            .collect();
        let mut protected: HashSet<Oid> =
            flow.taints.keys().map(|(relation, _)| *relation).collect();
        for rows in &rows {
            protected.extend(rows.rules.keys().chain(rows.closed.keys()));
        }
        let traps = match &self.traps {
            Some(rules) => rules.compile(catalog, memory.of_traps(), drift),
            None => Traps::default(),
        };
        let common = Common {
            policy: &Arc::from(self.version.as_str()),
            traps: &Arc::new(traps),
            protected: &protected,
            classes: &Arc::new(self.classes_of_columns(&flow)),
            shares_session: !self.applications.is_empty()
                && rows
                    .iter()
                    .any(|rows| !(rows.rules.is_empty() && rows.closed.is_empty())),
        };
        let mut compiled = CompiledPolicy::default();
        let purposes: Vec<Arc<str>> = self.purposes().into_iter().map(Arc::from).collect();
        for (role, rows) in self.roles.iter().zip(rows) {
            let compile = |rows, purpose, outside, diagnostics: &mut Diagnostics| {
                let scene = role::Scene {
                    policies: self,
                    role,
                    catalog,
                    flow: &flow,
                    purpose,
                    outside,
                };
                Arc::new(role::compile(scene, rows, &common, diagnostics))
            };
            // What there is to say of a role is said once for all purposes, and once for who is outside.
            let mut said = Diagnostics::default();
            if role.purpose.is_none() && role.restricted() {
                for purpose in &purposes {
                    let policy = compile(rows.clone(), Some(&**purpose), 0, &mut said);
                    let key = (Arc::clone(&role.name), Arc::clone(purpose));
                    compiled.for_purpose.insert(key, policy);
                    for outside in self.outsides() {
                        let policy = compile(rows.clone(), Some(&**purpose), outside, &mut said);
                        let key = (Arc::clone(&role.name), Some(Arc::clone(purpose)), outside);
                        compiled.outside.insert(key, policy);
                    }
                }
            }
            for outside in self.outsides() {
                let purpose = role.purpose.as_deref();
                let policy = compile(rows.clone(), purpose, outside, &mut said);
                let key = (Arc::clone(&role.name), None, outside);
                compiled.outside.insert(key, policy);
            }
            let policy = compile(rows, role.purpose.as_deref(), 0, &mut diagnostics);
            compiled.roles.insert(Arc::clone(&role.name), policy);
        }
        (compiled, diagnostics)
    }

    /// The classes that each column of a database is in, views and inheritance included; whatever the roles are.
    pub fn classified(&self, catalog: &Catalog) -> Classes {
        self.classes_of_columns(&Flow::trace(self, catalog, &[]))
    }

    /// The names of the classes of each column, derived ones included.
    fn classes_of_columns(&self, flow: &Flow) -> Classes {
        let name = |class: ClassIndex| Some(Arc::clone(&self.classes.get(class)?.name));
        let named = |taint: &Taint| {
            let mut names: Vec<_> = taint.all().filter_map(name).collect();
            names.sort_unstable();
            names.dedup();
            names
        };
        let taints = flow.taints.iter();
        taints.map(|(cell, taint)| (*cell, named(taint))).collect()
    }

    /// Columns of several classes, at the place that names them last; one finding for each such place.
    fn contradictions(&self, catalog: &Catalog, flow: &Flow) -> Diagnostics {
        let mut found: BTreeMap<(ClassIndex, usize), BTreeMap<String, &BTreeSet<ClassIndex>>> =
            BTreeMap::new();
        for (cell, taint) in flow.taints.iter().filter(|(_, taint)| taint.own.len() > 1) {
            let place = flow.named.get(cell).and_then(|named| named.iter().max());
            if let (Some(place), Some((relation, column))) = (place, locate(catalog, *cell)) {
                found
                    .entry(*place)
                    .or_default()
                    .insert(column_name(relation, column), &taint.own);
            }
        }
        let mut diagnostics = Diagnostics::default();
        for ((class, column), cells) in found {
            let named = self
                .classes
                .get(class)
                .and_then(|rule| rule.columns.get(column));
            if let (Some(named), Some((shown, classes))) = (named, cells.first_key_value()) {
                let labels: Vec<String> = self
                    .labels(classes)
                    .map(|label| format!("`{label}`"))
                    .collect();
                let message = format!(
                    "the column `{shown}` belongs to the classes {}",
                    labels.join(" and ")
                );
                let suggestion =
                    "leave it in one; partitions, parents and children share the class of a column";
                diagnostics.push(Diagnostic::error(&named.origin, message).suggest(suggestion));
            }
        }
        diagnostics
    }

    fn labels<'a>(
        &'a self,
        classes: &'a BTreeSet<ClassIndex>,
    ) -> impl Iterator<Item = &'a Arc<str>> {
        classes
            .iter()
            .filter_map(|index| self.classes.get(*index))
            .map(|class| &class.name)
    }
}

fn knows_better(one: &Diagnostic, other: &Diagnostic) -> bool {
    let knows = |finding: &Diagnostic| {
        let suggestion = finding.suggestion.as_deref();
        suggestion.is_some_and(|text| text.starts_with("did you mean"))
    };
    knows(one) && !knows(other)
}

fn locate(catalog: &Catalog, (relation, column): Cell) -> Option<(&Relation, &Column)> {
    let relation = catalog.relations.get(&relation)?;
    Some((relation, relation.column_number(column)?))
}

/// `schema.table.column`, for messages.
fn column_name(relation: &Relation, column: &Column) -> String {
    format!("{}.{}", relation.full_name(), column.name)
}
