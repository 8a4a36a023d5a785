//! Compiles one role for one database.
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::rows::Rows;
use super::version::version;
use super::{column_name, locate};
use super::{outside, ties, unlisted};
use crate::catalog::{AttNum, Catalog, Column, Oid, Relation};
use crate::config::{Diagnostic, Diagnostics};
use crate::policy::compiled::{Classes, ColumnMask, MaskSql, RolePolicy, Traps};
use crate::policy::flow::{Cell, ClassIndex, Flow, Taint};
use crate::policy::mask::{ColumnType, Mask, Misfit};
use crate::policy::rules::{MaskRule, Regime, RoleRule, Unlisted};
use crate::policy::{DERIVED, PolicySet, UNLISTED, system};

/// What a policy says of a database to all its roles.
pub(super) struct Common<'a> {
    /// Its version.
    pub policy: &'a Arc<str>,
    pub protected: &'a HashSet<Oid>,
    pub classes: &'a Arc<Classes>,
    pub traps: &'a Arc<Traps>,
    /// [`RolePolicy::shares_session`]
    pub shares_session: bool,
}

/// What is compiled against what.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub policies: &'a PolicySet,
    pub role: &'a RoleRule,
    pub catalog: &'a Catalog,
    pub flow: &'a Flow,
    /// What the role is used for.
    pub purpose: Option<&'a str>,
    /// The regions whose rows are masked for it, as bits ([`PolicySet::masked_outside`]).
    pub outside: u32,
}

pub(super) fn compile(
    scene: Scene<'_>,
    rows: Rows,
    common: &Common<'_>,
    diagnostics: &mut Diagnostics,
) -> RolePolicy {
    let Scene {
        policies,
        role,
        catalog,
        flow,
        purpose,
        ..
    } = scene;
    let mut compiler = RoleCompiler {
        policies,
        role,
        catalog,
        flow,
        purpose,
        reported: BTreeSet::new(),
    };
    let mut masks = match role.unmasked {
        true => HashMap::new(),
        false => compiler.masks(diagnostics),
    };
    let mut denied: HashMap<Oid, HashSet<AttNum>> = HashMap::new();
    let mut protected = common.protected.clone();
    if role.unlisted != Unlisted::Pass && !role.unmasked {
        for (relation, column) in unlisted::cells(catalog, flow) {
            protected.insert(relation);
            match role.unlisted {
                Unlisted::Deny => {
                    denied.entry(relation).or_default().insert(column);
                    if let Some(masks) = masks.get_mut(&relation) {
                        masks.remove(&column);
                    }
                }
                Unlisted::Redact | Unlisted::Pass => {
                    if let Some((_, found)) = locate(catalog, (relation, column)) {
                        let columns = masks.entry(relation).or_default();
                        columns.entry(column).or_insert_with(|| {
                            redacted(UNLISTED.into(), &ColumnType::of(found, catalog))
                        });
                    }
                }
            }
        }
        masks.retain(|_, columns| !columns.is_empty());
    }
    let mut policy = RolePolicy {
        name: Arc::clone(&role.name),
        policy: Arc::clone(common.policy),
        version: 0,
        unmasked: role.unmasked,
        trial: None,
        masks,
        rows: rows.rules,
        denied,
        anchors: HashMap::new(),
        tied: HashMap::new(),
        carried: HashMap::new(),
        probed: HashMap::new(),
        closed: rows.closed,
        classes: Arc::clone(common.classes),
        traps: Arc::clone(common.traps),
        protected,
        subjects: HashMap::new(),
        export: Arc::clone(&role.export),
        functions: role.functions.iter().cloned().collect(),
        statements: role.statements.iter().cloned().collect(),
        full_text: role.full_text,
        shares_session: common.shares_session,
    };
    if role.export.subjects_per_day.is_some() {
        policy.subjects = policy
            .protected
            .iter()
            .filter_map(|oid| {
                let relation = catalog.relations.get(oid)?;
                Some((*oid, relation.primary_key.clone()))
            })
            .filter(|(_, key)| !key.is_empty())
            .collect();
    }
    if !policy.unmasked {
        outside::apply(&mut policy, scene);
        ties::apply(&mut policy, catalog);
        // Last: what it adds depends on all the role is kept from seeing.
        system::guard(&mut policy, catalog);
    }
    policy.version = version(&policy);
    match role.regime() {
        Regime::Trial => on_trial(policy),
        Regime::Enforced | Regime::Unmasked => policy,
    }
}

/// A role whose rules are kept for planning alone.
fn on_trial(rules: RolePolicy) -> RolePolicy {
    let mut role = RolePolicy {
        unmasked: true,
        masks: HashMap::new(),
        rows: HashMap::new(),
        denied: HashMap::new(),
        anchors: HashMap::new(),
        tied: HashMap::new(),
        carried: HashMap::new(),
        probed: HashMap::new(),
        closed: HashMap::new(),
        ..rules.clone()
    };
    role.trial = Some(Arc::new(rules));
    role.version = version(&role);
    role
}

/// One fixed value for every value of the column.
pub(super) fn redacted(class: Arc<str>, data_type: &ColumnType) -> ColumnMask {
    let sql = Mask::Redact
        .sql(MaskSql::COLUMN, data_type)
        .unwrap_or_else(|_| format!("NULL::{}", data_type.sql));
    ColumnMask {
        class,
        sql: MaskSql::from_template(&sql),
        lookup: false,
        parts: Vec::new(),
    }
}

struct RoleCompiler<'a> {
    policies: &'a PolicySet,
    role: &'a RoleRule,
    catalog: &'a Catalog,
    flow: &'a Flow,
    purpose: Option<&'a str>,
    /// Pairings of class and type that were reported already: a wildcard can bring hundreds.
    reported: BTreeSet<(Arc<str>, String)>,
}

/// What a role gets to see of a column.
enum Sight<'a> {
    Raw,
    Masked(&'a MaskRule),
    /// Redacted, on record as this class.
    Redacted(Arc<str>),
}

impl<'a> RoleCompiler<'a> {
    fn masks(
        &mut self,
        diagnostics: &mut Diagnostics,
    ) -> HashMap<Oid, HashMap<AttNum, ColumnMask>> {
        let (flow, catalog) = (self.flow, self.catalog);
        // By name, so that findings come in the same order every time.
        let cells: BTreeMap<(String, Cell), &Taint> = flow
            .taints
            .iter()
            .filter_map(|(cell, taint)| {
                let (relation, column) = locate(catalog, *cell)?;
                Some(((column_name(relation, column), *cell), taint))
            })
            .collect();
        let mut masks: HashMap<Oid, HashMap<AttNum, ColumnMask>> = HashMap::new();
        for ((_, cell), taint) in cells {
            let Some((relation, column)) = locate(catalog, cell) else {
                continue;
            };
            let named = flow.named.contains_key(&cell);
            if let Some(mask) = self.column(relation, column, taint, named, diagnostics) {
                masks.entry(cell.0).or_default().insert(cell.1, mask);
            }
        }
        masks
    }

    fn column(
        &mut self,
        relation: &Relation,
        column: &Column,
        taint: &Taint,
        named: bool,
        diagnostics: &mut Diagnostics,
    ) -> Option<ColumnMask> {
        let data_type = ColumnType::of(column, self.catalog);
        let class = match self.sight(taint) {
            Sight::Raw => return None,
            Sight::Redacted(class) => class,
            Sight::Masked(rule) => match rule.mask.sql(MaskSql::COLUMN, &data_type) {
                Ok(sql) => {
                    return Some(ColumnMask {
                        class: Arc::clone(&rule.class),
                        sql: MaskSql::from_template(&sql),
                        lookup: self.lookup(rule, relation, column, named, diagnostics),
                        parts: rule.mask.parts(&data_type),
                    });
                }
                Err(misfit) => {
                    // A view may give a column another type; that is no fault of the policy.
                    if named {
                        self.report(
                            rule,
                            &column_name(relation, column),
                            &data_type,
                            &misfit,
                            diagnostics,
                        );
                    }
                    Arc::clone(&rule.class)
                }
            },
        };
        Some(redacted(class, &data_type))
    }

    /// Whether equality with a constant may run on the stored value. The comparison is PostgreSQL's own `=`, so the type
    /// must have one.
    fn lookup(
        &mut self,
        rule: &MaskRule,
        relation: &Relation,
        column: &Column,
        named: bool,
        diagnostics: &mut Diagnostics,
    ) -> bool {
        let Some(origin) = &rule.lookup else {
            return false;
        };
        let data_type = ColumnType::of(column, self.catalog);
        let has_equality = data_type.has_equality(column, self.catalog);
        if !has_equality && named {
            let message = format!(
                "`{}` of type `{}` cannot be looked up: the type has no equality of its own",
                column_name(relation, column),
                data_type.shown
            );
            diagnostics.push(
                Diagnostic::error(origin, message)
                    .suggest("take `lookup` out, or give the column a class of its own"),
            );
        }
        has_equality
    }

    /// A class named for the column itself comes first: its author has looked at the column. Without one (or where the
    /// role does not mask it) the column is as the data that flows into it.
    fn sight(&self, taint: &Taint) -> Sight<'a> {
        if let Some(class) = self.off_purpose(taint) {
            return Sight::Redacted(class);
        }
        if let Some(first) = self.masked(&taint.own).next() {
            return match taint.own.len() {
                1 => Sight::Masked(first),
                _ => Sight::Redacted(Arc::clone(&first.class)),
            };
        }
        if self.masked(&taint.derived).next().is_some() {
            return Sight::Redacted(DERIVED.into());
        }
        match self.masked(&taint.same).next() {
            Some(rule) if taint.same.len() == 1 => Sight::Masked(rule),
            Some(_) => Sight::Redacted(DERIVED.into()),
            None => Sight::Raw,
        }
    }

    /// A class of the data that may not be used for what the role is used for.
    fn off_purpose(&self, taint: &Taint) -> Option<Arc<str>> {
        let mut classes = taint
            .all()
            .filter_map(|index| self.policies.classes.get(index));
        let off = classes.find(|class| {
            let purposes = class.purposes.as_ref();
            purposes.is_some_and(|purposes| {
                !self
                    .purpose
                    .is_some_and(|purpose| purposes.contains(purpose))
            })
        });
        off.map(|class| Arc::clone(&class.name))
    }

    /// The role's masks of those classes.
    fn masked<'t>(
        &self,
        classes: &'t BTreeSet<ClassIndex>,
    ) -> impl Iterator<Item = &'a MaskRule> + use<'a, 't> {
        let (policies, role) = (self.policies, self.role);
        classes
            .iter()
            .filter_map(move |index| role.mask(&policies.classes.get(*index)?.name))
    }

    fn report(
        &mut self,
        rule: &MaskRule,
        column: &str,
        data_type: &ColumnType,
        misfit: &Misfit,
        diagnostics: &mut Diagnostics,
    ) {
        if !self
            .reported
            .insert((Arc::clone(&rule.class), data_type.shown.clone()))
        {
            return;
        }
        let (mask, shown) = (rule.mask.name(), &data_type.shown);
        let diagnostic = match misfit {
            Misfit::Type => Diagnostic::error(
                &rule.origin,
                format!("the mask `{mask}` does not take `{column}` of type `{shown}`"),
            ),
            Misfit::Options(why) => Diagnostic::error(
                &rule.origin,
                format!("the mask `{mask}` does not fit `{column}` of type `{shown}`: {why}"),
            ),
        };
        let fitting: Vec<String> = Mask::fitting(data_type)
            .map(|name| format!("`{name}`"))
            .collect();
        diagnostics
            .push(diagnostic.suggest(format!("masks for this type: {}", fitting.join(", "))));
    }
}
