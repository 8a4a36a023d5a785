//! Row rules as statements that the server analyses: whether operators, functions and constants suit the types of the columns.
//!
//! Such a statement names none of the policy's relations. In the place of each stand NULLs of its columns' types, so that it
//! can be prepared by a user who may read nothing, and has nothing to show if it were run.
use crate::catalog::{Catalog, Relation};
use crate::policy::PolicySet;
use crate::policy::compiled::{RowRule, RulePart, SessionValue};
use crate::policy::mask::quote_identifier;
use crate::policy::rules::{RoleRule, RowsRule};

/// The name that the ruled relation has here; what a rule reads besides has names that begin with [`crate::policy::ALIAS_PREFIX`].
const RULED: &str = "\"ruled\"";

/// A row rule to be analysed.
#[derive(Debug)]
pub struct Analysis<'a> {
    pub rule: &'a RowsRule,
    pub sql: String,
    /// Something stands in the place of relations that the rule reads besides. Their keys are not there then: what is said of
    /// groups (42803) may be wrong.
    pub stand_ins: bool,
}

impl PolicySet {
    /// All row rules whose relation a database has, but those of which it is known already that they do not fit it.
    pub fn analyses(&self, catalog: &Catalog) -> Vec<Analysis<'_>> {
        let mut analyses = Vec::new();
        for role in self.roles.iter().filter(|role| !role.unmasked) {
            for rule in &role.rows {
                let name = &rule.relation;
                if let Some(relation) = catalog.relation(&name.schema, &name.name)
                    && let Ok(bound) = rule.condition.bind_apart(relation, catalog)
                {
                    let sql = self.statement(role, relation, &bound);
                    let stand_ins = bound.has_subquery();
                    analyses.push(Analysis {
                        rule,
                        sql,
                        stand_ins,
                    });
                }
            }
        }
        analyses
    }

    fn statement(&self, role: &RoleRule, relation: &Relation, rule: &RowRule) -> String {
        let mut columns: Vec<String> = rule
            .parts
            .iter()
            .filter_map(|part| match part {
                RulePart::Column(name) => relation.column(name),
                RulePart::Sql(_) | RulePart::Value(_) => None,
            })
            .map(|column| {
                let name = quote_identifier(&column.name);
                format!("NULL::{} AS {name}", column.type_sql)
            })
            .collect();
        columns.sort_unstable();
        columns.dedup();
        let user = role.db_users().next();
        let shared = user.is_some_and(|user| {
            self.applications.contains_key(user) || self.token_users.contains_key(user)
        });
        let condition = rule.sql(RULED, |value| match value {
            SessionValue::DbUser => user.map(str::to_owned),
            SessionValue::AppUser => user.filter(|_| !shared).map(str::to_owned),
            // NULL suits every type, and is what a session has that has no such value.
            SessionValue::Attribute(_) | SessionValue::Region(_) => None,
        });
        format!(
            "SELECT 1 FROM (SELECT {}) AS {RULED} WHERE {condition}",
            columns.join(", ")
        )
    }
}
