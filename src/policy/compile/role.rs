//! Compiles one role for one database.
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::{column_name, locate};
use crate::catalog::{AttNum, Catalog, Column, Oid, Relation};
use crate::config::{Diagnostic, Diagnostics};
use crate::policy::compiled::{ColumnMask, MaskSql, RolePolicy};
use crate::policy::flow::{Cell, ClassIndex, Flow, Taint};
use crate::policy::mask::{ColumnType, Mask, Misfit};
use crate::policy::rules::{MaskRule, RoleRule};
use crate::policy::{DERIVED, PolicySet, system};

pub(super) fn compile(
    policies: &PolicySet,
    role: &RoleRule,
    catalog: &Catalog,
    flow: &Flow,
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
        rows: HashMap::new(),
        denied: HashMap::new(),
        closed: HashMap::new(),
        protected: protected.clone(),
        export_rows: role.export_rows,
        functions: role.functions.iter().cloned().collect(),
        statements: role.statements.iter().cloned().collect(),
    };
    if !policy.unmasked {
        // Last: what it adds depends on all the role is kept from seeing.
        system::guard(&mut policy, catalog);
    }
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
                        lookup: false,
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
        let fitting: Vec<String> = Mask::fitting(data_type.family)
            .map(|name| format!("`{name}`"))
            .collect();
        diagnostics
            .push(diagnostic.suggest(format!("masks for this type: {}", fitting.join(", "))));
    }
}

/// Hash of everything in it.
fn version(policy: &RolePolicy) -> u64 {
    let mut hash = Sha256::new();
    let mut put = |bytes: &[u8]| {
        hash.update(u64::try_from(bytes.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(bytes);
    };
    put(policy.name.as_bytes());
    put(&[
        u8::from(policy.unmasked),
        u8::from(policy.export_rows.is_some()),
    ]);
    put(&policy.export_rows.unwrap_or(0).to_be_bytes());
    let masks: BTreeMap<(Oid, AttNum), &ColumnMask> = policy
        .masks
        .iter()
        .flat_map(|(oid, columns)| columns.iter().map(|(num, mask)| ((*oid, *num), mask)))
        .collect();
    put(&masks.len().to_be_bytes());
    for ((oid, num), mask) in masks {
        put(&oid.to_be_bytes());
        put(&num.to_be_bytes());
        put(mask.class.as_bytes());
        put(&mask.sql.pieces().len().to_be_bytes());
        for piece in mask.sql.pieces() {
            put(piece.as_bytes());
        }
        put(&[u8::from(mask.lookup)]);
    }
    put(&policy.protected.len().to_be_bytes());
    for oid in policy.protected.iter().collect::<BTreeSet<_>>() {
        put(&oid.to_be_bytes());
    }
    for set in [&policy.functions, &policy.statements] {
        put(&set.len().to_be_bytes());
        for name in set.iter().collect::<BTreeSet<_>>() {
            put(name.as_bytes());
        }
    }
    let digest = hash.finalize();
    digest
        .iter()
        .take(8)
        .fold(0, |version, byte| (version << 8) | u64::from(*byte))
}
