//! A policy as the planner uses it: names resolved to object identifiers of one catalog snapshot.
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;

use crate::catalog::{AttNum, Oid};
use crate::policy::mask::quote_identifier;
use crate::policy::rules::ExportRule;
use crate::policy::trap::Trap;

/// What a class's mask does to one column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnMask {
    /// The class of data, for records (`phone`). `derived` where a view's column could not be attributed to one.
    pub class: Arc<str>,
    pub sql: MaskSql,
    /// `lookup: exact`: equality with a constant or parameter runs on the stored value.
    pub lookup: bool,
    /// The parts that are masked each for itself; empty where the value is masked as a whole.
    pub parts: Vec<MaskedPart>,
}

/// Part of a value that has a mask of its own. Whoever writes such a value back with other parts changed would store the
/// masks in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MaskedPart {
    /// Each element of an array.
    Elements,
    /// What the SQL/JSON path leads to, in `json` or `jsonb`.
    Json(String),
    /// What the path leads to, where it stands for a redacted value: `"***"`, 0 or false.
    JsonRedacted(String),
    /// What the path leads to, where it is null.
    JsonNull(String),
    /// Something with masks that keys alone lead to: there is one place for it, where it can be put back as long as it is what is
    /// shown there.
    JsonAt(Vec<String>),
}

/// SQL of a masked value, complete: fully qualified, cast to the column's type and typmod. Holds the text between the
/// places where the column is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskSql(Arc<[MaskPiece]>);

/// A piece of a mask's SQL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum MaskPiece {
    Sql(Box<str>),
    /// The column itself.
    Column,
    /// Another column of the same row, unquoted.
    Other(Box<str>),
}

impl MaskSql {
    /// What [`MaskSql::from_template`] takes for the column. NUL cannot stand in SQL.
    pub const COLUMN: &'static str = "\0";

    /// From SQL in which [`MaskSql::COLUMN`] stands wherever the column does.
    pub fn from_template(sql: &str) -> Self {
        let mut pieces = Vec::new();
        for (index, piece) in sql.split(Self::COLUMN).enumerate() {
            if index > 0 {
                pieces.push(MaskPiece::Column);
            }
            pieces.push(MaskPiece::Sql(piece.into()));
        }
        Self(pieces.into())
    }

    /// The column as it is.
    pub fn column() -> Self {
        Self([MaskPiece::Column].into())
    }

    /// This mask of what another one shows.
    pub fn around(&self, inner: &MaskSql) -> Self {
        let mut pieces = Vec::new();
        for piece in self.0.iter() {
            match piece {
                MaskPiece::Column => {
                    pieces.push(MaskPiece::Sql("(".into()));
                    pieces.extend(inner.0.iter().cloned());
                    pieces.push(MaskPiece::Sql(")".into()));
                }
                other => pieces.push(other.clone()),
            }
        }
        Self(pieces.into())
    }

    /// One mask in rows for which any of the rules holds, and another in the rest. The rules name no value of the session.
    pub fn choice(rules: &[RowRule], then: &MaskSql, otherwise: &MaskSql) -> Self {
        let sql = |text: &str| MaskPiece::Sql(text.into());
        let mut pieces = vec![sql("(CASE WHEN ")];
        for (index, rule) in rules.iter().enumerate() {
            pieces.push(sql(if index == 0 { "(" } else { " OR (" }));
            pieces.extend(rule.parts.iter().map(|part| match part {
                RulePart::Sql(text) => MaskPiece::Sql(text.clone()),
                RulePart::Column(name) => MaskPiece::Other(name.clone()),
                // A value that is not there makes the condition NULL, as in a row rule.
                RulePart::Value(_) => sql("NULL"),
            }));
            pieces.push(sql(")"));
        }
        pieces.push(sql(" THEN "));
        pieces.extend(then.0.iter().cloned());
        pieces.push(sql(" ELSE "));
        pieces.extend(otherwise.0.iter().cloned());
        pieces.push(sql(" END)"));
        Self(pieces.into())
    }

    /// The SQL over a column of this name, unquoted, of the row that stands under a quoted name, or alone if it is empty.
    pub fn over(&self, row: &str, column: &str) -> String {
        let reference = |name: &str| {
            let name = quote_identifier(name);
            match row.is_empty() {
                true => name,
                false => format!("{row}.{name}"),
            }
        };
        let pieces = self.0.iter().map(|piece| match piece {
            MaskPiece::Sql(text) => text.to_string(),
            MaskPiece::Column => reference(column),
            MaskPiece::Other(name) => reference(name),
        });
        pieces.collect()
    }

    /// Whether the column itself takes part.
    pub fn names_column(&self) -> bool {
        self.0.contains(&MaskPiece::Column)
    }

    /// For hashing.
    pub fn pieces(&self) -> &[MaskPiece] {
        &self.0
    }
}

/// A value of the session that a row rule names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SessionValue {
    /// `{app_user}`
    AppUser,
    /// `{db_user}`
    DbUser,
    /// `{attr.name}`
    Attribute(Box<str>),
    /// `{region.name}`: there for who is in the region, NULL for others.
    Region(Box<str>),
}

/// A part of a row rule's SQL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RulePart {
    Sql(Box<str>),
    /// A column of the relation the rule is for, unquoted: a place to put its reference.
    Column(Box<str>),
    Value(SessionValue),
}

/// The rows of a relation that a role may read and write.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RowRule {
    pub parts: Vec<RulePart>,
}

impl RowRule {
    /// Whether the rule reads other relations.
    pub fn has_subquery(&self) -> bool {
        self.parts.iter().any(|part| match part {
            RulePart::Sql(text) => text.contains(crate::policy::ALIAS_PREFIX),
            RulePart::Column(_) | RulePart::Value(_) => false,
        })
    }

    /// The rule as an SQL condition, in parentheses. `alias` is the quoted name under which the relation stands, empty
    /// for bare columns, which will do only where [`RowRule::has_subquery`] is false: a relation within the rule may have
    /// columns of the same names. No alias around the rule may begin with [`crate::policy::ALIAS_PREFIX`]. A value the session does not have is NULL, so that no row passes.
    pub fn sql(&self, alias: &str, value: impl Fn(&SessionValue) -> Option<String>) -> String {
        let mut sql = String::from("(");
        for part in &self.parts {
            match part {
                RulePart::Sql(text) => sql.push_str(text),
                RulePart::Column(name) if alias.is_empty() => {
                    let _ = write!(sql, "\"{}\"", name.replace('"', "\"\""));
                }
                RulePart::Column(name) => {
                    let _ = write!(sql, "{alias}.\"{}\"", name.replace('"', "\"\""));
                }
                RulePart::Value(name) => match value(name) {
                    Some(value) => {
                        let _ = write!(sql, "'{}'", value.replace('\'', "''"));
                    }
                    None => sql.push_str("NULL"),
                },
            }
        }
        sql.push(')');
        sql
    }
}

/// The classes of data that columns hold, sorted by name.
pub type Classes = HashMap<(Oid, AttNum), Vec<Arc<str>>>;

/// Honeytoken rows by the columns that hold the values which name them.
pub type Traps = HashMap<(Oid, AttNum), Vec<Arc<Trap>>>;

/// All that the planner needs to know about the role of a session, for one database.
#[derive(Debug, Clone, Default)]
pub struct RolePolicy {
    pub name: Arc<str>,
    /// [`crate::policy::PolicySet::version`] of what it was compiled from, for records.
    pub policy: Arc<str>,
    /// Differs between two compiled policies that differ; part of every plan cache key.
    pub version: u64,
    /// `unmasked: true` or `enforce: false`: bytes pass unchanged, only observed.
    pub unmasked: bool,
    /// `enforce: false`: the role as it would be enforced, to be planned for besides.
    pub trial: Option<Arc<RolePolicy>>,
    /// Masked columns by relation: derived relations (views, partitions, children) included.
    pub masks: HashMap<Oid, HashMap<AttNum, ColumnMask>>,
    /// Row rules by relation: partitions and children included.
    pub rows: HashMap<Oid, Arc<RowRule>>,
    /// Columns that the role may not name at all (`unlisted: deny`): left out of what stands for the relation.
    pub denied: HashMap<Oid, HashSet<AttNum>>,
    /// Columns that say in which region a row belongs, of relations that are masked by region: who is outside may not move a
    /// row to where it is not masked.
    pub anchors: HashMap<Oid, HashSet<AttNum>>,
    /// Columns that may not get another value, with the reason: what the schema checks at a write would compare it with a
    /// stored value that the role does not see. In the place of a column [`crate::catalog::ROW`]: rows may not be deleted.
    pub tied: HashMap<Oid, HashMap<AttNum, Arc<str>>>,
    /// Columns that may not get another value, with the reason: a foreign key would carry it into what says who sees a row. In
    /// the place of a column [`crate::catalog::ROW`]: rows may not be deleted.
    pub carried: HashMap<Oid, HashMap<AttNum, Arc<str>>>,
    /// Relations that take no new rows, with the reason: one would be held against masked values of others by more than
    /// equality.
    pub probed: HashMap<Oid, Arc<str>>,
    /// Relations that the role may neither read nor write, with the reason: a view that would show rows which a row
    /// rule hides.
    pub closed: HashMap<Oid, Arc<str>>,
    /// The same for every role, masked or not; derived columns included.
    pub classes: Arc<Classes>,
    /// The same for every role; views and inheritance included.
    pub traps: Arc<Traps>,
    /// Relations that hold classified data for anyone (masked for this role or not): their rows are counted.
    pub protected: HashSet<Oid>,
    /// Primary keys of protected relations, where the people that a person sees are counted.
    pub subjects: HashMap<Oid, Vec<AttNum>>,
    /// What the role may take out.
    pub export: Arc<ExportRule>,
    /// `functions.allow`: `schema.name` of functions outside `pg_catalog` that may be called.
    pub functions: HashSet<String>,
    /// `statements.allow`.
    pub statements: HashSet<String>,
    /// Statements are on record with their values, sealed.
    pub full_text: bool,
    /// Database users are shared by people (`applications`), and rows are hidden from some of them.
    pub shares_session: bool,
}

impl RolePolicy {
    /// The role's rules, in force or not.
    pub fn rules(self: &Arc<Self>) -> &Arc<Self> {
        self.trial.as_ref().unwrap_or(self)
    }

    pub fn mask(&self, relation: Oid, column: AttNum) -> Option<&ColumnMask> {
        self.masks.get(&relation)?.get(&column)
    }

    /// The classes of data that a column holds.
    pub fn classes_of(&self, relation: Oid, column: AttNum) -> &[Arc<str>] {
        self.classes
            .get(&(relation, column))
            .map_or(&[], Vec::as_slice)
    }

    /// The traps whose values a column holds, as they are stored.
    pub fn traps_of(&self, relation: Oid, column: AttNum) -> &[Arc<Trap>] {
        self.traps
            .get(&(relation, column))
            .map_or(&[], Vec::as_slice)
    }

    /// Whether a reference to the relation is replaced by a template.
    pub fn substitutes(&self, relation: Oid) -> bool {
        self.masks.contains_key(&relation)
            || self.rows.contains_key(&relation)
            || self.denied.contains_key(&relation)
    }

    /// Whether nothing in the relation is kept from the role, or counted.
    pub fn is_open(&self, relation: Oid) -> bool {
        !self.substitutes(relation)
            && !self.protected.contains(&relation)
            && !self.closed.contains_key(&relation)
            && !self.probed.contains_key(&relation)
            && !self.holds(relation)
    }

    /// Whether the column says in which region a row belongs that the session is not in.
    pub fn anchors(&self, relation: Oid, column: AttNum) -> bool {
        self.anchors
            .get(&relation)
            .is_some_and(|columns| columns.contains(&column))
    }

    /// Why the column may not get another value.
    pub fn tied(&self, relation: Oid, column: AttNum) -> Option<&Arc<str>> {
        self.tied.get(&relation)?.get(&column)
    }

    /// Why the column may not get another value, where that would show other rows.
    pub fn carried(&self, relation: Oid, column: AttNum) -> Option<&Arc<str>> {
        self.carried.get(&relation)?.get(&column)
    }

    /// Whether a write to the relation needs to be looked at for columns that may not change.
    pub fn holds(&self, relation: Oid) -> bool {
        self.tied.contains_key(&relation) || self.carried.contains_key(&relation)
    }

    pub fn denies(&self, relation: Oid, column: AttNum) -> bool {
        self.denied
            .get(&relation)
            .is_some_and(|columns| columns.contains(&column))
    }
}
