//! Masks of dates and timestamps: `truncate`.
use super::Misfit;
use super::column_type::{ColumnType, Family};
use super::sql::{call, operator, typed};

/// What a date or timestamp is cut to the start of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeUnit {
    Year,
    Month,
    Day,
}

impl TimeUnit {
    pub const ALL: [(&'static str, TimeUnit); 3] = [
        ("year", TimeUnit::Year),
        ("month", TimeUnit::Month),
        ("day", TimeUnit::Day),
    ];

    fn word(self) -> &'static str {
        match self {
            TimeUnit::Year => "year",
            TimeUnit::Month => "month",
            TimeUnit::Day => "day",
        }
    }
}

/// See [`super::Mask::Truncate`]. Infinity, and what lies outside the years that `timestamp` holds in full, becomes NULL.
///
/// A `timestamptz` is cut in UTC, not in the session's time zone: a client that can shift the zone second by second
/// would otherwise read the time of day off the day it falls on.
pub fn truncate(column: &str, data_type: &ColumnType, unit: TimeUnit) -> Result<String, Misfit> {
    let (name, low, high) = match data_type.family {
        Family::Date => ("date", "4712-01-01 BC", "294275-12-31"),
        Family::Timestamp => (
            "timestamp",
            "4712-01-01 00:00:00 BC",
            "294275-12-31 00:00:00",
        ),
        Family::TimestampTz => (
            "timestamptz",
            "4712-01-01 00:00:00+00 BC",
            "294275-12-31 00:00:00+00",
        ),
        _ => return Err(Misfit::Type),
    };
    if data_type.family == Family::Date && unit == TimeUnit::Day {
        return Err(Misfit::Options(
            "`day` would leave every date as it is".to_owned(),
        ));
    }
    let value = format!("{column}::pg_catalog.{name}");
    let unit = typed(unit.word(), "text");
    let cut = match data_type.family {
        Family::TimestampTz => {
            // By offset, not by name: a name goes through the setting `timezone_abbreviations` first.
            let utc = typed("00:00:00", "interval");
            let local = call("timezone", &[&utc, &value]);
            call("timezone", &[&utc, &call("date_trunc", &[&unit, &local])])
        }
        _ => call(
            "date_trunc",
            &[&unit, &format!("{column}::pg_catalog.timestamp")],
        ),
    };
    Ok(format!(
        "(CASE WHEN {} AND {} THEN {cut} END)::{}",
        operator(&value, ">=", &typed(low, name)),
        operator(&value, "<=", &typed(high, name)),
        data_type.sql,
    ))
}
