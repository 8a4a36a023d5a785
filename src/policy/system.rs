//! What a restricted role sees of system relations: built-in masks, by the same mechanism as the policy's own.
//!
//! `system.tsv` has a line for each relation of `pg_catalog` and `information_schema` of PostgreSQL 13 to 18, read one
//! by one. Views are judged for themselves: the server runs them with their owner's sight of what lies beneath. What
//! has no line (the next version's) is not readable.
//!
//! Counters speak of rows: over masked columns they say what the masked rows say, so they stay; about a relation of
//! which the role does not see all rows they go, and so does the number of rows in a partial index, which depends on
//! values. Sizes in blocks and bytes are physical facts, outside the promise.
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use crate::catalog::{AttNum, Catalog, Column, ColumnSource, FIRST_NORMAL_OID, Oid, Relation};

use super::compiled::{ColumnMask, MaskSql, RolePolicy, RowRule, RulePart};

/// On record as the class of data in masked columns of system relations.
pub const SYSTEM: &str = "system";

const TABLE: &str = include_str!("system.tsv");

/// What is done to columns of a system relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Null,
    /// Columns that PostgreSQL 13 lets nobody but superusers read: what stands for the relation must not.
    Null13,
    Own,
    Counts,
    Writes,
    Any,
    Statistics,
    Missing,
    /// The only one about rows.
    Reads,
}

impl Rule {
    fn named(name: &str) -> Option<Rule> {
        Some(match name {
            "null" => Rule::Null,
            "null13" => Rule::Null13,
            "own" => Rule::Own,
            "counts" => Rule::Counts,
            "writes" => Rule::Writes,
            "any" => Rule::Any,
            "statistics" => Rule::Statistics,
            "missing" => Rule::Missing,
            "reads" => Rule::Reads,
            _ => return None,
        })
    }
}

/// The rules of a relation: none where all of it may be read.
type Rules = Vec<(Rule, Vec<&'static str>)>;

/// Readable relations by `schema.name`. A line that is not understood stands for a relation that is not readable.
fn relations() -> &'static HashMap<&'static str, Rules> {
    static RELATIONS: OnceLock<HashMap<&'static str, Rules>> = OnceLock::new();
    RELATIONS.get_or_init(|| {
        TABLE
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let mut fields = line.split('\t');
                let name = fields.next()?;
                Some((name, rules(fields.next()?)?))
            })
            .collect()
    })
}

fn rules(text: &'static str) -> Option<Rules> {
    if text == "open" {
        return Some(Vec::new());
    }
    text.split("; ")
        .map(|clause| {
            let mut words = clause.split(' ');
            let rule = Rule::named(words.next()?)?;
            Some((rule, words.collect()))
        })
        .collect()
}

fn is_system(schema: &str) -> bool {
    matches!(schema, "pg_catalog" | "information_schema")
}

/// Whether a restricted role may read the relation. A system relation that has masks for the role counts as readable
/// only where the role carries them.
pub fn readable(role: &RolePolicy, relation: &Relation) -> bool {
    let schema = relation.schema.as_str();
    if !is_system(schema) {
        // `pg_temp` is the session's own temporary schema, under the alias that can mean no other.
        return !schema.starts_with("pg_toast")
            && (schema == "pg_temp" || !schema.starts_with("pg_temp"));
    }
    relations()
        .get(relation.full_name().as_str())
        .is_some_and(|rules| {
            let masks = rules.iter().any(|(rule, names)| {
                applies(*rule, role) && names.iter().any(|name| relation.column(name).is_some())
            });
            let ruled = |rule: &Rule| *rule == Rule::Reads && applies(*rule, role);
            let has_rows = rules.iter().any(|(rule, _)| ruled(rule));
            (!masks || role.masks.contains_key(&relation.oid))
                && (!has_rows || role.rows.contains_key(&relation.oid))
        })
}

/// Whether there are relations of which the role does not see all rows.
pub fn hides_rows(role: &RolePolicy) -> bool {
    // Those of the system have a rule for other reasons.
    let ruled = role.rows.keys().any(|oid| *oid >= FIRST_NORMAL_OID);
    ruled || !role.closed.is_empty()
}

/// Whether rows are hidden from the role, or from somebody with whom it shares a session.
pub fn closes_serializable(role: &RolePolicy) -> bool {
    hides_rows(role) || role.shares_session
}

/// Whether what counters say of rows is none of the role's business: rows are hidden from it, or counted, and what it makes a
/// statement do for one of them can be read off there.
pub fn closes_counters(role: &RolePolicy) -> bool {
    hides_rows(role) || role.export.limits()
}

/// Whether [`guard`] must have given the role masks by such a rule.
fn applies(rule: Rule, role: &RolePolicy) -> bool {
    let hides = hides_rows(role);
    match rule {
        Rule::Null | Rule::Own => true,
        Rule::Any | Rule::Reads => closes_counters(role),
        Rule::Counts => hides,
        Rule::Writes | Rule::Statistics => {
            let masked = role.masks.keys().any(|oid| *oid >= FIRST_NORMAL_OID);
            hides || masked || !role.denied.is_empty() || role.export.limits()
        }
        // Where a column has such a value, which the role does not know.
        Rule::Missing => false,
        Rule::Null13 => false,
    }
}

/// Whether it is the server's own: such relations are written by no statement of a restricted role (an UPDATE of
/// `pg_settings` sets settings).
pub fn writable(relation: &Relation) -> bool {
    !is_system(&relation.schema)
}

/// Adds the masks of system relations to a restricted role. The role's own masks, row rules and closed relations must
/// be complete: which rows of a system relation are about them depends on it.
pub fn guard(role: &mut RolePolicy, catalog: &Catalog) {
    let scope = Scope::of(role, catalog);
    let mut found = Vec::new();
    let mut ruled = Vec::new();
    for (name, rules) in relations() {
        let Some((schema, table)) = name.split_once('.') else {
            continue;
        };
        let Some(relation) = catalog.relation(schema, table) else {
            continue;
        };
        for (rule, names) in rules {
            if *rule == Rule::Reads {
                ruled.extend(scope.unread().map(|rule| (relation.oid, Arc::new(rule))));
            }
            for column in names.iter().filter_map(|name| relation.column(name)) {
                if let Some(sql) = scope.mask(*rule, relation, column) {
                    found.push((relation.oid, column.num, sql));
                }
            }
        }
    }
    for (relation, column, sql) in found {
        add(role, relation, column, &sql);
    }
    role.rows.extend(ruled);
    guard_views(role, catalog);
}

fn add(role: &mut RolePolicy, relation: Oid, column: AttNum, sql: &str) {
    let mask = ColumnMask {
        class: SYSTEM.into(),
        sql: MaskSql::from_template(sql),
        lookup: false,
        parts: Vec::new(),
    };
    let masks = role.masks.entry(relation).or_default();
    masks.entry(column).or_insert(mask);
}

/// Users' views over system relations: they run with their owner's sight, so a column that takes its value from one that
/// is masked or closed is NULL.
fn guard_views(role: &mut RolePolicy, catalog: &Catalog) {
    let mut guarded: BTreeSet<(Oid, AttNum)> = BTreeSet::new();
    loop {
        let hides = |relation: Oid, column: AttNum| {
            let Some(source) = catalog.relations.get(&relation) else {
                return false;
            };
            if !is_system(&source.schema) {
                return guarded.contains(&(relation, column));
            }
            role.mask(relation, column).is_some() || !readable(role, source)
        };
        let mut found = Vec::new();
        for (oid, view) in &catalog.relations {
            for (column, source) in view.columns.iter().zip(&view.sources) {
                let hidden = match source {
                    ColumnSource::Same { relation, column } => hides(*relation, *column),
                    ColumnSource::Computed { from } => {
                        from.iter().any(|cell| hides(cell.0, cell.1))
                    }
                    ColumnSource::Unknown => false,
                };
                if hidden && !guarded.contains(&(*oid, column.num)) {
                    found.push((*oid, column.num, format!("NULL::{}", column.type_sql)));
                }
            }
        }
        if found.is_empty() {
            return;
        }
        for (oid, column, sql) in found {
            guarded.insert((oid, column));
            add(role, oid, column, &sql);
        }
    }
}

/// What the role is kept from seeing.
struct Scope<'a> {
    catalog: &'a Catalog,
    /// Relations of which the role does not see all rows, their indexes and TOAST tables.
    hidden: BTreeSet<Oid>,
    /// Those, and indexes whose number of rows depends on values that are masked.
    uncounted: BTreeSet<Oid>,
    /// Relations with anything masked or hidden.
    guarded: BTreeSet<Oid>,
    /// Relations of which a masked or hidden column has a value in `attmissingval`.
    missing: BTreeSet<Oid>,
    /// Counters are closed, of all relations.
    closed: bool,
    /// Rows are counted.
    limited: bool,
}

impl<'a> Scope<'a> {
    fn of(role: &RolePolicy, catalog: &'a Catalog) -> Self {
        let mut hidden: BTreeSet<Oid> = role
            .rows
            .keys()
            .chain(role.closed.keys())
            .copied()
            .collect();
        let mut guarded = hidden.clone();
        guarded.extend(role.masks.keys().chain(role.denied.keys()));
        if role.export.limits() {
            guarded.extend(counted(role, catalog));
        }
        let mut uncounted = BTreeSet::new();
        for (oid, storage) in &catalog.storage {
            if storage.partial && guarded.contains(&storage.of) {
                uncounted.insert(*oid);
            }
        }
        hidden.extend(
            catalog
                .storage
                .iter()
                .filter(|(_, storage)| {
                    role.rows.contains_key(&storage.of) || role.closed.contains_key(&storage.of)
                })
                .map(|(oid, _)| *oid),
        );
        uncounted.extend(&hidden);
        Scope {
            catalog,
            missing: catalog
                .missing_values
                .iter()
                .filter(|(relation, column)| {
                    hidden.contains(relation)
                        || role.denies(*relation, *column)
                        || role.mask(*relation, *column).is_some()
                })
                .map(|(relation, _)| *relation)
                .collect(),
            hidden,
            uncounted,
            guarded,
            closed: closes_counters(role),
            limited: role.export.limits(),
        }
    }

    /// The mask, `None` where nothing is hidden from this role. Everything in it is qualified.
    fn mask(&self, rule: Rule, relation: &Relation, column: &Column) -> Option<String> {
        let raw = MaskSql::COLUMN;
        let when = match rule {
            Rule::Null13 if self.catalog.server_version >= 140_000 => return None,
            Rule::Null | Rule::Null13 => return Some(format!("NULL::{}", column.type_sql)),
            Rule::Own => "\"pid\" OPERATOR(pg_catalog.<>) pg_catalog.pg_backend_pid()".to_owned(),
            Rule::Any if !self.closed => return None,
            Rule::Any => return Some(format!("NULL::{}", column.type_sql)),
            // What was taken back is counted there, too.
            Rule::Counts if self.limited && relation.name.starts_with("pg_stat") => {
                return Some(format!("NULL::{}", column.type_sql));
            }
            // `pg_class` has no NULLs there: as of a relation that was never analysed.
            Rule::Counts if relation.name == "pg_class" => {
                let rows = among("oid", &self.uncounted)?;
                let never = if column.name == "reltuples" {
                    "-1"
                } else {
                    "0"
                };
                return Some(format!(
                    "CASE WHEN {rows} THEN '{never}'::{} ELSE {raw} END",
                    column.type_sql
                ));
            }
            Rule::Counts => among("relid", &self.hidden)?,
            Rule::Writes => among("relid", &self.guarded)?,
            Rule::Statistics => self.about_guarded(),
            Rule::Missing => among("attrelid", &self.missing)?,
            Rule::Reads => return None,
        };
        debug_assert!(rule != Rule::Own || relation.column("pid").is_some());
        Some(format!("CASE WHEN {when} THEN NULL ELSE {raw} END"))
    }

    /// The rows of `pg_locks` but predicate locks: those are on the tuples and pages that a plan has met (README-SSI in
    /// src/backend/storage/lmgr), of hidden rows and of what is looked up for them in other relations; where rows are counted,
    /// of what is looked up for those that nobody counts.
    fn unread(&self) -> Option<RowRule> {
        let rule = vec![
            RulePart::Column("mode".into()),
            RulePart::Sql(" OPERATOR(pg_catalog.<>) 'SIReadLock'::pg_catalog.text".into()),
        ];
        (self.limited || !self.hidden.is_empty()).then_some(RowRule { parts: rule })
    }

    /// Whether a row of `pg_stats` and its like, which give names, is about a guarded relation or an index of one.
    /// By OID and by what is there at the moment, so that renaming a table opens nothing.
    ///
    /// Of temporary tables it is not known who filled them: the database user's other sessions may have been others.
    fn about_guarded(&self) -> String {
        const TEMPORARY: &str =
            "pg_catalog.starts_with(\"schemaname\"::pg_catalog.text, 'pg_temp_')";
        let tables: BTreeSet<Oid> = self
            .guarded
            .iter()
            .filter(|oid| self.catalog.relations.contains_key(oid))
            .copied()
            .collect();
        let Some(guarded) = among("o", &tables) else {
            return TEMPORARY.to_owned();
        };
        format!(
            "{TEMPORARY} OR EXISTS (SELECT 1 FROM (SELECT COALESCE(i.\"indrelid\", r.\"oid\") AS \"o\" FROM pg_catalog.pg_class r \
             LEFT JOIN pg_catalog.pg_index i ON i.\"indexrelid\" OPERATOR(pg_catalog.=) r.\"oid\" \
             WHERE r.\"relname\" OPERATOR(pg_catalog.=) \"tablename\" AND r.\"relnamespace\" OPERATOR(pg_catalog.=) \
             (SELECT n.\"oid\" FROM pg_catalog.pg_namespace n WHERE n.\"nspname\" OPERATOR(pg_catalog.=) \"schemaname\")) \
             AS f WHERE {guarded})"
        )
    }
}

/// Relations whose rows count for the role.
fn counted(role: &RolePolicy, catalog: &Catalog) -> BTreeSet<Oid> {
    let users = catalog
        .relations
        .values()
        .filter(|relation| role.export.counts_all && !is_system(&relation.schema))
        .map(|relation| relation.oid);
    role.protected.iter().copied().chain(users).collect()
}

/// `"column"` is one of those; `None` where there are none.
fn among(column: &str, oids: &BTreeSet<Oid>) -> Option<String> {
    let list = listed(oids)?;
    Some(format!(
        "\"{column}\" OPERATOR(pg_catalog.=) ANY ('{{{list}}}'::pg_catalog.oid[])"
    ))
}

fn listed(oids: &BTreeSet<Oid>) -> Option<String> {
    let mut list = String::new();
    for oid in oids {
        let _ = write!(list, "{}{oid}", if list.is_empty() { "" } else { "," });
    }
    (!oids.is_empty()).then_some(list)
}
