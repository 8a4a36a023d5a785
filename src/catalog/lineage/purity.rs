//! Which functions, operators and types compute from their arguments alone.
//!
//! A function's body can read any table; a view's column made by it would then show what no column of the view's own
//! FROM holds. So a call counts as computing from its arguments only where that is known.
use pg_query::NodeEnum;
use pg_query::protobuf::{Node, TypeName};

use crate::catalog::{Catalog, Function, TypeKind, Volatility};

/// Extensions whose non-volatile functions and whose operators and types work on their arguments alone. `dblink`,
/// `tablefunc` and `xml2` run SQL given as text and are not among them; `pageinspect` reads pages.
pub const PURE_EXTENSIONS: &[&str] = &[
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "earthdistance",
    "fuzzystrmatch",
    "hstore",
    "intarray",
    "isn",
    "ltree",
    "pg_trgm",
    "pgcrypto",
    "seg",
    "unaccent",
    "uuid-ossp",
    "vector",
];

/// Volatile functions of `pg_catalog` that read the clock, a generator of random numbers or a sequence, no table.
const VOLATILE_WITHOUT_TABLES: &[&str] = &[
    "clock_timestamp",
    "currval",
    "gen_random_uuid",
    "lastval",
    "nextval",
    "random",
    "random_normal",
    "timeofday",
    "uuidv4",
    "uuidv7",
];

/// Endings of stable functions of `pg_catalog` that run a query or read a table named in an argument (xml.c).
const STABLE_WITH_TABLES: &[&str] = &["_to_xml", "_to_xmlschema", "_to_xml_and_xmlschema"];

/// Beginnings of stable functions of `pg_catalog` that tell of sessions and stored rows (pgstatfuncs.c, mcv.c).
const STABLE_ON_STATISTICS: &[&str] = &["pg_stat_get_", "pg_mcv_list_items"];

/// Made by the grammar itself; before PostgreSQL 14 the server knew it as `date_part`.
const GRAMMAR_FUNCTIONS: &[&str] = &["extract"];

pub struct Purity<'a> {
    catalog: &'a Catalog,
}

impl<'a> Purity<'a> {
    pub fn new(catalog: &'a Catalog) -> Purity<'a> {
        Purity { catalog }
    }

    /// All overloads must be pure: which one is meant depends on types, which are not worked out here.
    pub fn function(&self, name: &[Node]) -> bool {
        let Some((schema, name)) = qualified(name) else {
            return false;
        };
        if schema == "pg_catalog" && GRAMMAR_FUNCTIONS.contains(&name) {
            return true;
        }
        let mut overloads = self
            .catalog
            .functions
            .get(name)
            .into_iter()
            .flatten()
            .filter(|function| function.schema == schema)
            .peekable();
        overloads.peek().is_some() && overloads.all(|function| is_pure(function, name))
    }

    /// Operators of `pg_catalog`, by an unqualified name too: definitions are written under an empty search path.
    pub fn operator(&self, name: &[Node]) -> bool {
        let Some((schema, name)) = qualified(name) else {
            return false;
        };
        let mut overloads = self
            .catalog
            .operators
            .get(name)
            .into_iter()
            .flatten()
            .filter(|operator| operator.schema == schema)
            .peekable();
        // Those that initdb made are not listed.
        (schema == "pg_catalog" || overloads.peek().is_some())
            && overloads.all(|operator| pure_extension(operator.extension.as_deref()))
    }

    /// A cast to a base type runs that type's input or cast function; domains, enums, ranges and composites have none
    /// of their own.
    pub fn cast(&self, name: &TypeName) -> bool {
        let Some((schema, name)) = qualified(&name.names) else {
            return false;
        };
        if schema == "pg_catalog" {
            return true;
        }
        self.catalog
            .types_named(name)
            .find(|data_type| data_type.schema == schema)
            .is_some_and(|data_type| match data_type.kind {
                TypeKind::Base => pure_extension(data_type.extension.as_deref()),
                TypeKind::Composite | TypeKind::Domain | TypeKind::Enum | TypeKind::Range => true,
                TypeKind::Pseudo => false,
            })
    }
}

fn is_pure(function: &Function, name: &str) -> bool {
    let volatile = function.volatility == Volatility::Volatile;
    if function.built_in {
        return if volatile {
            VOLATILE_WITHOUT_TABLES.contains(&name)
        } else {
            !STABLE_WITH_TABLES
                .iter()
                .any(|ending| name.ends_with(ending))
                && !STABLE_ON_STATISTICS
                    .iter()
                    .any(|beginning| name.starts_with(beginning))
        };
    }
    !volatile && !function.security_definer && pure_extension(function.extension.as_deref())
}

pub fn pure_extension(extension: Option<&str>) -> bool {
    extension.is_some_and(|name| PURE_EXTENSIONS.contains(&name))
}

/// Schema and name of `name` or `schema.name`.
fn qualified(name: &[Node]) -> Option<(&str, &str)> {
    match name {
        [name] => Some(("pg_catalog", string(name)?)),
        [schema, name] => Some((string(schema)?, string(name)?)),
        _ => None,
    }
}

pub fn string(node: &Node) -> Option<&str> {
    match node.node.as_ref()? {
        NodeEnum::String(string) => Some(&string.sval),
        _ => None,
    }
}
