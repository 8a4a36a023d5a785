//! Compiles one role for one database.
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::rows::Rows;
use super::version::version;
use super::{column_name, locate};
use crate::catalog::{AttNum, Catalog, Column, Oid, Relation};
use crate::config::{Diagnostic, Diagnostics};
use crate::policy::compiled::{ColumnMask, MaskSql, RolePolicy};
use crate::policy::flow::{Cell, ClassIndex, Flow, Taint};
use crate::policy::mask::{ColumnType, Mask, Misfit};
use crate::policy::rules::{MaskRule, RoleRule};
use crate::policy::{DERIVED, PolicySet};

pub(super) fn compile(
    policies: &PolicySet,
    role: &RoleRule,
    catalog: &Catalog,
    flow: &Flow,
    rows: Rows,
    protected: &HashSet<Oid>,
    diagnostics: &mut Diagnostics,
) -> RolePolicy {
    let mut compiler = RoleCompiler {
        policies,
        role,
        catalog,
        flow,
        reported: BTreeSet::new(),
    };
    let masks = match role.unmasked {
        true => HashMap::new(),
        false => compiler.masks(diagnostics),
    };
    let mut policy = RolePolicy {
        name: Arc::clone(&role.name),
        version: 0,
        unmasked: role.unmasked,
        masks,
        rows: rows.rules,
        denied: HashMap::new(),
        closed: rows.closed,
        protected: protected.clone(),
        export_rows: role.export_rows,
        functions: role.functions.iter().cloned().collect(),
        statements: role.statements.iter().cloned().collect(),
    };
    policy.version = version(&policy);
    policy
}

struct RoleCompiler<'a> {
    policies: &'a PolicySet,
    role: &'a RoleRule,
    catalog: &'a Catalog,
    flow: &'a Flow,
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
        let (class, mask) = match self.sight(taint) {
            Sight::Raw => return None,
            Sight::Redacted(class) => (class, &Mask::Redact),
            Sight::Masked(rule) => match rule.mask.sql(MaskSql::COLUMN, &data_type) {
                Ok(sql) => {
                    return Some(ColumnMask {
                        class: Arc::clone(&rule.class),
                        sql: MaskSql::from_template(&sql),
                        lookup: self.lookup(rule, relation, column, named, diagnostics),
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
                    (Arc::clone(&rule.class), &Mask::Redact)
                }
            },
        };
        let sql = mask
            .sql(MaskSql::COLUMN, &data_type)
            .unwrap_or_else(|_| format!("NULL::{}", data_type.sql));
        Some(ColumnMask {
            class,
            sql: MaskSql::from_template(&sql),
            lookup: false,
        })
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
