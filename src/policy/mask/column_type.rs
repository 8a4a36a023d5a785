//! The type of a column as far as masks care.
use super::sql::quote_identifier;
use crate::catalog::{Catalog, Column, Oid, TypeKind};

/// Types that masks tell apart. Built-in types are known by their fixed OID (pg_type.dat), never by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    Text,
    /// The type of the extension `citext`.
    Citext,
    Varchar,
    Bpchar,
    Name,
    /// `"char"`, one byte.
    Char,
    Int2,
    Int4,
    Int8,
    Numeric,
    Float4,
    Float8,
    Money,
    OidNumber,
    Bool,
    Date,
    Timestamp,
    TimestampTz,
    Uuid,
    Json,
    Bytea,
    Inet,
    Cidr,
    Array,
    /// Enums, ranges, composites and everything unknown: only NULL is surely a value.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnType {
    pub family: Family,
    /// What masked values are cast to: the column's type and typmod; for a domain its base type without a typmod.
    pub sql: String,
    /// `pg_attribute.atttypmod`; -1 for a domain.
    pub typmod: i32,
    /// The column's own type, for messages.
    pub shown: String,
    /// Of an array: the type of its elements, where masks can be put on them one by one.
    pub element: Option<Box<ColumnType>>,
}

impl ColumnType {
    pub fn of(column: &Column, catalog: &Catalog) -> Self {
        let shown = column.type_sql.replace("pg_catalog.", "");
        let Some(data_type) = catalog.types.get(&column.type_oid) else {
            return Self {
                family: builtin(column.type_oid),
                sql: column.type_sql.clone(),
                typmod: column.typmod,
                shown,
                element: None,
            };
        };
        if data_type.kind == TypeKind::Domain {
            return Self::base_of(data_type.base, catalog, shown);
        }
        Self {
            family: family(column.type_oid, catalog),
            sql: column.type_sql.clone(),
            typmod: column.typmod,
            element: element(column.type_oid, column.typmod, catalog),
            shown,
        }
    }

    /// Whether `pg_catalog` has an `=` for the type that goes by its values. That of `citext` is the extension's, but its
    /// values compare as text.
    pub fn has_equality(&self, column: &Column, catalog: &Catalog) -> bool {
        match self.family {
            Family::Json | Family::Array => false,
            Family::Other => {
                let oid = match catalog.types.get(&column.type_oid) {
                    Some(data_type) => data_type.base.unwrap_or(column.type_oid),
                    None => column.type_oid,
                };
                catalog
                    .types
                    .get(&oid)
                    .is_some_and(|data_type| data_type.kind == TypeKind::Enum)
            }
            _ => true,
        }
    }

    fn base_of(base: Option<Oid>, catalog: &Catalog, shown: String) -> Self {
        let known = base.and_then(|oid| Some((oid, catalog.types.get(&oid)?)));
        match known {
            Some((oid, base)) => Self {
                family: family(oid, catalog),
                sql: format!(
                    "{}.{}",
                    quote_identifier(&base.schema),
                    quote_identifier(&base.name)
                ),
                typmod: -1,
                element: element(oid, -1, catalog),
                shown,
            },
            // NULL cast to text: the one thing that cannot raise without knowing the type.
            None => Self {
                family: Family::Other,
                sql: "pg_catalog.text".to_owned(),
                typmod: -1,
                element: None,
                shown,
            },
        }
    }
}

/// The elements of an array have its typmod. Elements that are of a domain are left out: a mask may break its CHECK.
fn element(array: Oid, typmod: i32, catalog: &Catalog) -> Option<Box<ColumnType>> {
    let oid = *catalog.elements.get(&array)?;
    let data_type = catalog.types.get(&oid)?;
    let is_array = family(array, catalog) == Family::Array;
    (is_array && data_type.kind == TypeKind::Base).then(|| {
        let sql = format!(
            "{}.{}",
            quote_identifier(&data_type.schema),
            quote_identifier(&data_type.name)
        );
        Box::new(ColumnType {
            family: family(oid, catalog),
            shown: data_type.name.clone(),
            sql,
            typmod,
            element: None,
        })
    })
}

/// A value as it stands within SQL that masks are made of.
impl ColumnType {
    pub(super) fn text() -> Self {
        Self::plain(Family::Text, "text")
    }

    pub(super) fn numeric() -> Self {
        Self::plain(Family::Numeric, "numeric")
    }

    fn plain(family: Family, name: &str) -> Self {
        Self {
            family,
            sql: format!("pg_catalog.{name}"),
            typmod: -1,
            shown: name.to_owned(),
            element: None,
        }
    }
}

fn family(oid: Oid, catalog: &Catalog) -> Family {
    let builtin = builtin(oid);
    let Some(data_type) = catalog.types.get(&oid) else {
        return builtin;
    };
    if builtin != Family::Other {
        return builtin;
    }
    let extension = data_type.extension.as_deref();
    if data_type.kind == TypeKind::Base && data_type.name == "citext" && extension == Some("citext")
    {
        return Family::Citext;
    }
    // `int2vector` and `oidvector` (22, 30) have the category of arrays but not their syntax; array types proper are
    // named with an underscore (makeArrayTypeName, pg_type.c).
    if data_type.kind == TypeKind::Base
        && data_type.category == 'A'
        && data_type.name.starts_with('_')
    {
        return Family::Array;
    }
    Family::Other
}

fn builtin(oid: Oid) -> Family {
    match oid {
        16 => Family::Bool,
        17 => Family::Bytea,
        18 => Family::Char,
        19 => Family::Name,
        20 => Family::Int8,
        21 => Family::Int2,
        23 => Family::Int4,
        25 => Family::Text,
        26 => Family::OidNumber,
        114 | 3802 => Family::Json,
        650 => Family::Cidr,
        700 => Family::Float4,
        701 => Family::Float8,
        790 => Family::Money,
        869 => Family::Inet,
        1042 => Family::Bpchar,
        1043 => Family::Varchar,
        1082 => Family::Date,
        1114 => Family::Timestamp,
        1184 => Family::TimestampTz,
        1700 => Family::Numeric,
        2950 => Family::Uuid,
        _ => Family::Other,
    }
}
