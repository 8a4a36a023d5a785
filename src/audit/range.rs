//! A place to begin or end at when records are read: a time or a number.
use std::str::FromStr;
use std::time::SystemTime;

use super::entry::Entry;
use super::record::rfc3339;

/// `2026-11-22`, `2026-11-22T07:00:00Z` or the number of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// As records have it: RFC 3339, UTC, microseconds.
    Time(String),
    /// Sequence number in the chain.
    Seq(u64),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no date (2026-11-22), time (2026-11-22T07:00:00Z) or number of a record")]
pub struct BoundError(String);

impl FromStr for Bound {
    type Err = BoundError;

    fn from_str(text: &str) -> Result<Self, BoundError> {
        let wrong = || BoundError(text.to_owned());
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Bound::Seq).map_err(|_| wrong());
        }
        let whole = match text.len() {
            10 => format!("{text}T00:00:00Z"),
            _ => text.to_owned(),
        };
        let time: SystemTime = humantime::parse_rfc3339_weak(&whole).map_err(|_| wrong())?;
        Ok(Bound::Time(rfc3339(time)))
    }
}

impl Bound {
    /// The record comes before this place.
    pub fn is_after(&self, entry: &Entry) -> bool {
        match self {
            Bound::Time(time) => entry.time < *time,
            Bound::Seq(seq) => entry.seq < *seq,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_times_and_numbers_are_told_apart() {
        let time = |text: &str| Ok(Bound::Time(text.to_owned()));
        for (text, expected) in [
            ("2026-11-22", time("2026-11-22T00:00:00.000000Z")),
            ("2026-11-22T07:00:00Z", time("2026-11-22T07:00:00.000000Z")),
            ("2026-11-22 07:00:00", time("2026-11-22T07:00:00.000000Z")),
            (
                "2026-11-22T07:00:00.5Z",
                time("2026-11-22T07:00:00.500000Z"),
            ),
            ("42", Ok(Bound::Seq(42))),
            ("yesterday", Err(BoundError("yesterday".to_owned()))),
            ("2026-13-01", Err(BoundError("2026-13-01".to_owned()))),
            (
                "99999999999999999999",
                Err(BoundError("99999999999999999999".to_owned())),
            ),
        ] {
            assert_eq!(text.parse(), expected, "{text}");
        }
    }
}
