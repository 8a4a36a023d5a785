//! Types as settings see them.
use crate::catalog::Oid;

/// What there is to know of a value's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `timestamptz`
    Moment,
    /// Ranges of them.
    Moments,
    /// `timetz`
    ZonedTime,
    Date,
    Timestamp,
    Time,
    Interval,
    Text,
    /// Written with as many digits as a setting says.
    Float,
    /// Written by a setting: `bytea`, `money`, `xml`.
    Styled,
    /// A name as a number (`regclass`): read by the search path.
    Registered,
    /// Of which no setting is known.
    Plain,
    /// A literal or NULL, of the type that stands beside it.
    Literal,
    Unknown,
}

pub use Kind::{
    Date, Float, Interval, Literal, Moment, Moments, Plain, Registered, Styled, Text, Time,
    Timestamp, Unknown, ZonedTime,
};

impl Kind {
    /// By the names of `pg_catalog`.
    pub fn named(name: &str) -> Self {
        match name {
            "timestamptz" => Moment,
            "tstzrange" | "tstzmultirange" => Moments,
            "timetz" => ZonedTime,
            "date" => Date,
            "timestamp" => Timestamp,
            "time" => Time,
            "interval" => Interval,
            "text" | "varchar" | "bpchar" | "name" | "char" => Text,
            "float4" | "float8" => Float,
            "bytea" | "money" | "xml" => Styled,
            _ if name.starts_with("reg") => Registered,
            _ => Plain,
        }
    }

    pub fn is_zoned(self) -> bool {
        matches!(self, Moment | ZonedTime)
    }

    /// A day or time without a zone.
    pub fn is_local(self) -> bool {
        matches!(self, Date | Timestamp | Time)
    }

    /// Text of it depends on a setting.
    pub fn is_styled(self) -> bool {
        self.is_zoned()
            || self.is_local()
            || matches!(self, Moments | Interval | Float | Styled | Registered)
    }

    /// Between these two stands the zone of the session.
    pub fn crosses(self, other: Self) -> bool {
        (self.is_zoned() && other.is_local()) || (self.is_local() && other.is_zoned())
    }
}

/// A catalog need not hold the types of PostgreSQL's own.
pub fn by_number(oid: Oid) -> Kind {
    // pg_type.dat
    match oid {
        1184 | 1185 => Moment,
        1266 | 1270 => ZonedTime,
        1082 | 1182 => Date,
        1114 | 1115 => Timestamp,
        1083 | 1183 => Time,
        1186 | 1187 => Interval,
        18 | 19 | 25 | 1009 | 1042 | 1043 => Text,
        700 | 701 | 1021 | 1022 => Float,
        17 | 142 | 790 => Styled,
        _ => Unknown,
    }
}
