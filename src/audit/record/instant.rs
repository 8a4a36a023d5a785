//! When something happened, as records say it: RFC 3339, UTC, microseconds.
use std::time::SystemTime;

const DAY: u64 = 24 * 60 * 60;
/// The first second of the year 10000, which has no four digits.
const END: u64 = 253_402_300_800;
/// Days of 400 years, after which the calendar repeats itself.
const ERA: u64 = 146_097;
/// Days from 1 March 0000 to 1 January 1970.
const BEFORE_1970: u64 = 719_468;

/// Made for every statement: no allocation, no format string.
#[derive(Debug, Clone, Copy)]
pub struct Instant([u8; 27]);

impl Instant {
    /// A clock before 1970 or after 9999 gives the epoch.
    pub fn of(time: SystemTime) -> Self {
        let since = time
            .duration_since(SystemTime::UNIX_EPOCH)
            .ok()
            .filter(|since| since.as_secs() < END)
            .unwrap_or_default();
        let (seconds, micros) = (since.as_secs(), u64::from(since.subsec_micros()));
        let (year, month, day) = date(seconds / DAY);
        let time = seconds % DAY;
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        digits(&mut text, 0, 4, year);
        digits(&mut text, 5, 2, month);
        digits(&mut text, 8, 2, day);
        digits(&mut text, 11, 2, time / 3600);
        digits(&mut text, 14, 2, time / 60 % 60);
        digits(&mut text, 17, 2, time % 60);
        digits(&mut text, 20, 6, micros);
        Instant(text)
    }

    pub fn text(&self) -> &str {
        // Digits and the ASCII between them.
        std::str::from_utf8(&self.0).unwrap_or("1970-01-01T00:00:00.000000Z")
    }
}

/// Writes the last digits of a number.
fn digits(text: &mut [u8], at: usize, count: usize, mut number: u64) {
    let places = text.get_mut(at..at + count).unwrap_or_default();
    for place in places.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Year, month and day of a number of days since 1970, in a year that begins in March, so that the leap day is its last
/// (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + BEFORE_1970;
    let (era, day) = (days / ERA, days % ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day + 2) / 153;
    let day = day - (153 * from_march + 2) / 5 + 1;
    let month = match from_march {
        0..=9 => from_march + 3,
        _ => from_march - 9,
    };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(since: Duration) -> SystemTime {
        SystemTime::UNIX_EPOCH + since
    }

    #[test]
    fn days_up_to_the_year_9999_are_named_as_humantime_names_them() {
        // Every one of 400 years, and some of those after.
        let days = (0..ERA).chain((ERA..END / DAY).step_by(31));
        for day in days {
            let second = day * 7919 % DAY;
            let time = at(Duration::new(
                day * DAY + second,
                (day * 104_729 % 1_000_000) as u32 * 1000,
            ));
            let named = humantime::format_rfc3339_micros(time).to_string();
            assert_eq!(Instant::of(time).text(), named);
        }
    }

    #[test]
    fn a_clock_that_is_out_of_range_shows_the_epoch() {
        let epoch = "1970-01-01T00:00:00.000000Z";
        assert_eq!(Instant::of(at(Duration::ZERO)).text(), epoch);
        assert_eq!(Instant::of(at(Duration::from_secs(END))).text(), epoch);
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Instant::of(before).text(), epoch);
        let last = at(Duration::from_secs(END) - Duration::from_nanos(1));
        assert_eq!(Instant::of(last).text(), "9999-12-31T23:59:59.999999Z");
    }
}
