//! The schema snapshot: relations, columns, functions, operators and types of one database.
//!
//! A snapshot is immutable. A refresh makes a new one with another [`Catalog::version`].
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ties::{Cascade, Tie};

/// An object identifier as PostgreSQL assigns it (`pg_class.oid` and the like).
pub type Oid = u32;
/// A column number (`pg_attribute.attnum`); user columns start at 1, system columns are negative.
pub type AttNum = i16;

/// `FirstNormalObjectId` (access/transam.h): what has a smaller OID was made by initdb.
pub const FIRST_NORMAL_OID: Oid = 16_384;

/// `pg_class.relkind`, for the kinds that a statement can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RelationKind {
    Table,
    PartitionedTable,
    View,
    MaterializedView,
    ForeignTable,
    Sequence,
    /// Indexes, TOAST tables and composite types: never readable through FROM by a restricted role.
    Other,
}

/// One column of a relation, in `attnum` order; dropped columns are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Column {
    pub num: AttNum,
    pub name: String,
    pub type_oid: Oid,
    pub typmod: i32,
    /// The type as SQL that reads the same under any `search_path`: `pg_catalog.varchar(20)`-like output of
    /// `format_type` taken with an empty search path.
    pub type_sql: String,
    pub not_null: bool,
    /// For a generated column: the columns of the same relation that its expression reads.
    pub generated_from: Vec<AttNum>,
}

/// Where a view's output column takes its value from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ColumnSource {
    /// Exactly the value of another relation's column (possibly renamed).
    Same { relation: Oid, column: AttNum },
    /// An expression; every column it reads, at any depth.
    Computed { from: Vec<(Oid, AttNum)> },
    /// The definition could not be attributed: treated as reading every protected column.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Relation {
    pub oid: Oid,
    pub schema: String,
    pub name: String,
    pub kind: RelationKind,
    pub columns: Vec<Column>,
    /// Column numbers of the primary key; empty where there is none that GROUP BY may rely on (a deferrable one).
    pub primary_key: Vec<AttNum>,
    /// Columns of unique indexes and exclusion constraints, the primary key's included; 0 for an expression.
    pub unique: Vec<AttNum>,
    /// Parents by inheritance or partitioning (`pg_inherits`).
    pub parents: Vec<Oid>,
    /// For views and materialized views: one entry per column, in the order of `columns`. Empty for the views of
    /// `pg_catalog` and `information_schema`: they derive from system catalogs, whose rules are built in.
    pub sources: Vec<ColumnSource>,
    /// Name of the extension that owns the relation.
    pub extension: Option<String>,
}

impl Relation {
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
    pub fn column_number(&self, num: AttNum) -> Option<&Column> {
        self.columns.iter().find(|column| column.num == num)
    }
    /// `schema.name`, unquoted: for messages and records, not for SQL.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.schema, self.name)
    }
}

/// `pg_proc.provolatile`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Volatility {
    Immutable,
    Stable,
    Volatile,
}

/// What a view reads for any purpose: its values, its conditions, its counts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewReads {
    pub relations: BTreeSet<Oid>,
    /// It calls a function or operator whose body may read anything.
    pub opaque: bool,
    /// It may apply an operator of a user's that its text does not show.
    pub unseen: bool,
}

/// One overload of a function, procedure, aggregate or window function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Function {
    pub schema: String,
    pub volatility: Volatility,
    /// Name of the extension that owns it.
    pub extension: Option<String>,
    pub security_definer: bool,
    /// PostgreSQL's own: made by initdb (its OID is below `FirstNormalObjectId`), or with a range type as its
    /// constructor. A superuser can add functions to `pg_catalog`.
    pub built_in: bool,
}

/// One operator that initdb did not make.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operator {
    pub schema: String,
    pub extension: Option<String>,
}

/// `pg_type.typtype`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TypeKind {
    Base,
    Composite,
    Domain,
    Enum,
    Range,
    Pseudo,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Type {
    pub schema: String,
    pub name: String,
    pub kind: TypeKind,
    /// `pg_type.typcategory`: `S` string, `N` numeric, `D` date/time, `B` boolean, `A` array, ...
    pub category: char,
    /// For a domain: its base type, domains over domains resolved.
    pub base: Option<Oid>,
    pub extension: Option<String>,
}

/// An index, a TOAST table or its index: its counters say something of the rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// The table.
    pub of: Oid,
    /// An index with a predicate: how many rows it has depends on values.
    pub partial: bool,
}

/// A cast by a function that initdb did not make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cast {
    pub source: Oid,
    pub target: Oid,
    pub context: CastContext,
    /// `schema.name` of the function.
    pub function: String,
    pub extension: Option<String>,
    /// Relations whose rows hold values of the source type, at any depth; of the target type too, where the server may
    /// apply the cast of its own accord.
    pub relations: HashSet<Oid>,
    /// Types to name which can bring the cast about: they hold values of its source or target type.
    pub types: HashSet<Oid>,
    /// Views whose definition applies the cast, which need not show in its text.
    pub views: HashSet<Oid>,
}

/// `pg_cast.castcontext`: where the server applies it of its own accord.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CastContext {
    /// Nowhere.
    Explicit,
    /// In assignments to columns.
    Assignment,
    /// In expressions.
    Implicit,
}

/// A function or operator that initdb did not make and that the server calls unasked: the input of a domain (its CHECK),
/// or a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Checker {
    /// `schema.name`
    pub name: String,
    pub extension: Option<String>,
}

/// What sets a rule off (`pg_rewrite.ev_type`). Those of SELECT are views.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RuleEvent {
    Insert,
    Update,
    Delete,
}

/// A rule of the rewrite system that is not disabled (CREATE RULE).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RewriteRule {
    pub name: String,
    pub event: RuleEvent,
    /// As `pg_get_ruledef` writes it with an empty `search_path`.
    pub definition: String,
    /// Functions and operators that it depends on and that initdb did not make.
    pub calls: Vec<Checker>,
}

/// The schema of one database. Lookups are by exact (already folded) names.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// Differs between two snapshots that differ; part of every plan cache key.
    pub version: u64,
    pub database: String,
    /// `server_version_num`, for instance 150018.
    pub server_version: u32,
    pub relations: HashMap<Oid, Arc<Relation>>,
    pub schemas: HashSet<String>,
    /// All functions by name, `pg_catalog` included.
    pub functions: HashMap<String, Vec<Function>>,
    /// Operators that initdb did not make, by name.
    pub operators: HashMap<String, Vec<Operator>>,
    pub types: HashMap<Oid, Type>,
    /// Indexes and TOAST tables of users' tables.
    pub storage: HashMap<Oid, Storage>,
    /// The row type of a relation, by relation.
    pub row_types: HashMap<Oid, Oid>,
    /// Writes may run users' triggers.
    pub triggers: bool,
    /// Columns whose value in older rows stands in `pg_attribute.attmissingval`.
    pub missing_values: HashSet<(Oid, AttNum)>,
    pub casts: Vec<Cast>,
    /// What the input of a type calls: domains with a CHECK, and the arrays, composites and domains over them.
    pub checked_types: HashMap<Oid, Vec<Checker>>,
    /// Columns that refer to one of a primary key, by (relation, column): the column referred to.
    pub foreign_keys: HashMap<(Oid, AttNum), (Oid, AttNum)>,
    /// Collations of columns that are not the database's own; those of type `name` left out.
    pub collations: HashMap<(Oid, AttNum), Oid>,
    /// The type of the elements, by type of array.
    pub elements: HashMap<Oid, Oid>,
    /// What users' views read, by view.
    pub view_reads: HashMap<Oid, ViewReads>,
    /// By relation, in the order of their names.
    pub rewrite_rules: HashMap<Oid, Vec<RewriteRule>>,
    /// What compares columns when a row is written, by relation.
    pub ties: HashMap<Oid, Vec<Tie>>,
    pub cascades: BTreeSet<Cascade>,
    pub(super) names: HashMap<String, HashMap<String, Oid>>,
    pub(super) type_names: HashMap<String, Vec<Oid>>,
    pub(super) children: HashMap<Oid, Vec<Oid>>,
}

impl Catalog {
    /// Adds a relation and indexes it by name and by parent.
    pub fn insert(&mut self, relation: Relation) {
        self.schemas.insert(relation.schema.clone());
        self.names
            .entry(relation.schema.clone())
            .or_default()
            .insert(relation.name.clone(), relation.oid);
        for parent in &relation.parents {
            self.children.entry(*parent).or_default().push(relation.oid);
        }
        self.relations.insert(relation.oid, Arc::new(relation));
    }

    pub fn insert_type(&mut self, oid: Oid, data_type: Type) {
        self.type_names
            .entry(data_type.name.clone())
            .or_default()
            .push(oid);
        self.types.insert(oid, data_type);
    }

    /// The relation of that schema and name.
    pub fn relation(&self, schema: &str, name: &str) -> Option<&Arc<Relation>> {
        let oid = self.names.get(schema)?.get(name)?;
        self.relations.get(oid)
    }

    /// The first relation of that name along the schemas of a search path.
    pub fn resolve(&self, search_path: &[String], name: &str) -> Option<&Arc<Relation>> {
        search_path
            .iter()
            .find_map(|schema| self.relation(schema, name))
    }

    /// Types of that name in any schema.
    pub fn types_named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Type> {
        self.numbered_types_named(name).map(|(_, found)| found)
    }

    /// Types of that name in any schema, with their OIDs.
    pub fn numbered_types_named<'a>(&'a self, name: &str) -> impl Iterator<Item = (Oid, &'a Type)> {
        self.type_names
            .get(name)
            .into_iter()
            .flatten()
            .filter_map(|oid| Some((*oid, self.types.get(oid)?)))
    }

    /// Direct inheritance children or partitions.
    pub fn children(&self, parent: Oid) -> &[Oid] {
        self.children.get(&parent).map_or(&[], Vec::as_slice)
    }

    /// These relations and all that inherit from them, as far as they are to be followed.
    pub fn below(&self, from: impl IntoIterator<Item = Oid>, is: impl Fn(Oid) -> bool) -> Vec<Oid> {
        reached(from, |oid| {
            self.children(oid)
                .iter()
                .copied()
                .filter(|child| is(*child))
        })
    }

    /// A relation, all that inherit from it, and all that these inherit from.
    pub fn related(&self, relation: Oid) -> Vec<Oid> {
        let parents = |oid| {
            let relation = self.relations.get(&oid).into_iter();
            relation.flat_map(|relation| relation.parents.iter().copied())
        };
        reached(self.below([relation], |_| true), parents)
    }
}

/// What is reached from relations in any number of steps, behind those from which it is reached.
fn reached<I: IntoIterator<Item = Oid>>(
    from: impl IntoIterator<Item = Oid>,
    next: impl Fn(Oid) -> I,
) -> Vec<Oid> {
    let mut reached: Vec<Oid> = from.into_iter().collect();
    let mut at = 0;
    while let Some(oid) = reached.get(at).copied() {
        for one in next(oid) {
            if !reached.contains(&one) {
                reached.push(one);
            }
        }
        at += 1;
    }
    reached
}
