//! The subquery that stands in for a protected relation.
//!
//! One half of the trusted base: what the text of a template selects is all that a restricted statement can see of the
//! relation. The judge compares the subqueries of the text that runs with the tree of exactly this text.
use std::sync::Arc;

use dashmap::DashMap;

use crate::catalog::{Oid, Relation};
use crate::policy::compiled::RolePolicy;

use super::names::{qualified, quoted};
use super::parse;
use super::tree::Tree;

/// A template: its text in parentheses up to the relation's name, and its tree.
#[derive(Debug)]
pub struct Template {
    /// `(SELECT ... FROM "schema"."name"`: a sampling clause may follow, then `)`.
    pub open: String,
    /// The tree of the whole SELECT.
    pub tree: Tree,
}

/// Templates by relation and by whether descendants are left out (ONLY). Filled as statements ask for them.
#[derive(Debug, Default)]
pub struct Templates {
    made: DashMap<(u64, u64, Oid, bool), Option<Arc<Template>>>,
    texts: DashMap<String, Option<Arc<Tree>>>,
}

impl Templates {
    /// The template for the relation, `None` where its text does not parse as it should: the statement is refused then.
    /// `catalog_version` and the role's version name the state it was made from.
    pub fn get(
        &self,
        catalog_version: u64,
        role: &RolePolicy,
        relation: &Relation,
        only: bool,
    ) -> Option<Arc<Template>> {
        let key = (catalog_version, role.version, relation.oid, only);
        if let Some(found) = self.made.get(&key) {
            return found.clone();
        }
        if self.made.len() > MAX_TEMPLATES {
            self.made.clear();
        }
        let made = make(role, relation, only).map(Arc::new);
        self.made.insert(key, made.clone());
        made
    }

    /// The tree of a text of pgveil's own that is one statement.
    pub fn text(&self, text: &str) -> Option<Arc<Tree>> {
        if let Some(found) = self.texts.get(text) {
            return found.clone();
        }
        if self.texts.len() > MAX_TEMPLATES {
            self.texts.clear();
        }
        let made = single(text).map(Arc::new);
        self.texts.insert(text.to_owned(), made.clone());
        made
    }
}

/// Templates kept at most; a change of policy or schema leaves old ones behind, so the store is emptied when full.
const MAX_TEMPLATES: usize = 10_000;

fn make(role: &RolePolicy, relation: &Relation, only: bool) -> Option<Template> {
    let columns: Vec<String> = relation
        .columns
        .iter()
        .map(|column| match role.mask(relation.oid, column.num) {
            Some(mask) => format!(
                "{} AS {}",
                mask.sql.over(&quoted(&column.name)),
                quoted(&column.name)
            ),
            None => quoted(&column.name),
        })
        .collect();
    let open = format!(
        "(SELECT {} FROM {}{}",
        columns.join(", "),
        if only { "ONLY " } else { "" },
        qualified(&relation.schema, &relation.name)
    );
    let tree = single(open.get(1..)?)?;
    Some(Template { open, tree })
}

/// The tree of a text that is exactly one statement.
pub fn single(text: &str) -> Option<Tree> {
    let mut statements = parse::parse(text).ok()?;
    match statements.len() {
        1 => statements.pop().map(|statement| statement.tree),
        _ => None,
    }
}
