//! Where classified data goes inside a database: to partitions and inheritance children, to their parents, into views
//! and generated columns.
use std::collections::{BTreeSet, HashMap};

use super::PolicySet;
use crate::catalog::{AttNum, Catalog, ColumnSource, Oid, Relation, RelationKind};

/// `FirstNormalObjectId` (access/transam.h): what has a smaller OID was made by initdb.
pub const FIRST_NORMAL_OID: Oid = 16_384;

/// A column of a relation.
pub type Cell = (Oid, AttNum);
/// Index of a class in [`PolicySet::classes`].
pub type ClassIndex = usize;

/// The classes of data in one column, by how they got there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Taint {
    /// The policy names the column, or a column of the same name above, below or beside it in an inheritance tree.
    /// More than one class is a contradiction.
    pub own: BTreeSet<ClassIndex>,
    /// A view shows the value of such a column unchanged.
    pub same: BTreeSet<ClassIndex>,
    /// Computed from such a column, or possibly so.
    pub derived: BTreeSet<ClassIndex>,
}

impl Taint {
    /// All classes, perhaps more than once.
    pub fn all(&self) -> impl Iterator<Item = ClassIndex> {
        self.own
            .iter()
            .chain(&self.same)
            .chain(&self.derived)
            .copied()
    }

    fn size(&self) -> usize {
        self.own.len() + self.same.len() + self.derived.len()
    }

    fn union(&mut self, other: &Taint) {
        self.own.extend(&other.own);
        self.same.extend(&other.same);
        self.derived.extend(&other.derived);
    }
}

/// All columns of a catalog that hold classified data.
#[derive(Debug, Default)]
pub struct Flow {
    /// No entry is empty.
    pub taints: HashMap<Cell, Taint>,
    /// The columns the policy itself names, with class and index into [`super::ClassRule::columns`].
    pub named: HashMap<Cell, Vec<(ClassIndex, usize)>>,
}

impl Flow {
    /// Follows the classes of a policy through a catalog to a fixpoint. The sets only grow and are bounded, so there is
    /// one.
    ///
    /// `kept`: columns that the policy named before under another name, with the place that named them.
    pub fn trace(
        policy: &PolicySet,
        catalog: &Catalog,
        kept: &[(Cell, (ClassIndex, usize))],
    ) -> Self {
        let mut flow = Self::default();
        for (cell, place) in kept {
            flow.taints.entry(*cell).or_default().own.insert(place.0);
            flow.named.entry(*cell).or_default().push(*place);
        }
        for relation in catalog.relations.values() {
            flow.name(policy, relation);
        }
        let present: BTreeSet<ClassIndex> = flow.taints.values().flat_map(Taint::all).collect();
        // Whatever reads nothing, inherits nothing and computes nothing stays as it is.
        let receivers: Vec<&Relation> = catalog
            .relations
            .values()
            .map(AsRef::as_ref)
            .filter(|relation| {
                is_view(relation)
                    || !relation.parents.is_empty()
                    || relation
                        .columns
                        .iter()
                        .any(|column| !column.generated_from.is_empty())
            })
            .collect();
        let mut size = 0;
        loop {
            for relation in &receivers {
                flow.inherit(catalog, relation);
                flow.generate(catalog, relation);
                flow.view(catalog, relation, &present);
            }
            let now = flow.taints.values().map(Taint::size).sum();
            if now == size {
                return flow;
            }
            size = now;
        }
    }

    fn name(&mut self, policy: &PolicySet, relation: &Relation) {
        for (class, rule) in policy.classes.iter().enumerate() {
            for (index, named) in rule.columns.iter().enumerate() {
                if !named.pattern.matches_relation(relation) {
                    continue;
                }
                for column in relation
                    .columns
                    .iter()
                    .filter(|column| named.pattern.column.matches(&column.name))
                {
                    let cell = (relation.oid, column.num);
                    self.taints.entry(cell).or_default().own.insert(class);
                    self.named.entry(cell).or_default().push((class, index));
                }
            }
        }
    }

    /// A parent is read with its children's rows, and a child's rows appear under its parent: what is classified in one
    /// is classified in the other, column by name.
    fn inherit(&mut self, catalog: &Catalog, child: &Relation) {
        for parent in child
            .parents
            .iter()
            .filter_map(|oid| catalog.relations.get(oid))
        {
            for column in &child.columns {
                let Some(above) = parent.column(&column.name) else {
                    continue;
                };
                let (below, above) = ((child.oid, column.num), (parent.oid, above.num));
                let mut both = self.taints.get(&below).cloned().unwrap_or_default();
                if let Some(taint) = self.taints.get(&above) {
                    both.union(taint);
                }
                if both.size() > 0 {
                    self.taints.insert(below, both.clone());
                    self.taints.insert(above, both);
                }
            }
        }
    }

    fn generate(&mut self, catalog: &Catalog, relation: &Relation) {
        for column in relation
            .columns
            .iter()
            .filter(|column| !column.generated_from.is_empty())
        {
            let sources: Vec<Cell> = column
                .generated_from
                .iter()
                .map(|num| (relation.oid, *num))
                .collect();
            self.derive((relation.oid, column.num), catalog, &sources);
        }
    }

    fn view(&mut self, catalog: &Catalog, view: &Relation, present: &BTreeSet<ClassIndex>) {
        if !is_view(view) {
            return;
        }
        for (index, column) in view.columns.iter().enumerate() {
            let cell = (view.oid, column.num);
            match view.sources.get(index) {
                Some(ColumnSource::Same { relation, column }) => {
                    self.copy(cell, (*relation, *column))
                }
                Some(ColumnSource::Computed { from }) => self.derive(cell, catalog, from),
                // The views that initdb makes read the system catalogs alone, whatever their functions are.
                Some(ColumnSource::Unknown) | None if view.oid < FIRST_NORMAL_OID => {}
                Some(ColumnSource::Unknown) | None => {
                    self.add_derived(cell, present.iter().copied())
                }
            }
        }
    }

    fn copy(&mut self, cell: Cell, source: Cell) {
        let Some(taint) = self.taints.get(&source).cloned() else {
            return;
        };
        let entry = self.taints.entry(cell).or_default();
        entry.same.extend(&taint.own);
        entry.same.extend(&taint.same);
        entry.derived.extend(&taint.derived);
    }

    fn derive(&mut self, cell: Cell, catalog: &Catalog, sources: &[Cell]) {
        let mut classes = BTreeSet::new();
        for (relation, column) in sources {
            // Column 0 is the whole row (pg_depend.refobjsubid, varattno): all its columns.
            if *column == 0 {
                let columns = catalog
                    .relations
                    .get(relation)
                    .into_iter()
                    .flat_map(|relation| &relation.columns);
                for column in columns {
                    classes.extend(
                        self.taints
                            .get(&(*relation, column.num))
                            .into_iter()
                            .flat_map(Taint::all),
                    );
                }
            } else {
                classes.extend(
                    self.taints
                        .get(&(*relation, *column))
                        .into_iter()
                        .flat_map(Taint::all),
                );
            }
        }
        self.add_derived(cell, classes);
    }

    fn add_derived(&mut self, cell: Cell, classes: impl IntoIterator<Item = ClassIndex>) {
        let mut classes = classes.into_iter().peekable();
        if classes.peek().is_some() {
            self.taints.entry(cell).or_default().derived.extend(classes);
        }
    }
}

pub fn is_view(relation: &Relation) -> bool {
    matches!(
        relation.kind,
        RelationKind::View | RelationKind::MaterializedView
    )
}
