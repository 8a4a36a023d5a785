//! Row rules of one role in one database: where they hold beyond the relations they name, and what is closed because it
//! would show rows that they hide.
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::memory::Memory;
use crate::catalog::{Catalog, ColumnSource, Oid, Relation, RelationKind};
use crate::config::{Diagnostic, Diagnostics, Origin};
use crate::policy::compiled::{RowRule, RulePart};
use crate::policy::flow::{FIRST_NORMAL_OID, is_view};
use crate::policy::pattern::is_system;
use crate::policy::rules::{RoleRule, RowsRule};

/// What became of a role's row rules.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    pub rules: HashMap<Oid, Arc<RowRule>>,
    pub closed: HashMap<Oid, Arc<str>>,
}

pub(super) fn compile(
    index: usize,
    role: &RoleRule,
    catalog: &Catalog,
    memory: &mut Memory,
    drift: &mut BTreeSet<String>,
    diagnostics: &mut Diagnostics,
) -> Rows {
    if role.unmasked || role.rows.is_empty() {
        return Rows::default();
    }
    let mut compiler = Compiler {
        role,
        catalog,
        states: HashMap::new(),
    };
    compiler.named(index, memory, drift, diagnostics);
    compiler.children();
    compiler.parents();
    compiler.views();
    compiler.finish(diagnostics)
}

/// What the rules say of a relation.
#[derive(Debug, Clone)]
enum State {
    /// `named`: a rule of its own, which its author chose knowing the relation.
    Ruled {
        rule: Arc<RowRule>,
        named: bool,
    },
    Closed {
        why: Why,
        origin: Origin,
    },
}

#[derive(Debug, Clone)]
enum Why {
    /// The rule for it cannot be used.
    Broken,
    /// It is a child of a relation whose rule cannot be used, or names a column it lacks.
    ChildOf(Oid),
    /// Rows of a child show in it.
    ParentOf(Oid),
    Reads(Oid),
    /// It calls functions that can read any row.
    Opaque,
}

struct Compiler<'a> {
    role: &'a RoleRule,
    catalog: &'a Catalog,
    states: HashMap<Oid, State>,
}

impl Compiler<'_> {
    /// Relations that rules name, and those that they named before.
    fn named(
        &mut self,
        role: usize,
        memory: &mut Memory,
        drift: &mut BTreeSet<String>,
        diagnostics: &mut Diagnostics,
    ) {
        for (index, rule) in self.role.rows.iter().enumerate() {
            let place = (role, index);
            let name = &rule.relation;
            let found = self.catalog.relation(&name.schema, &name.name);
            let mut there = found.is_some();
            for oid in memory.ruled(place) {
                let Some(relation) = self.catalog.relations.get(&oid) else {
                    continue;
                };
                there = true;
                if found.is_none_or(|found| found.oid != oid) {
                    let now = relation.full_name();
                    drift.insert(format!("`{name}` is `{now}` now, its row rule holds still"));
                    self.states
                        .insert(oid, known(rule, memory.rule(place, relation)));
                }
            }
            if !there && memory.ruled(place).next().is_some() {
                drift.insert(format!(
                    "`{name}`, which has a row rule, is not there any more"
                ));
            }
            let Some(relation) = found else {
                continue;
            };
            let state = own(rule, relation, self.catalog, diagnostics);
            let state = match state {
                State::Ruled { rule: bound, named } => {
                    memory.learn_rule(place, relation, &bound);
                    self.decided_elsewhere(rule, relation, diagnostics);
                    State::Ruled { rule: bound, named }
                }
                // Its columns may have other names now.
                State::Closed { .. } => known(rule, memory.rule(place, relation)),
            };
            self.states.insert(relation.oid, state);
        }
    }

    /// Whoever may write what the rule reads besides chooses the rows it lets through. What the server lets the role write is not
    /// known here; a rule of its own for the relation says that somebody has thought about it.
    fn decided_elsewhere(
        &self,
        rule: &RowsRule,
        relation: &Relation,
        diagnostics: &mut Diagnostics,
    ) {
        for oid in rule
            .condition
            .reads(relation, self.catalog)
            .unwrap_or_default()
        {
            let Some(read) = self.catalog.relations.get(&oid) else {
                continue;
            };
            if is_system(&read.schema) || self.role.rows_of(read).is_some() {
                continue;
            }
            let (name, role) = (read.full_name(), &self.role.name);
            let message = format!(
                "`{name}` decides which rows of `{}` are for `{role}`: who may write to it lets in others",
                rule.relation
            );
            diagnostics.push(Diagnostic::warning(&rule.origin, message).suggest(format!(
                "take INSERT, UPDATE and DELETE on it from the role's database users, or give it a row rule of its own: `{name}: \"...\"`"
            )));
        }
    }

    /// A rule holds for the partitions and children of its relation, column by name.
    fn children(&mut self) {
        // Each round goes one level down; a hierarchy without loops has no more levels than relations.
        let mut fresh: Vec<Oid> = self.states.keys().copied().collect();
        while !fresh.is_empty() {
            let mut below: Vec<Oid> = fresh
                .iter()
                .flat_map(|oid| self.catalog.children(*oid))
                .copied()
                .collect();
            below.sort_unstable();
            below.dedup();
            fresh = below
                .into_iter()
                .filter(|oid| {
                    let own =
                        matches!(self.states.get(oid), Some(State::Ruled { named: true, .. }));
                    let broken = matches!(self.states.get(oid), Some(State::Closed { .. }));
                    let state = (!own && !broken).then(|| self.inherited(*oid)).flatten();
                    match state {
                        Some(state) => {
                            self.states.insert(*oid, state);
                            true
                        }
                        None => false,
                    }
                })
                .collect();
        }
    }

    /// What the rules of a relation's parents come to for it.
    fn inherited(&self, child: Oid) -> Option<State> {
        let child = self.catalog.relations.get(&child)?;
        let mut rules: Vec<&Arc<RowRule>> = Vec::new();
        for parent in &child.parents {
            let closed = match self.states.get(parent) {
                Some(State::Closed { origin, .. }) => Some(origin),
                Some(State::Ruled { rule, .. }) if has_columns(child, rule) => {
                    if !rules.contains(&rule) {
                        rules.push(rule);
                    }
                    None
                }
                Some(State::Ruled { .. }) => Some(&self.role.origin),
                None => None,
            };
            if let Some(origin) = closed {
                return Some(State::Closed {
                    why: Why::ChildOf(*parent),
                    origin: origin.clone(),
                });
            }
        }
        let rule = match rules.as_slice() {
            [] => return None,
            [rule] => Arc::clone(rule),
            several => Arc::new(all_of(several)),
        };
        Some(State::Ruled { rule, named: false })
    }

    /// Who reads a parent reads the rows of its children.
    fn parents(&mut self) {
        let mut hidden: Vec<Oid> = self.states.keys().copied().collect();
        hidden.sort_unstable();
        while let Some(oid) = hidden.pop() {
            let parents = self
                .catalog
                .relations
                .get(&oid)
                .map_or(&[][..], |relation| relation.parents.as_slice());
            for parent in parents {
                if !self.states.contains_key(parent) {
                    let origin = self.origin(oid);
                    let why = Why::ParentOf(oid);
                    self.states.insert(*parent, State::Closed { why, origin });
                    hidden.push(*parent);
                }
            }
        }
    }

    /// A view is read with its owner's eyes: what it takes from a ruled relation passes no rule.
    fn views(&mut self) {
        let mut views: Vec<&Arc<Relation>> = self
            .catalog
            .relations
            .values()
            .filter(|relation| is_view(relation) && relation.oid >= FIRST_NORMAL_OID)
            .collect();
        views.sort_by_key(|view| view.oid);
        loop {
            let before = self.states.len();
            for view in &views {
                if self.states.contains_key(&view.oid) {
                    continue;
                }
                if let Some((why, origin)) = self.shows_hidden(view) {
                    self.states.insert(view.oid, State::Closed { why, origin });
                }
            }
            if self.states.len() == before {
                return;
            }
        }
    }

    fn shows_hidden(&self, view: &Relation) -> Option<(Why, Origin)> {
        let reads = self.catalog.view_reads.get(&view.oid);
        let values = view.sources.iter().flat_map(|source| match source {
            ColumnSource::Same { relation, .. } => vec![*relation],
            ColumnSource::Computed { from } => from.iter().map(|(relation, _)| *relation).collect(),
            ColumnSource::Unknown => Vec::new(),
        });
        let relations = reads
            .into_iter()
            .flat_map(|reads| reads.relations.iter().copied());
        if let Some(hidden) = relations
            .chain(values)
            .find(|oid| self.states.contains_key(oid))
        {
            return Some((Why::Reads(hidden), self.origin(hidden)));
        }
        let opaque = reads.is_some_and(|reads| reads.opaque)
            || view.sources.contains(&ColumnSource::Unknown);
        opaque.then(|| (Why::Opaque, self.role.origin.clone()))
    }

    /// The rule that a relation's state goes back to.
    fn origin(&self, oid: Oid) -> Origin {
        match self.states.get(&oid) {
            Some(State::Closed { origin, .. }) => origin.clone(),
            _ => {
                let relation = self.catalog.relations.get(&oid);
                let rule = relation.and_then(|relation| self.role.rows_of(relation));
                rule.map_or(&self.role.origin, |rule| &rule.named).clone()
            }
        }
    }

    fn finish(self, diagnostics: &mut Diagnostics) -> Rows {
        let mut rows = Rows::default();
        // By name, so that findings come in the same order every time.
        let mut closed: BTreeMap<String, (Oid, &Why, &Origin)> = BTreeMap::new();
        for (oid, state) in &self.states {
            match state {
                State::Ruled { rule, .. } => {
                    rows.rules.insert(*oid, Arc::clone(rule));
                }
                State::Closed { why, origin } => {
                    closed.insert(self.name(*oid), (*oid, why, origin));
                }
            }
        }
        for (name, (oid, why, origin)) in closed {
            let reason = self.reason(why);
            if !matches!(why, Why::Broken) {
                let message = format!("`{name}` is closed to `{}`: {reason}", self.role.name);
                diagnostics.push(Diagnostic::warning(origin, message).suggest(format!(
                    "to open it, give it a row rule of its own: `{name}: \"...\"`"
                )));
            }
            rows.closed.insert(oid, reason.into());
        }
        rows
    }

    fn name(&self, oid: Oid) -> String {
        let relation = self.catalog.relations.get(&oid);
        relation.map_or_else(|| oid.to_string(), |relation| relation.full_name())
    }

    fn reason(&self, why: &Why) -> String {
        match why {
            Why::Broken => "its row rule does not fit it".to_owned(),
            Why::ChildOf(parent) => format!(
                "it belongs to `{}`, whose row rule does not fit it",
                self.name(*parent)
            ),
            Why::ParentOf(child) => format!(
                "it shows the rows of `{}`, some of which a row rule hides",
                self.name(*child)
            ),
            Why::Reads(relation) => format!(
                "it reads `{}`, some of whose rows a row rule hides",
                self.name(*relation)
            ),
            Why::Opaque => "what it reads is not known, and row rules hide rows".to_owned(),
        }
    }
}

/// What becomes of a rule for the relation it names.
fn own(
    rule: &RowsRule,
    relation: &Relation,
    catalog: &Catalog,
    diagnostics: &mut Diagnostics,
) -> State {
    let broken = || State::Closed {
        why: Why::Broken,
        origin: rule.named.clone(),
    };
    let readable = !matches!(relation.kind, RelationKind::Sequence | RelationKind::Other);
    if !readable || is_system(&relation.schema) {
        let message = format!("`{}` is no table or view of a user's", rule.relation);
        diagnostics.push(Diagnostic::error(&rule.named, message));
        return broken();
    }
    match rule.condition.bind(relation, catalog) {
        Ok(rule) => State::Ruled {
            rule: Arc::new(rule),
            named: true,
        },
        Err(objection) => {
            diagnostics.push(objection.at(&rule.origin));
            broken()
        }
    }
}

/// A rule as it was known before, if it can still be said.
fn known(rule: &RowsRule, known: Option<RowRule>) -> State {
    match known {
        Some(rule) => State::Ruled {
            rule: Arc::new(rule),
            named: true,
        },
        None => State::Closed {
            why: Why::Broken,
            origin: rule.named.clone(),
        },
    }
}

fn has_columns(relation: &Relation, rule: &RowRule) -> bool {
    rule.parts.iter().all(|part| match part {
        RulePart::Column(name) => relation.column(name).is_some(),
        RulePart::Sql(_) | RulePart::Value(_) => true,
    })
}

/// Rules joined by AND.
fn all_of(rules: &[&Arc<RowRule>]) -> RowRule {
    let mut parts = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        parts.push(RulePart::Sql(
            if index == 0 { "(" } else { ") AND (" }.into(),
        ));
        parts.extend(rule.parts.iter().cloned());
    }
    parts.push(RulePart::Sql(")".into()));
    RowRule { parts }
}
