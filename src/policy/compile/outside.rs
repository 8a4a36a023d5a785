//! What a role sees of the rows of regions that its session does not come from, where the classes of a relation say how they
//! are masked instead of hidden.
//!
//! A session is in a region or not from its first statement to its last, so each set of regions that it may be outside of has
//! compiled roles of its own. In those a column holds `CASE WHEN <the row is of such a region> THEN <mask> ELSE <as the role
//! sees it> END`; where rows cannot be told apart, as behind a view, the mask holds for all of them.
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::role::{Scene, redacted};
use super::{column_name, locate};
use crate::catalog::{AttNum, Catalog, ColumnSource, Oid, Relation};
use crate::config::{Diagnostic, Diagnostics};
use crate::policy::PolicySet;
use crate::policy::compiled::{ColumnMask, MaskSql, RolePolicy, RowRule};
use crate::policy::flow::{Cell, FIRST_NORMAL_OID, Flow, Taint, is_view};
use crate::policy::mask::{ColumnType, Mask};
use crate::policy::region::RegionRows;
use crate::policy::rows::Condition;

/// Which rows of a relation are of a region that the session is outside of.
#[derive(Debug, Clone)]
enum Belongs {
    /// Those for which any of the conditions holds.
    Rows(Vec<RowRule>),
    /// They cannot be told apart.
    All,
}

/// Adds the masks of the regions in `outside` to a role that has its own already.
pub(super) fn apply(policy: &mut RolePolicy, scene: Scene<'_>) {
    let rows: Vec<&RegionRows> = scene.policies.masked_rows(scene.outside).collect();
    if rows.is_empty() {
        return;
    }
    let mut finder = Finder {
        catalog: scene.catalog,
        masks: &policy.masks,
        belongs: HashMap::new(),
        shown: HashSet::new(),
        anchors: HashMap::new(),
    };
    for rows in rows {
        finder.region(rows);
    }
    finder.views();
    let Finder {
        belongs,
        shown,
        anchors,
        ..
    } = finder;
    let mut masks = Vec::new();
    for (cell, taint) in &scene.flow.taints {
        let belongs = match belongs.get(&cell.0) {
            Some(belongs) => belongs,
            None if shown.contains(cell) => &Belongs::All,
            None => continue,
        };
        if !policy.denies(cell.0, cell.1)
            && let Some(mask) = mask(policy, scene, *cell, taint, belongs)
        {
            masks.push((*cell, mask));
        }
    }
    for ((relation, column), mask) in masks {
        policy
            .masks
            .entry(relation)
            .or_default()
            .insert(column, mask);
    }
    policy.anchors = anchors;
}

/// What of the policy does not fit the database, whoever the role is. Where it does not, columns are masked in all rows.
pub(super) fn check(
    policies: &PolicySet,
    catalog: &Catalog,
    flow: &Flow,
    diagnostics: &mut Diagnostics,
) {
    let mut relations = HashSet::new();
    for rows in policies.masked_rows(u32::MAX) {
        let name = &rows.relation;
        let Some(relation) = catalog.relation(&name.schema, &name.name) else {
            continue;
        };
        relations.insert(relation.oid);
        let bound = Condition::read(&rows.belongs())
            .and_then(|condition| condition.bind(relation, catalog));
        if let Err(objection) = bound {
            diagnostics.push(objection.at(&rows.origin));
        }
    }
    let mut said = BTreeMap::new();
    for (cell, taint) in flow
        .taints
        .iter()
        .filter(|(cell, _)| relations.contains(&cell.0))
    {
        let class = taint
            .own
            .first()
            .and_then(|index| policies.classes.get(*index));
        let (Some(class), Some((relation, column))) = (class, locate(catalog, *cell)) else {
            continue;
        };
        let data_type = ColumnType::of(column, catalog);
        let fits = |mask: &Mask| mask.sql(MaskSql::COLUMN, &data_type).is_ok();
        if let Some(mask) = class.outside.as_ref().filter(|mask| !fits(mask)) {
            let found = (mask.name(), data_type.shown, &class.origin);
            said.insert(column_name(relation, column), found);
        }
    }
    for (column, (mask, shown, origin)) in said {
        let message = format!("the mask `{mask}` does not take `{column}` of type `{shown}`");
        diagnostics
            .push(Diagnostic::error(origin, message).suggest("`outside: redact` takes every type"));
    }
}

/// What the column is masked as. On top of what the role sees of it: neither mask shows what the other hides.
fn mask(
    policy: &RolePolicy,
    scene: Scene<'_>,
    cell: Cell,
    taint: &Taint,
    belongs: &Belongs,
) -> Option<ColumnMask> {
    let (_, column) = locate(scene.catalog, cell)?;
    let data_type = ColumnType::of(column, scene.catalog);
    let own = policy.mask(cell.0, cell.1);
    let classes: BTreeSet<_> = taint.all().collect();
    let classes = classes
        .into_iter()
        .filter_map(|index| scene.policies.classes.get(index));
    let classes: Vec<_> = classes.collect();
    let name = match own {
        Some(own) => own.class.clone(),
        None => classes.first()?.name.clone(),
    };
    // What is computed from data of a class need not be of its form.
    let one = match classes.as_slice() {
        [class] if taint.derived.is_empty() => class.outside.as_ref(),
        _ => None,
    };
    let outer = one.and_then(|mask| {
        let sql = mask.sql(MaskSql::COLUMN, &data_type).ok()?;
        Some((MaskSql::from_template(&sql), mask.parts(&data_type)))
    });
    let (outer, mut parts) =
        outer.unwrap_or_else(|| (redacted(name.clone(), &data_type).sql, Vec::new()));
    let seen = own.map_or_else(MaskSql::column, |own| own.sql.clone());
    for part in own.into_iter().flat_map(|own| &own.parts) {
        if !parts.contains(part) {
            parts.push(part.clone());
        }
    }
    let inside = outer.around(&seen);
    Some(ColumnMask {
        class: name,
        sql: match belongs {
            Belongs::All => inside,
            Belongs::Rows(rules) => MaskSql::choice(rules, &inside, &seen),
        },
        // Equality with the stored value would tell what the mask hides.
        lookup: false,
        parts,
    })
}

struct Finder<'a> {
    catalog: &'a Catalog,
    /// Of the role.
    masks: &'a HashMap<Oid, HashMap<AttNum, ColumnMask>>,
    /// Relations that have rows of regions.
    belongs: HashMap<Oid, Belongs>,
    /// Columns of views that show values of such rows.
    shown: HashSet<Cell>,
    anchors: HashMap<Oid, HashSet<AttNum>>,
}

impl Finder<'_> {
    /// The rows of a region, in the relation that the policy names, those below it and those above.
    fn region(&mut self, rows: &RegionRows) {
        let name = &rows.relation;
        let Some(named) = self.catalog.relation(&name.schema, &name.name) else {
            return;
        };
        let condition = Condition::read(&rows.belongs());
        for oid in self.catalog.related(named.oid) {
            let Some(relation) = self.catalog.relations.get(&oid) else {
                continue;
            };
            let condition = condition.as_ref().ok();
            let bound = condition.map(|condition| condition.bind(relation, self.catalog));
            self.add(relation, &rows.column, bound.and_then(Result::ok));
        }
    }

    fn add(&mut self, relation: &Relation, column: &str, rule: Option<RowRule>) {
        let anchors = self.anchors.entry(relation.oid).or_default();
        let Some(column) = relation.column(column) else {
            self.belongs.insert(relation.oid, Belongs::All);
            return;
        };
        anchors.insert(column.num);
        let mut sources = column.generated_from.clone();
        while let Some(source) = sources.pop() {
            if anchors.insert(source)
                && let Some(source) = relation.column_number(source)
            {
                sources.extend(&source.generated_from);
            }
        }
        // Who may not see where a row belongs is not to find it out by what is masked.
        let is_masked = anchors.iter().any(|anchor| {
            self.masks
                .get(&relation.oid)
                .is_some_and(|masks| masks.contains_key(anchor))
        });
        let rule = rule.filter(|_| !is_masked);
        match (self.belongs.get_mut(&relation.oid), rule) {
            (Some(Belongs::All), _) => {}
            (Some(Belongs::Rows(rules)), Some(rule)) => rules.push(rule),
            (None, Some(rule)) => {
                self.belongs.insert(relation.oid, Belongs::Rows(vec![rule]));
            }
            (_, None) => {
                self.belongs.insert(relation.oid, Belongs::All);
            }
        }
    }

    /// A view shows values without saying where their row belongs, and who writes through it moves rows that it does not show.
    fn views(&mut self) {
        let views = self.catalog.relations.values();
        let views: Vec<_> = views
            .filter(|relation| is_view(relation) && relation.oid >= FIRST_NORMAL_OID)
            .collect();
        loop {
            let before = self.shown.len() + self.anchors.len();
            for view in &views {
                let mut shows = self.reads(view);
                for (index, column) in view.columns.iter().enumerate() {
                    if self.shows(view.sources.get(index)) {
                        self.shown.insert((view.oid, column.num));
                        shows = true;
                    }
                }
                if shows {
                    let all = view.columns.iter().map(|column| column.num).collect();
                    self.anchors.insert(view.oid, all);
                }
            }
            if self.shown.len() + self.anchors.len() == before {
                return;
            }
        }
    }

    /// Whether a value may come from a row of a region. Column 0 is the whole row.
    fn shows(&self, source: Option<&ColumnSource>) -> bool {
        let is_shown = |(relation, column): Cell| {
            self.belongs.contains_key(&relation)
                || self.shown.contains(&(relation, column))
                || (column == 0 && self.shown.iter().any(|(shown, _)| *shown == relation))
        };
        match source {
            Some(ColumnSource::Same { relation, column }) => is_shown((*relation, *column)),
            Some(ColumnSource::Computed { from }) => from.iter().any(|cell| is_shown(*cell)),
            Some(ColumnSource::Unknown) | None => true,
        }
    }

    fn reads(&self, view: &Relation) -> bool {
        let Some(reads) = self.catalog.view_reads.get(&view.oid) else {
            return true;
        };
        let mut relations = reads.relations.iter();
        reads.opaque || relations.any(|oid| self.anchors.contains_key(oid))
    }
}
