//! A place to begin or end at when records are read: a time or a number.
use std::path::Path;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use super::entry::Entry;
use super::read::{ReadError, Reader};
use super::record::rfc3339;

/// How far a record may stand from its place in the order of times: sessions take the time before they write, and clocks
/// are set.
const SLACK: Duration = Duration::from_secs(600);

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
/// Records beyond a span, in a row, that show that it is over.
const BEYOND: u32 = 64;

/// The records from one place on, up to but without another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Span {
    pub from: Option<Bound>,
    pub to: Option<Bound>,
}

impl Span {
    pub fn contains(&self, entry: &Entry) -> bool {
        !self.from.as_ref().is_some_and(|from| from.is_after(entry))
            && self.to.as_ref().is_none_or(|to| to.is_after(entry))
    }

    /// The record comes well after the span's end.
    fn is_past(&self, entry: &Entry) -> bool {
        let last = self.to.as_ref().and_then(|to| to.moved(true));
        last.is_some_and(|last| !last.is_after(entry))
    }

    /// Reads from where the span begins, or before.
    ///
    /// # Errors
    /// The directory or the beginning of a segment cannot be read.
    pub fn reader(&self, dir: &Path) -> Result<Reader, ReadError> {
        match self.from.as_ref().and_then(|from| from.moved(false)) {
            Some(from) => Reader::since(dir, &from),
            None => Reader::from_start(dir),
        }
    }
}

/// Tells when nothing of a span is to come any more.
#[derive(Debug, Default)]
pub struct Beyond {
    /// Records beyond the span in a row.
    row: u32,
}

impl Beyond {
    /// Takes the next record that is looked at; `true` once reading on is of no use. One record with a wrong time does
    /// not end it.
    pub fn has_come(&mut self, span: &Span, entry: &Entry) -> bool {
        self.row = match span.is_past(entry) {
            true => self.row + 1,
            false => 0,
        };
        self.row >= BEYOND
    }
}

impl Bound {
    /// A time with [`SLACK`] added or taken off.
    fn moved(&self, later: bool) -> Option<Bound> {
        let Bound::Time(text) = self else {
            return Some(self.clone());
        };
        let time = humantime::parse_rfc3339(text).ok()?;
        let moved = match later {
            true => time.checked_add(SLACK)?,
            false => time.checked_sub(SLACK)?,
        };
        Some(Bound::Time(rfc3339(moved)))
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

    #[test]
    fn a_span_ends_before_its_end_and_bears_with_clocks() {
        let span = Span {
            from: "2026-11-22".parse().ok(),
            to: "2026-11-23".parse().ok(),
        };
        for (time, contains, past) in [
            ("2026-11-21T23:59:59.999999Z", false, false),
            ("2026-11-22T00:00:00.000000Z", true, false),
            ("2026-11-22T23:59:59.999999Z", true, false),
            ("2026-11-23T00:00:00.000000Z", false, false),
            ("2026-11-23T00:10:00.000000Z", false, true),
        ] {
            let entry = Entry {
                time: time.to_owned(),
                ..Entry::default()
            };
            assert_eq!(span.contains(&entry), contains, "{time}");
            assert_eq!(span.is_past(&entry), past, "{time}");
        }
    }

    #[test]
    fn a_clock_that_was_wrong_for_a_record_ends_no_span() {
        let span = Span {
            from: None,
            to: "100".parse().ok(),
        };
        let mut beyond = Beyond::default();
        let entry = |seq| Entry {
            seq,
            ..Entry::default()
        };
        assert!(!beyond.has_come(&span, &entry(200)));
        assert!(!beyond.has_come(&span, &entry(99)));
        let come = (100..).position(|seq| beyond.has_come(&span, &entry(seq)));
        assert_eq!(come, Some(63));
    }
}
