//! Durations (`30s`, `5min`) and sizes (`16MiB`) as people write them.
use std::time::Duration;

/// Units of a duration in milliseconds.
const DURATIONS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("min", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];
/// Units of a size in bytes.
const SIZES: [(&str, u64); 4] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

pub const DURATION_EXPECTED: &str = "a duration such as `500ms`, `30s`, `5min` or `1h`";
pub const SIZE_EXPECTED: &str = "a size such as `512KiB`, `16MiB` or `1GiB`";

/// A whole number and a unit. Zero is not a duration anything here can use.
pub fn duration(text: &str) -> Option<Duration> {
    quantity(text, &DURATIONS).map(Duration::from_millis)
}

/// A duration, or none at all: `0s`.
pub fn pause(text: &str) -> Option<Duration> {
    match text {
        "0s" => Some(Duration::ZERO),
        text => duration(text),
    }
}

/// A whole number and a unit, or a number of bytes alone; more than zero.
pub fn size(text: &str) -> Option<u64> {
    quantity(text, &SIZES).or_else(|| text.parse().ok().filter(|bytes| *bytes > 0))
}

fn quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(split)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number
        .parse::<u64>()
        .ok()?
        .checked_mul(*factor)
        .filter(|value| *value > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        for (text, expected) in [
            ("30s", Some(30_000)),
            ("5min", Some(300_000)),
            ("5 min", Some(300_000)),
            ("250ms", Some(250)),
            ("1d", Some(86_400_000)),
            ("30", None),
            ("0s", None),
            ("-1s", None),
            ("1.5s", None),
            ("5 fortnights", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
            ("", None),
        ] {
            assert_eq!(
                duration(text),
                expected.map(Duration::from_millis),
                "{text}"
            );
        }
    }

    #[test]
    fn sizes_are_binary_or_plain_bytes() {
        for (text, expected) in [
            ("16MiB", Some(16 << 20)),
            ("1GiB", Some(1 << 30)),
            ("100B", Some(100)),
            ("1048576", Some(1_048_576)),
            ("16MB", None),
            ("0", None),
            ("-1", None),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
    }
}
