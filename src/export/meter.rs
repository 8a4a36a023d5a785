//! The rows of one result, counted against the role's limit.

/// Whether the row that was just counted may still go to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    Within,
    /// This row is the first one too many: it and all that follow stay here.
    Exceeded,
}

/// Counts rows and their bytes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Meter {
    /// Rows that may go out in all; `None`: as many as there are.
    limit: Option<u64>,
    /// Rows of the same portal or cursor that went out before.
    before: u64,
    /// Rows that are no data and are not counted: the header line of COPY.
    uncounted: u64,
    rows: u64,
    bytes: u64,
}

impl Meter {
    /// A meter of a result that is not limited.
    pub const fn unlimited() -> Self {
        Meter {
            limit: None,
            before: 0,
            uncounted: 0,
            rows: 0,
            bytes: 0,
        }
    }

    /// A meter of a result of protected data. `before`: rows of the same portal or cursor that went out already.
    pub const fn limited(limit: u64, before: u64) -> Self {
        Meter {
            limit: Some(limit),
            before,
            uncounted: 0,
            rows: 0,
            bytes: 0,
        }
    }

    /// The next row is a header and not data.
    pub const fn expect_header(&mut self) {
        self.uncounted = 1;
    }

    /// Counts a row of `bytes` on the wire. A row too many is not counted.
    pub const fn row(&mut self, bytes: u64) -> Count {
        if self.uncounted > 0 {
            self.uncounted -= 1;
            self.bytes += bytes;
            return Count::Within;
        }
        if let Some(limit) = self.limit
            && self.before.saturating_add(self.rows) >= limit
        {
            return Count::Exceeded;
        }
        self.rows += 1;
        self.bytes += bytes;
        Count::Within
    }

    /// Counts rows that a statement has put into another relation. They stand for rows that go out: from there they can
    /// be read without being counted.
    pub const fn store(&mut self, rows: u64) -> Count {
        // RETURNING has shown some of them already.
        if rows > self.rows {
            self.rows = rows;
        }
        match self.limit {
            Some(limit) if self.total() > limit => Count::Exceeded,
            _ => Count::Within,
        }
    }

    pub const fn limit(&self) -> Option<u64> {
        self.limit
    }

    /// Rows counted by this meter.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Rows of the portal or cursor, those before included.
    pub const fn total(&self) -> u64 {
        self.before.saturating_add(self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_after_the_limit_is_the_first_that_stays() {
        let mut meter = Meter::limited(2, 0);
        assert_eq!(meter.row(10), Count::Within);
        assert_eq!(meter.row(10), Count::Within);
        assert_eq!(meter.row(10), Count::Exceeded);
        assert_eq!((meter.rows(), meter.bytes()), (2, 20));
    }

    #[test]
    fn rows_fetched_earlier_from_the_same_cursor_count() {
        let mut meter = Meter::limited(100, 99);
        assert_eq!(meter.row(1), Count::Within);
        assert_eq!(meter.row(1), Count::Exceeded);
        assert_eq!(meter.total(), 100);
    }

    #[test]
    fn a_limit_of_nothing_lets_nothing_through() {
        assert_eq!(Meter::limited(0, 0).row(1), Count::Exceeded);
    }

    #[test]
    fn a_header_is_no_row() {
        let mut meter = Meter::limited(1, 0);
        meter.expect_header();
        assert_eq!(meter.row(5), Count::Within);
        assert_eq!(meter.row(5), Count::Within);
        assert_eq!(meter.row(5), Count::Exceeded);
        assert_eq!((meter.rows(), meter.bytes()), (1, 10));
    }

    #[test]
    fn an_unlimited_result_is_only_counted() {
        let mut meter = Meter::unlimited();
        for _ in 0..1000 {
            assert_eq!(meter.row(3), Count::Within);
        }
        assert_eq!((meter.rows(), meter.bytes()), (1000, 3000));
    }
}
