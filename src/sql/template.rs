//! The subquery that stands in for a protected relation.
//!
//! One half of the trusted base: what the text of a template selects is all that a restricted statement can see of the
//! relation. The judge compares the subqueries of the text that runs with the tree of exactly this text.
use std::collections::BTreeMap;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::catalog::{Oid, Relation};
use crate::policy::compiled::{RolePolicy, SessionValue};

use super::names::{qualified, quoted};
use super::parse;
use super::tree::{Node, Tree};

/// Values of the session that row rules name.
pub type SessionValues = BTreeMap<SessionValue, String>;

/// A template: its text in parentheses up to the relation's name, and its tree.
#[derive(Debug)]
pub struct Template {
    /// `(SELECT ...`, the columns.
    columns: String,
    /// The same behind a fence.
    fenced_columns: String,
    /// ` FROM "schema"."name"`
    from: String,
    /// The tree of the SELECT without its WHERE.
    pub tree: Tree,
    /// The same behind an optimisation fence.
    pub fenced: Tree,
    /// The row rule in parentheses.
    pub rule: Option<String>,
    /// `SELECT 1 WHERE` the rule.
    rule_tree: Option<Arc<Tree>>,
}

/// Keeps the planner from evaluating conditions around the subquery before those in it: a subquery with LIMIT or OFFSET
/// takes no conditions from outside (`subquery_is_pushdown_safe` in `src/backend/optimizer/path/allpaths.c`).
pub(super) const FENCE: &str = " OFFSET 0";

impl Template {
    /// The text up to the relation's name: a sampling clause may follow, then [`Template::end`]. Of the system columns
    /// those that the statement names go in.
    pub fn open<'s>(&self, system: impl IntoIterator<Item = &'s String>, fence: bool) -> String {
        let mut open = match fence {
            true => self.fenced_columns.clone(),
            false => self.columns.clone(),
        };
        for name in system {
            let name = quoted(name);
            open.push_str(&format!(", {name} AS {name}"));
        }
        open + &self.from
    }

    /// What follows the relation and its sampling clause: conditions first, the row rule last.
    pub fn end(&self, conditions: &[String], fence: bool) -> String {
        let mut all: Vec<&str> = conditions.iter().map(String::as_str).collect();
        all.extend(self.rule.as_deref());
        let mut end = String::new();
        if !all.is_empty() {
            end.push_str(" WHERE ");
            end.push_str(&all.join(" AND "));
        }
        if fence {
            end.push_str(FENCE);
        }
        end.push(')');
        end
    }

    /// Memory that it takes, in bytes. The rule's tree is among it: it stays when the text it was made of goes.
    fn size(&self) -> usize {
        let rule = self.rule.as_ref().map_or(0, String::len);
        let rule_tree = self.rule_tree.as_ref().map_or(0, |tree| tree.size());
        let columns = self.columns.len() + self.fenced_columns.len();
        let texts = columns + self.from.len() + rule;
        size_of::<Self>() + texts + self.tree.size() + self.fenced.size() + rule_tree
    }

    pub fn rule_node(&self) -> Option<&Node> {
        self.rule_tree.as_deref().and_then(clause)
    }
}

/// By catalog version, role version, relation, ONLY, and the row rule with the session's values in it.
type Key = (u64, u64, Oid, bool, Option<String>);

#[derive(Clone)]
struct Bytes;

impl Weighter<Key, Option<Arc<Template>>> for Bytes {
    fn weight(&self, key: &Key, made: &Option<Arc<Template>>) -> u64 {
        let rule = key.4.as_ref().map_or(0, String::len);
        bytes(rule + made.as_ref().map_or(0, |template| template.size()))
    }
}

impl Weighter<String, Option<Arc<Tree>>> for Bytes {
    fn weight(&self, text: &String, made: &Option<Arc<Tree>>) -> u64 {
        bytes(text.len() + made.as_ref().map_or(0, |tree| tree.size()))
    }
}

/// What an entry takes whose content takes so much.
fn bytes(content: usize) -> u64 {
    u64::try_from(content + ENTRY).unwrap_or(u64::MAX)
}

/// Templates by relation and by whether descendants are left out (ONLY). Made as statements ask for them, kept within
/// bounds, and forgotten with the policy they were made for.
#[derive(Debug)]
pub struct Templates {
    made: Cache<Key, Option<Arc<Template>>, Bytes>,
    texts: Cache<String, Option<Arc<Tree>>, Bytes>,
}

impl Templates {
    /// Templates that take at most so many bytes.
    pub fn new(most: u64) -> Self {
        Templates {
            made: Cache::with_weighter(EXPECTED, most - most / TEXTS_SHARE, Bytes),
            texts: Cache::with_weighter(EXPECTED, most / TEXTS_SHARE, Bytes),
        }
    }

    /// What they take, in bytes.
    pub fn size(&self) -> u64 {
        self.made.weight() + self.texts.weight()
    }

    /// Gives all of them back.
    pub fn forget(&self) {
        self.made.clear();
        self.texts.clear();
    }

    /// The template for the relation, `None` where its text does not parse as it should: the statement is refused then.
    /// `catalog_version` and the role's version name the state it was made from.
    pub fn get(
        &self,
        catalog_version: u64,
        role: &RolePolicy,
        values: &SessionValues,
        relation: &Relation,
        only: bool,
    ) -> Option<Arc<Template>> {
        let rule = rule(role, values, relation.oid, &quoted(&relation.name));
        let key = (catalog_version, role.version, relation.oid, only, rule);
        if let Some(found) = self.made.get(&key) {
            return found;
        }
        let made = self.make(role, relation, only, key.4.clone()).map(Arc::new);
        self.made.insert(key, made.clone());
        made
    }

    /// The tree of a text of pgveil's own that is one statement.
    pub fn text(&self, text: &str) -> Option<Arc<Tree>> {
        if let Some(found) = self.texts.get(text) {
            return found;
        }
        let made = single(text).map(Arc::new);
        self.texts.insert(text.to_owned(), made.clone());
        made
    }

    fn make(
        &self,
        role: &RolePolicy,
        relation: &Relation,
        only: bool,
        rule: Option<String>,
    ) -> Option<Template> {
        let shown = |fence: bool| {
            let open = relation
                .columns
                .iter()
                .filter(|column| !role.denies(relation.oid, column.num));
            let columns: Vec<String> = open
                .map(|column| {
                    let name = quoted(&column.name);
                    match role.mask(relation.oid, column.num) {
                        Some(mask) => format!("{} AS {name}", mask.sql.over("", &column.name)),
                        None if fence => format!("{} AS {name}", unestimated(&name)),
                        None => name,
                    }
                })
                .collect();
            format!("(SELECT {}", columns.join(", "))
        };
        let columns = shown(false);
        let fenced_columns = shown(true);
        let from = format!(
            " FROM {}{}",
            if only { "ONLY " } else { "" },
            qualified(&relation.schema, &relation.name)
        );
        let select = format!("{}{from}", columns.get(1..)?);
        let fenced = format!("{}{from}{FENCE}", fenced_columns.get(1..)?);
        let rule_tree = match &rule {
            Some(rule) => Some(self.text(&condition(rule))?),
            None => None,
        };
        Some(Template {
            tree: single(&select)?,
            fenced: single(&fenced)?,
            columns,
            fenced_columns,
            from,
            rule,
            rule_tree,
        })
    }
}

/// A column of which the planner has no statistics. It tries the operators of conditions around a subquery on the commonest
/// values of the column that comes out of it, those of hidden rows too (`mcv_selectivity` in
/// `src/backend/utils/adt/selfuncs.c`), and some of them raise an error for some values: LIKE with an escape at its end, rows
/// that are compared with other rows. Type, length and collation are the column's.
fn unestimated(column: &str) -> String {
    format!("CASE WHEN {column} IS NULL THEN {column} ELSE {column} END")
}

/// The column in what [`unestimated`] makes of it.
pub fn column_behind_fence(case: &Node) -> Option<&Node> {
    let column = case
        .child("defresult")
        .filter(|column| column.kind == "ColumnRef")?;
    let [when] = case.list("args") else {
        return None;
    };
    let when = when.node()?;
    let test = when.child("expr").filter(|test| test.kind == "NullTest")?;
    let alike = [test.child("arg"), when.child("result")];
    let same = alike.iter().all(|other| *other == Some(column));
    (same && case.kind == "CaseExpr" && case.get("arg").is_none()).then_some(column)
}

/// A text whose tree holds a condition of pgveil's own.
pub fn condition(rule: &str) -> String {
    format!("SELECT 1 WHERE {rule}")
}

/// The condition that such a text holds.
pub fn clause(tree: &Tree) -> Option<&Node> {
    tree.node()?.child("where_clause")
}

/// A boolean expression that raises 22P02 with the mark in its message wherever it is evaluated. A column takes part, so
/// that no planner evaluates it ahead of time.
pub fn raising(mark: &str, column: &str) -> String {
    format!(
        "pg_catalog.concat('{mark}', pg_catalog.\"left\"({column}::pg_catalog.text, 0))::pg_catalog.bool"
    )
}

/// The row rule of a relation as a condition in parentheses; `alias` as [`crate::policy::compiled::RowRule::sql`] takes it.
pub fn rule(
    role: &RolePolicy,
    values: &SessionValues,
    relation: Oid,
    alias: &str,
) -> Option<String> {
    let rule = role.rows.get(&relation)?;
    Some(rule.sql(alias, |name| values.get(name).cloned()))
}

/// Templates that are expected; a hint for the tables, no limit.
const EXPECTED: usize = 1_000;
/// One part of so many is for texts.
const TEXTS_SHARE: u64 = 4;
/// Of an entry whatever it holds: key, counters, its place in the tables.
const ENTRY: usize = 256;

/// The tree of a text that is exactly one statement.
pub fn single(text: &str) -> Option<Tree> {
    let mut statements = parse::parse(text).ok()?;
    match statements.len() {
        1 => statements.pop().map(|statement| statement.tree),
        _ => None,
    }
}
