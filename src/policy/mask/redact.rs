//! The mask `redact`: one fixed value for every value of a type.
use super::column_type::{ColumnType, Family};
use super::sql::{quote_literal, unless_null};

/// See [`super::Mask::Redact`]. `column` is quoted already.
pub fn sql(column: &str, data_type: &ColumnType) -> String {
    match fixed(data_type.family) {
        Some(text) => {
            let value = format!("{}::{}", quote_literal(text), data_type.sql);
            unless_null(column, &value, &data_type.sql)
        }
        None => format!("NULL::{}", data_type.sql),
    }
}

/// Text that the type's input function takes under any setting and that fits every typmod (by being cut, if need be).
fn fixed(family: Family) -> Option<&'static str> {
    match family {
        Family::Text | Family::Citext | Family::Varchar | Family::Bpchar | Family::Name => {
            Some("***")
        }
        Family::Char => Some("*"),
        Family::Int2
        | Family::Int4
        | Family::Int8
        | Family::Numeric
        | Family::Float4
        | Family::Float8 => Some("0"),
        Family::Money | Family::OidNumber => Some("0"),
        Family::Bool => Some("false"),
        Family::Date => Some("1970-01-01"),
        Family::Timestamp => Some("1970-01-01 00:00:00"),
        Family::TimestampTz => Some("1970-01-01 00:00:00+00"),
        Family::Uuid => Some("00000000-0000-0000-0000-000000000000"),
        Family::Json => Some("\"***\""),
        Family::Bytea => Some(""),
        Family::Inet => Some("0.0.0.0"),
        Family::Cidr => Some("0.0.0.0/32"),
        Family::Array => Some("{}"),
        Family::Other => None,
    }
}
