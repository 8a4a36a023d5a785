//! Columns whose new value would be compared with a stored one that the role does not see, by what the schema checks when a
//! row is written ([`crate::catalog::ties`]).
//!
//! A value that the role itself gives tells nothing by a comparison with others that it gives: a new row is free. What is
//! held back is a stored value: of another column of the row in an UPDATE, or of other rows, whose column stands beside one
//! that changes.
//!
//! Nor may a row end, or its key change, to which a stored value of that kind refers by a foreign key: the server says whether one
//! does, or what becomes of its row shows it.
//!
//! Besides, columns whose new value a foreign key would carry into what says who sees a row: the column of a region, the columns
//! of a row rule.
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::catalog::{AttNum, Catalog, ColumnSource, Oid, ROW, Relation, Tie, TieKind};
use crate::policy::compiled::{RolePolicy, RulePart};
use crate::policy::flow::{Cell, is_view};

pub(super) fn apply(policy: &mut RolePolicy, catalog: &Catalog) {
    policy.carried = carried(policy, catalog);
    if catalog.ties.is_empty() || (policy.masks.is_empty() && policy.denied.is_empty()) {
        return;
    }
    let mut finder = Finder {
        policy,
        catalog,
        tied: BTreeMap::new(),
        probed: BTreeMap::new(),
    };
    // In one order, so that the same constraint is named every time.
    let relations: BTreeSet<Oid> = catalog.ties.keys().copied().collect();
    for oid in relations {
        if let Some(relation) = catalog.relations.get(&oid) {
            finder.own(relation);
            finder.referred(relation);
            finder.moves(relation);
        }
    }
    if finder.tied.is_empty() {
        return;
    }
    finder.spread();
    let Finder { tied, probed, .. } = finder;
    policy.tied = by_relation(tied);
    policy.probed = probed.into_iter().collect();
}

/// What a write of which, by foreign keys, moves rows to where the role sees more of them, or into its row rules.
fn carried(policy: &RolePolicy, catalog: &Catalog) -> HashMap<Oid, HashMap<AttNum, Arc<str>>> {
    if catalog.cascades.is_empty() || (policy.anchors.is_empty() && policy.rows.is_empty()) {
        return HashMap::new();
    }
    let mut decides: BTreeMap<Cell, &str> = BTreeMap::new();
    for (oid, rule) in &policy.rows {
        let Some(relation) = catalog.relations.get(oid) else {
            continue;
        };
        for part in &rule.parts {
            if let RulePart::Column(name) = part
                && let Some(column) = relation.column(name)
            {
                for stored in relation.stored(&[column.num]) {
                    decides.insert((*oid, stored), "its row rule");
                }
            }
        }
    }
    for (oid, columns) in &policy.anchors {
        for column in columns {
            decides.insert((*oid, *column), "the region of its rows");
        }
    }
    let mut finder = Finder {
        policy,
        catalog,
        tied: BTreeMap::new(),
        probed: BTreeMap::new(),
    };
    for cascade in &catalog.cascades {
        if let (Some(what), Some(relation)) = (
            decides.get(&cascade.to),
            catalog.relations.get(&cascade.to.0),
        ) {
            let why = format!("a foreign key of {} makes {what}", relation.full_name());
            finder.tie(cascade.from, &why.into());
        }
    }
    if finder.tied.is_empty() {
        return HashMap::new();
    }
    finder.spread();
    by_relation(finder.tied)
}

fn by_relation(tied: BTreeMap<Cell, Arc<str>>) -> HashMap<Oid, HashMap<AttNum, Arc<str>>> {
    let mut columns: HashMap<Oid, HashMap<AttNum, Arc<str>>> = HashMap::new();
    for ((relation, column), why) in tied {
        columns.entry(relation).or_default().insert(column, why);
    }
    columns
}

struct Finder<'a> {
    policy: &'a RolePolicy,
    catalog: &'a Catalog,
    tied: BTreeMap<Cell, Arc<str>>,
    /// Relations in which a new row would be held against others by more than equality.
    probed: BTreeMap<Oid, Arc<str>>,
}

impl Finder<'_> {
    fn hidden(&self, relation: Oid, column: AttNum) -> bool {
        self.policy.mask(relation, column).is_some() || self.policy.denies(relation, column)
    }

    /// Of any column, where it is the whole row.
    fn hides(&self, (relation, column): Cell) -> bool {
        let any = |of: Option<usize>| of.is_some_and(|columns| columns > 0);
        match column {
            0 => {
                any(self.policy.masks.get(&relation).map(HashMap::len))
                    || any(self.policy.denied.get(&relation).map(HashSet::len))
            }
            _ => self.hidden(relation, column),
        }
    }

    /// What ties columns of the relation itself.
    fn own(&mut self, relation: &Relation) {
        for tie in self.catalog.ties.get(&relation.oid).into_iter().flatten() {
            let columns = relation.stored(&tie.columns);
            let hidden = |column: &AttNum| self.hidden(relation.oid, *column);
            let hidden: Vec<AttNum> = columns.iter().copied().filter(hidden).collect();
            let elsewhere = tie.others.iter().any(|other| self.hides(*other));
            if hidden.is_empty() && !elsewhere {
                continue;
            }
            let why = described(tie, relation);
            let by_range = tie.kind == TieKind::Exclusion || elsewhere;
            for column in columns {
                let by_others = hidden.iter().any(|other| *other != column);
                if by_others || by_range {
                    self.tie((relation.oid, column), &why);
                }
            }
            // A further row to refer to is in nobody's way.
            if by_range && tie.kind != TieKind::Referred {
                self.probed.entry(relation.oid).or_insert(why);
            }
        }
    }

    /// The rows to which a foreign key of a hidden column refers, and their keys.
    fn referred(&mut self, relation: &Relation) {
        for tie in self.catalog.ties.get(&relation.oid).into_iter().flatten() {
            let stored = relation.stored(&tie.columns);
            let mut columns = stored.iter().chain(&tie.columns);
            if tie.refers.is_empty() || !columns.any(|column| self.hidden(relation.oid, *column)) {
                continue;
            }
            let why = described(tie, relation);
            for (oid, column) in &tie.refers {
                let found = self.catalog.relations.get(oid);
                for key in found.map_or(vec![*column], |found| found.stored(&[*column])) {
                    self.tie((*oid, key), &why);
                }
                self.tie((*oid, ROW), &why);
            }
        }
    }

    /// A row that goes to another partition meets what that one alone checks.
    fn moves(&mut self, relation: &Relation) {
        let ties = self.catalog.ties.get(&relation.oid).into_iter().flatten();
        let keys: Vec<AttNum> = ties
            .filter(|tie| tie.kind == TieKind::PartitionKey)
            .flat_map(|tie| relation.stored(&tie.columns))
            .collect();
        if keys.is_empty() {
            return;
        }
        let children = self.catalog.children(relation.oid).iter().copied();
        for below in self.catalog.below(children, |_| true) {
            let Some(partition) = self.catalog.relations.get(&below) else {
                continue;
            };
            let ties = self.catalog.ties.get(&below).into_iter().flatten();
            for tie in ties.filter(|tie| !tie.inherited && tie.kind != TieKind::Policy) {
                let names: Vec<&str> = partition
                    .stored(&tie.columns)
                    .into_iter()
                    .filter(|column| self.hidden(below, *column))
                    .filter_map(|column| Some(partition.column_number(column)?.name.as_str()))
                    .collect();
                let why = described(tie, partition);
                for key in &keys {
                    let name = relation.column_number(*key).map(|column| &column.name);
                    if names
                        .iter()
                        .any(|hidden| name.is_none_or(|name| name != hidden))
                    {
                        self.tie((relation.oid, *key), &why);
                    }
                }
            }
        }
    }

    fn tie(&mut self, cell: Cell, why: &Arc<str>) -> bool {
        if self.tied.contains_key(&cell) {
            return false;
        }
        self.tied.insert(cell, Arc::clone(why));
        true
    }

    /// To whatever a write of a tied column may be written through.
    fn spread(&mut self) {
        let catalog = self.catalog;
        let views: Vec<&Arc<Relation>> = catalog
            .relations
            .values()
            .filter(|relation| is_view(relation))
            .collect();
        loop {
            let mut grown = false;
            let found: Vec<(Cell, Arc<str>)> = self
                .tied
                .iter()
                .map(|(cell, why)| (*cell, Arc::clone(why)))
                .collect();
            for ((oid, column), why) in &found {
                // An UPDATE of a parent reaches the rows of its children; one of a partition the bounds of its parents.
                let Some(relation) = catalog.relations.get(oid) else {
                    continue;
                };
                let name = relation.column_number(*column).map(|column| &column.name);
                let related = relation.parents.iter().chain(catalog.children(*oid));
                for other in related.filter_map(|oid| catalog.relations.get(oid)) {
                    let same = other
                        .columns
                        .iter()
                        .find(|column| Some(&column.name) == name);
                    if let Some(same) = same {
                        grown |= self.tie((other.oid, same.num), why);
                    }
                }
            }
            for cascade in &catalog.cascades {
                if let Some(why) = self.tied.get(&cascade.to).cloned() {
                    grown |= self.tie(cascade.from, &why);
                }
            }
            let deleted = found.iter().filter(|((_, column), _)| *column == ROW);
            for ((oid, _), why) in deleted {
                grown |= self.deleted(*oid, why, &views);
            }
            for view in &views {
                for (column, source) in view.columns.iter().zip(&view.sources) {
                    if let Some(why) = self.behind(view.oid, source) {
                        grown |= self.tie((view.oid, column.num), &why);
                    }
                }
            }
            if !grown {
                break;
            }
        }
        loop {
            let probed: Vec<(Oid, Arc<str>)> = self
                .probed
                .iter()
                .map(|(oid, why)| (*oid, Arc::clone(why)))
                .collect();
            let views = views.iter().filter_map(|view| {
                let reads = &self.catalog.view_reads.get(&view.oid)?.relations;
                let (_, why) = probed.iter().find(|(oid, _)| reads.contains(oid))?;
                Some((view.oid, Arc::clone(why)))
            });
            let parents = probed.iter().flat_map(|(oid, why)| {
                let parents = self.catalog.relations.get(oid).map(|found| &found.parents);
                parents
                    .into_iter()
                    .flatten()
                    .map(|parent| (*parent, Arc::clone(why)))
            });
            let before = self.probed.len();
            let further: Vec<(Oid, Arc<str>)> = views.chain(parents).collect();
            for (oid, why) in further {
                self.probed.entry(oid).or_insert(why);
            }
            if self.probed.len() == before {
                return;
            }
        }
    }

    /// Through what else the rows of a relation can be deleted: its parents, partitions and views. Before version 15 a row
    /// that moved to another partition was deleted, too (`ExecCrossPartitionUpdateForeignKey` in nodeModifyTable.c).
    fn deleted(&mut self, oid: Oid, why: &Arc<str>, views: &[&Arc<Relation>]) -> bool {
        let catalog = self.catalog;
        let mut cells: Vec<Cell> = Vec::new();
        if let Some(relation) = catalog.relations.get(&oid) {
            let related = relation.parents.iter().chain(catalog.children(oid));
            cells.extend(related.map(|other| (*other, ROW)));
            let ties = catalog.ties.get(&oid).into_iter().flatten();
            let keys = ties.filter(|tie| tie.kind == TieKind::PartitionKey);
            let moved = keys.flat_map(|key| relation.stored(&key.columns));
            cells.extend(moved.map(|column| (oid, column)));
        }
        let reads = |view: &&&Arc<Relation>| {
            let reads = catalog.view_reads.get(&view.oid);
            reads.is_some_and(|reads| reads.relations.contains(&oid))
        };
        cells.extend(views.iter().filter(reads).map(|view| (view.oid, ROW)));
        let before = self.tied.len();
        for cell in cells {
            self.tie(cell, why);
        }
        self.tied.len() > before
    }

    /// What ties the column behind that of a view.
    fn behind(&self, view: Oid, source: &ColumnSource) -> Option<Arc<str>> {
        match source {
            ColumnSource::Same { relation, column } => {
                self.tied.get(&(*relation, *column)).cloned()
            }
            // It cannot be written to.
            ColumnSource::Computed { .. } => None,
            ColumnSource::Unknown => {
                let reads: &BTreeSet<Oid> = &self.catalog.view_reads.get(&view)?.relations;
                let mut tied = self.tied.iter();
                let (_, why) = tied.find(|((relation, _), _)| reads.contains(relation))?;
                Some(Arc::clone(why))
            }
        }
    }
}

fn described(tie: &Tie, relation: &Relation) -> Arc<str> {
    match tie.kind {
        TieKind::PartitionKey => format!("the partition key of {}", relation.full_name()),
        _ => format!("the {} of {}", tie.described(), relation.full_name()),
    }
    .into()
}
