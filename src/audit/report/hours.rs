//! Working hours, in the time of the place where people work.
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

const DAY: u64 = 24 * 60;
const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// From one minute of the day up to another, on some days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkingHours {
    pub hours: Hours,
    pub days: Days,
    pub zone: Zone,
}

/// `08:00-18:00`. Through midnight where the end is not after the beginning: `22:00-06:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    /// Minutes since midnight.
    from: u64,
    to: u64,
}

/// `mon-fri`, `mon,wed,sat`, `sun-thu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days([bool; 7]);

/// `+08:00`, `-03:30`, `Z`: minutes east of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Zone(i64);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}`: expected {1}")]
pub struct HoursError(String, &'static str);

impl Default for WorkingHours {
    fn default() -> Self {
        WorkingHours {
            hours: Hours {
                from: 8 * 60,
                to: 18 * 60,
            },
            days: Days([true, true, true, true, true, false, false]),
            zone: Zone::default(),
        }
    }
}

impl WorkingHours {
    /// Whether a moment, in seconds since 1970, is within them.
    pub fn contain(&self, moment: u64) -> bool {
        let minutes = self.zone.local(moment) / 60;
        // 1970-01-01 was a Thursday.
        let (day, minute) = ((minutes / DAY + 3) % 7, minutes % DAY);
        let Hours { from, to } = self.hours;
        let on = |day: u64| {
            let index = usize::try_from(day % 7).unwrap_or(0);
            self.days.0.get(index).copied().unwrap_or(false)
        };
        match from < to {
            true => on(day) && (from..to).contains(&minute),
            false => (on(day) && minute >= from) || (on(day + 6) && minute < to),
        }
    }
}

impl Zone {
    /// Seconds since 1970 on the clocks of the place.
    fn local(self, moment: u64) -> u64 {
        moment.saturating_add_signed(self.0 * 60)
    }

    /// `2026-11-22 15:21`, on the clocks of the place.
    pub fn text(self, moment: u64) -> String {
        // Beyond the year 9999 there is no such text.
        let local = Duration::from_secs(self.local(moment).min(253_402_300_799));
        let text = humantime::format_rfc3339_seconds(UNIX_EPOCH + local).to_string();
        text.get(..16).unwrap_or_default().replace('T', " ")
    }
}

impl std::fmt::Display for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.0 < 0 { '-' } else { '+' };
        let minutes = self.0.unsigned_abs();
        write!(f, "UTC{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

impl std::fmt::Display for Hours {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [from, to] = [self.from, self.to].map(|m| format!("{:02}:{:02}", m / 60, m % 60));
        write!(f, "{from}-{to}")
    }
}

impl std::fmt::Display for Days {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let on: Vec<&str> = NAMES
            .iter()
            .zip(self.0)
            .filter_map(|(name, on)| on.then_some(*name))
            .collect();
        f.write_str(&on.join(" "))
    }
}

/// Minutes of `hh:mm`, up to 24:00.
fn minutes(text: &str) -> Option<u64> {
    let (hours, minutes) = text.split_once(':')?;
    let two = |part: &str| {
        let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| part.parse::<u64>().ok()).flatten()
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    let total = hours * 60 + minutes;
    (minutes < 60 && total <= DAY).then_some(total)
}

impl FromStr for Hours {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<Self, HoursError> {
        let parsed = text
            .split_once('-')
            .and_then(|(from, to)| Some((minutes(from)?, minutes(to)?)))
            .filter(|(from, to)| from != to && *from < DAY);
        let (from, to) =
            parsed.ok_or_else(|| HoursError(text.to_owned(), "hours as in 08:00-18:00"))?;
        Ok(Hours { from, to })
    }
}

impl FromStr for Days {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<Self, HoursError> {
        let wrong = || HoursError(text.to_owned(), "days as in mon-fri or mon,wed,sat");
        let number = |name: &str| {
            let name = name.trim().to_ascii_lowercase();
            NAMES.iter().position(|known| *known == name)
        };
        let mut days = [false; 7];
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (
                number(first).ok_or_else(wrong)?,
                number(last).ok_or_else(wrong)?,
            );
            let count = (last + 7 - first) % 7;
            for day in first..=first + count {
                if let Some(day) = days.get_mut(day % 7) {
                    *day = true;
                }
            }
        }
        Ok(Days(days))
    }
}

impl FromStr for Zone {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<Self, HoursError> {
        let wrong = || HoursError(text.to_owned(), "a distance from UTC as in +08:00, or Z");
        if matches!(text, "Z" | "z" | "UTC" | "utc") {
            return Ok(Zone(0));
        }
        let (sign, rest) = match text.split_at_checked(1) {
            Some(("+", rest)) => (1, rest),
            Some(("-", rest)) => (-1, rest),
            _ => return Err(wrong()),
        };
        let minutes = minutes(rest).filter(|minutes| *minutes <= 14 * 60);
        let minutes = minutes.and_then(|minutes| i64::try_from(minutes).ok());
        minutes
            .map(|minutes| Zone(sign * minutes))
            .ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(time: &str) -> u64 {
        let time = humantime::parse_rfc3339_weak(time).expect("a time");
        time.duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs()
    }

    #[test]
    fn a_moment_is_within_working_hours_on_the_clocks_of_the_place() {
        let within = |hours: &str, days: &str, zone: &str, time: &str| {
            WorkingHours {
                hours: hours.parse().expect("hours"),
                days: days.parse().expect("days"),
                zone: zone.parse().expect("a zone"),
            }
            .contain(at(time))
        };
        // 2026-11-20 is a Friday.
        for (hours, days, zone, time, expected) in [
            ("08:00-18:00", "mon-fri", "Z", "2026-11-20T08:00:00Z", true),
            ("08:00-18:00", "mon-fri", "Z", "2026-11-20T18:00:00Z", false),
            ("08:00-18:00", "mon-fri", "Z", "2026-11-21T12:00:00Z", false),
            (
                "08:00-18:00",
                "mon-fri",
                "+08:00",
                "2026-11-20T00:00:00Z",
                true,
            ),
            (
                "08:00-18:00",
                "mon-fri",
                "+08:00",
                "2026-11-20T10:00:00Z",
                false,
            ),
            (
                "08:00-18:00",
                "mon-fri",
                "-05:00",
                "2026-11-21T01:00:00Z",
                false,
            ),
            ("22:00-06:00", "fri", "Z", "2026-11-20T23:00:00Z", true),
            ("22:00-06:00", "fri", "Z", "2026-11-21T05:59:00Z", true),
            ("22:00-06:00", "fri", "Z", "2026-11-20T05:00:00Z", false),
            ("00:00-24:00", "sat-sun", "Z", "2026-11-22T23:59:00Z", true),
            ("08:00-18:00", "sun-thu", "Z", "2026-11-20T12:00:00Z", false),
            ("08:00-18:00", "sun-thu", "Z", "2026-11-22T12:00:00Z", true),
        ] {
            let given = within(hours, days, zone, time);
            assert_eq!(given, expected, "{hours} {days} {zone} {time}");
        }
    }

    #[test]
    fn what_is_no_time_of_day_is_turned_down() {
        for text in [
            "8-18",
            "08:00",
            "25:00-26:00",
            "08:60-09:00",
            "08:00-08:00",
            "+1:00-02:00",
        ] {
            assert!(text.parse::<Hours>().is_err(), "{text}");
        }
        for text in ["", "monday", "mon-", "mon,,tue"] {
            assert!(text.parse::<Days>().is_err(), "{text}");
        }
        for text in ["8", "+8", "+15:00", "CST", ""] {
            assert!(text.parse::<Zone>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_what_was_given() {
        let hours: Hours = "08:30-18:00".parse().expect("hours");
        let days: Days = "mon-fri".parse().expect("days");
        let zone: Zone = "-03:30".parse().expect("a zone");
        assert_eq!(
            format!("{hours} {days} {zone}"),
            "08:30-18:00 mon tue wed thu fri UTC-03:30"
        );
        assert_eq!(zone.text(at("2026-11-22T03:00:00Z")), "2026-11-21 23:30");
    }
}
