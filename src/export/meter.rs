//! The rows and bytes of one result, counted against what its role may take out at once.
use super::request::LimitKind;

/// Whether a row may go to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    Within,
    /// This row is the first one too many, by this limit. It is not counted.
    Over(LimitKind),
}

/// What may go out of one result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Rows; `None`: as many as there are.
    pub rows: Option<u64>,
    /// Bytes on the wire.
    pub bytes: Option<u64>,
}

/// What went out of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    /// Rows as they are counted: one that holds many counts for many.
    pub counted: u64,
    pub bytes: u64,
}

impl Sum {
    /// What went out if both are of the same rows.
    pub fn or_more(self, other: Sum) -> Sum {
        Sum {
            counted: self.counted.max(other.counted),
            bytes: self.bytes.max(other.bytes),
        }
    }
}

/// Counts rows and their bytes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Meter {
    limits: Limits,
    /// What went out of the same portal or cursor before.
    before: Sum,
    /// Rows that are no data and are not counted: the header line of COPY.
    uncounted: u64,
    /// Rows as the client sees them.
    rows: u64,
    sum: Sum,
}

impl Meter {
    /// A meter of a result that is not limited.
    pub const fn unlimited() -> Self {
        Meter {
            limits: Limits {
                rows: None,
                bytes: None,
            },
            before: Sum {
                counted: 0,
                bytes: 0,
            },
            uncounted: 0,
            rows: 0,
            sum: Sum {
                counted: 0,
                bytes: 0,
            },
        }
    }

    /// A meter of a result of protected data. `before`: what went out of the same portal or cursor already.
    pub const fn limited(limits: Limits, before: Sum) -> Self {
        Meter {
            limits,
            before,
            ..Meter::unlimited()
        }
    }

    /// The next row is a header and not data.
    pub const fn expect_header(&mut self) {
        self.uncounted = 1;
    }

    /// Whether a row of `bytes` on the wire that counts for `weight` rows may go out. Nothing is counted yet.
    pub fn check(&self, bytes: u64, weight: u64) -> Count {
        if self.uncounted > 0 {
            return Count::Within;
        }
        let total = self.total();
        let over = |limit: Option<u64>, sum: u64| limit.is_some_and(|limit| sum > limit);
        if over(self.limits.rows, total.counted.saturating_add(weight)) {
            return Count::Over(LimitKind::Rows);
        }
        if over(self.limits.bytes, total.bytes.saturating_add(bytes)) {
            return Count::Over(LimitKind::Bytes);
        }
        Count::Within
    }

    /// Counts a row that goes out.
    pub const fn add(&mut self, bytes: u64, weight: u64) {
        self.sum.bytes = self.sum.bytes.saturating_add(bytes);
        if self.uncounted > 0 {
            self.uncounted -= 1;
            return;
        }
        self.rows += 1;
        self.sum.counted = self.sum.counted.saturating_add(weight);
    }

    /// Counts rows that a statement has put into another relation, of this weight together.
    pub const fn store(&mut self, rows: u64, weight: u64) {
        self.rows = self.rows.saturating_add(rows);
        self.sum.counted = self.sum.counted.saturating_add(weight);
    }

    /// The next row is no data.
    pub const fn awaits_header(&self) -> bool {
        self.uncounted > 0
    }

    /// Rows that a statement has put into another relation and that are not counted yet. They stand for rows that go out:
    /// from there they can be read without being counted.
    pub const fn stored(&self, rows: u64) -> u64 {
        // RETURNING has shown some of them already.
        rows.saturating_sub(self.rows)
    }

    /// A grant stands in the limits' place.
    pub const fn raise(&mut self, rows: u64) {
        self.limits = Limits {
            rows: Some(rows),
            bytes: None,
        };
    }

    pub const fn limits(&self) -> Limits {
        self.limits
    }

    /// Rows as the client sees them.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    pub const fn bytes(&self) -> u64 {
        self.sum.bytes
    }

    /// Of the portal or cursor, what went before included.
    pub const fn total(&self) -> Sum {
        Sum {
            counted: self.before.counted.saturating_add(self.sum.counted),
            bytes: self.before.bytes.saturating_add(self.sum.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(limit: u64) -> Meter {
        let limits = Limits {
            rows: Some(limit),
            bytes: None,
        };
        Meter::limited(limits, Sum::default())
    }

    fn count(meter: &mut Meter, bytes: u64, weight: u64) -> Count {
        let count = meter.check(bytes, weight);
        if count == Count::Within {
            meter.add(bytes, weight);
        }
        count
    }

    const TOO_MANY: Count = Count::Over(LimitKind::Rows);

    #[test]
    fn the_row_after_the_limit_is_the_first_that_stays() {
        let mut meter = rows(2);
        assert_eq!(count(&mut meter, 10, 1), Count::Within);
        assert_eq!(count(&mut meter, 10, 1), Count::Within);
        assert_eq!(count(&mut meter, 10, 1), TOO_MANY);
        assert_eq!((meter.rows(), meter.bytes()), (2, 20));
    }

    #[test]
    fn rows_fetched_earlier_from_the_same_cursor_count() {
        let limits = Limits {
            rows: Some(100),
            bytes: Some(1000),
        };
        let mut meter = Meter::limited(
            limits,
            Sum {
                counted: 99,
                bytes: 10,
            },
        );
        assert_eq!(count(&mut meter, 1, 1), Count::Within);
        assert_eq!(count(&mut meter, 1, 1), TOO_MANY);
        assert_eq!(
            meter.total(),
            Sum {
                counted: 100,
                bytes: 11
            }
        );
    }

    #[test]
    fn a_row_that_holds_many_counts_for_many() {
        let mut meter = rows(10);
        assert_eq!(count(&mut meter, 1, 9), Count::Within);
        assert_eq!(count(&mut meter, 1, 2), TOO_MANY);
        assert_eq!(count(&mut meter, 1, 1), Count::Within);
        assert_eq!(meter.rows(), 2);
    }

    #[test]
    fn bytes_are_a_limit_of_their_own() {
        let limits = Limits {
            rows: None,
            bytes: Some(100),
        };
        let mut meter = Meter::limited(limits, Sum::default());
        assert_eq!(count(&mut meter, 60, 1), Count::Within);
        assert_eq!(count(&mut meter, 60, 1), Count::Over(LimitKind::Bytes));
        assert_eq!(count(&mut meter, 40, 1), Count::Within);
    }

    #[test]
    fn a_limit_of_nothing_lets_nothing_through() {
        assert_eq!(count(&mut rows(0), 1, 1), TOO_MANY);
    }

    #[test]
    fn a_header_is_no_row() {
        let mut meter = rows(1);
        meter.expect_header();
        assert_eq!(count(&mut meter, 5, 1), Count::Within);
        assert_eq!(count(&mut meter, 5, 1), Count::Within);
        assert_eq!(count(&mut meter, 5, 1), TOO_MANY);
        assert_eq!((meter.rows(), meter.bytes()), (1, 10));
    }

    #[test]
    fn a_grant_stands_in_the_limits_place() {
        let limits = Limits {
            rows: Some(1),
            bytes: Some(1),
        };
        let mut meter = Meter::limited(limits, Sum::default());
        meter.add(1, 1);
        meter.raise(3);
        assert_eq!(count(&mut meter, 500, 2), Count::Within);
        assert_eq!(count(&mut meter, 1, 1), TOO_MANY);
    }

    #[test]
    fn rows_that_were_stored_are_rows() {
        let mut meter = rows(10);
        meter.add(5, 1);
        assert_eq!(meter.stored(8), 7, "RETURNING has shown one");
        meter.store(7, 7);
        assert_eq!((meter.rows(), meter.bytes()), (8, 5));
        assert_eq!(count(&mut meter, 1, 3), TOO_MANY);
    }

    #[test]
    fn an_unlimited_result_is_only_counted() {
        let mut meter = Meter::unlimited();
        for _ in 0..1000 {
            assert_eq!(count(&mut meter, 3, 7), Count::Within);
        }
        assert_eq!((meter.rows(), meter.bytes()), (1000, 3000));
    }
}
