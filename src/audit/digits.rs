//! Numbers and times as decimal digits, for records, of which there are many.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Of the largest number.
pub const MOST_DIGITS: usize = 20;
const DAY: u64 = 86_400;
/// Seconds from 1970 to the year 10000.
const YEAR_10000: u64 = 253_402_300_800;

/// Appends a number.
pub fn put_number(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [0; MOST_DIGITS];
    let mut first = MOST_DIGITS;
    for digit in digits.iter_mut().rev() {
        *digit = digit_of(number);
        first -= 1;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(first..).unwrap_or_default());
}

/// Appends a time as [`super::record::rfc3339`] gives it.
pub fn put_time(out: &mut Vec<u8>, time: SystemTime) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = match since.as_secs() < YEAR_10000 {
        true => since,
        false => Duration::ZERO,
    };
    let (year, month, day) = date(since.as_secs() / DAY);
    let second = since.as_secs() % DAY;
    put_padded(out, year, 4);
    for (before, number) in [(b'-', month), (b'-', day), (b'T', second / 3600)] {
        out.push(before);
        put_padded(out, number, 2);
    }
    for number in [second / 60 % 60, second % 60] {
        out.push(b':');
        put_padded(out, number, 2);
    }
    out.push(b'.');
    put_padded(out, u64::from(since.subsec_micros()), 6);
    out.push(b'Z');
}

/// Year, month and day so many days after 1970-01-01. Years begin in March here, so that a leap day is the last of its
/// year: the algorithm of Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let days = days + 719_468;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = match month {
        0..10 => (month + 3, 0),
        _ => (month - 9, 1),
    };
    (400 * era + year + next, month, day)
}

fn put_padded(out: &mut Vec<u8>, mut number: u64, width: usize) {
    let begin = out.len();
    out.resize(begin + width, b'0');
    for digit in out.iter_mut().skip(begin).rev() {
        *digit = digit_of(number);
        number /= 10;
    }
}

/// The last digit.
fn digit_of(number: u64) -> u8 {
    b'0' + u8::try_from(number % 10).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::rfc3339;
    use proptest::prelude::*;

    fn time(time: SystemTime) -> String {
        let mut out = Vec::new();
        put_time(&mut out, time);
        String::from_utf8(out).expect("digits")
    }

    proptest! {
        #[test]
        fn a_time_is_written_as_everywhere_else(seconds in 0..YEAR_10000, nanoseconds in 0..1_000_000_000u32) {
            let at = UNIX_EPOCH + Duration::new(seconds, nanoseconds);
            prop_assert_eq!(time(at), rfc3339(at));
        }

        #[test]
        fn a_number_has_its_digits(number: u64) {
            let mut out = Vec::new();
            put_number(&mut out, number);
            prop_assert_eq!(out, number.to_string().into_bytes());
        }
    }

    #[test]
    fn every_day_of_eight_hundred_years_is_itself() {
        for day in 0..365 * 800 {
            let at = UNIX_EPOCH + Duration::from_secs(day * DAY);
            assert_eq!(time(at), rfc3339(at), "day {day}");
        }
    }

    #[test]
    fn the_ends_of_what_can_be_written() {
        let last = Duration::from_secs(YEAR_10000);
        for at in [
            UNIX_EPOCH,
            UNIX_EPOCH - Duration::from_secs(1),
            UNIX_EPOCH + last,
            UNIX_EPOCH + last - Duration::from_nanos(1),
        ] {
            assert_eq!(time(at), rfc3339(at));
        }
        let mut out = Vec::new();
        for number in [0, u64::MAX] {
            put_number(&mut out, number);
        }
        assert_eq!(out, b"018446744073709551615");
    }
}
