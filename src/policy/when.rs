//! Times at which an entry of `who` holds: days of the week, hours, and from when until when.
use std::time::SystemTime;

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, ToSpan};

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// From one minute of the day to another, which may be on the next day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    from: u16,
    to: u16,
}

/// All of it has to hold.
#[derive(Debug, Clone, PartialEq)]
pub struct When {
    /// Monday first.
    pub days: Option<[bool; 7]>,
    /// Any of them; empty: all day.
    pub hours: Vec<Hours>,
    pub zone: TimeZone,
    pub from: Option<Timestamp>,
    /// It holds up to this and not at it.
    pub until: Option<Timestamp>,
}

impl When {
    pub fn admits(&self, now: SystemTime) -> bool {
        // A clock that no calendar knows admits nobody.
        let Ok(now) = Timestamp::try_from(now) else {
            return false;
        };
        if self.from.is_some_and(|from| now < from) || self.until.is_some_and(|until| now >= until)
        {
            return false;
        }
        let local = now.to_zoned(self.zone.clone()).datetime();
        let minute = u16::try_from(i32::from(local.hour()) * 60 + i32::from(local.minute()));
        let minute = minute.unwrap_or(0);
        let on = |day: Weekday| {
            let index = usize::try_from(day.to_monday_zero_offset()).unwrap_or(0);
            self.days
                .is_none_or(|days| days.get(index).copied().unwrap_or(false))
        };
        let (today, yesterday) = (local.weekday(), local.weekday().previous());
        if self.hours.is_empty() {
            return on(today);
        }
        self.hours.iter().any(|hours| match hours.from < hours.to {
            true => on(today) && (hours.from..hours.to).contains(&minute),
            // Hours over midnight are those of the day on which they begin.
            false => (on(today) && minute >= hours.from) || (on(yesterday) && minute < hours.to),
        })
    }

    /// When to look again: nothing changes before.
    pub fn next_look(&self, now: SystemTime) -> Option<SystemTime> {
        let now = Timestamp::try_from(now).ok()?;
        let dates = [self.from, self.until].into_iter().flatten();
        let ahead = dates.filter(|date| *date > now);
        // Offsets of zones are whole minutes, so hours and days begin with one.
        let minute = (self.days.is_some() || !self.hours.is_empty())
            .then(|| {
                let begun = now.as_second().div_euclid(60) * 60;
                Timestamp::from_second(begun + 60).ok()
            })
            .flatten();
        ahead.chain(minute).min().map(SystemTime::from)
    }

    /// Whether it can hold at that time or later.
    pub fn may_hold_after(&self, now: SystemTime) -> bool {
        let now = Timestamp::try_from(now).ok();
        self.until
            .is_none_or(|until| now.is_none_or(|now| until > now))
    }
}

/// `08:00-18:00`; `22:00-06:00` is over midnight, `24:00` the end of the day.
pub fn hours(text: &str) -> Option<Hours> {
    let (from, to) = text.split_once('-')?;
    let minute = |text: &str| {
        let (hour, minute) = text.trim().split_once(':')?;
        let two = |text: &str| {
            (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit()))
                .then(|| text.parse::<u16>().ok())
                .flatten()
        };
        let minute = two(hour)? * 60 + two(minute).filter(|minute| *minute < 60)?;
        (minute <= DAY).then_some(minute)
    };
    let (from, to) = (minute(from)?, minute(to)?);
    (from != to && from < DAY).then_some(Hours { from, to })
}

/// `mon`, `mon-fri`, `sat-mon`; as flags, Monday first.
pub fn days(text: &str) -> Option<[bool; 7]> {
    const NAMES: [&str; 7] = [
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
    ];
    let day = |text: &str| {
        let text = text.trim().to_ascii_lowercase();
        let named = |name: &str| name == text || name.get(..3) == Some(text.as_str());
        NAMES.iter().position(|name| named(name))
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (day(first)?, day(last)?),
        None => (day(text)?, day(text)?),
    };
    let mut flags = [false; 7];
    let mut at = first;
    loop {
        if let Some(flag) = flags.get_mut(at) {
            *flag = true;
        }
        if at == last {
            return Some(flags);
        }
        at = (at + 1) % 7;
    }
}

/// A name of the IANA database, `UTC`, or an offset (`+02:00`).
pub fn zone(text: &str) -> Option<TimeZone> {
    let sign = match text.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return TimeZone::get(text).ok(),
    };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let two = |text: &str| {
        (text.len() == 2)
            .then(|| text.parse::<i32>().ok())
            .flatten()
    };
    let (hours, minutes) = (two(hours)?, two(minutes)?);
    if !(0..=18).contains(&hours) || !(0..60).contains(&minutes) {
        return None;
    }
    let offset = Offset::from_seconds(sign * (hours * 60 + minutes) * 60).ok()?;
    Some(TimeZone::fixed(offset))
}

/// Which end of a date is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    Start,
    End,
}

/// `2026-12-31`, `2026-12-31T18:00` in the zone, or with an offset of its own.
pub fn moment(text: &str, zone: &TimeZone, edge: Edge) -> Option<Timestamp> {
    if let Ok(exact) = text.parse::<Timestamp>() {
        return Some(exact);
    }
    let civil = match text.parse::<Date>() {
        Ok(date) if !text.contains([':', 'T', ' ']) => {
            let date = match edge {
                Edge::Start => date,
                Edge::End => date.checked_add(1.day()).ok()?,
            };
            date.to_datetime(Time::midnight())
        }
        _ => text.parse::<DateTime>().ok()?,
    };
    Some(civil.to_zoned(zone.clone()).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SystemTime {
        text.parse::<Timestamp>().expect("a time").into()
    }

    fn when(days_of: &str, hours_of: &str, zone_of: &str) -> When {
        When {
            days: days(days_of),
            hours: hours(hours_of).into_iter().collect(),
            zone: zone(zone_of).expect("a zone"),
            from: None,
            until: None,
        }
    }

    #[test]
    fn hours_are_those_of_the_zone_in_summer_and_winter() {
        let office = when("mon-fri", "08:00-18:00", "Europe/Berlin");
        for (time, admitted) in [
            ("2026-07-01T05:59:59Z", false),
            ("2026-07-01T06:00:00Z", true),
            ("2026-07-01T15:59:59Z", true),
            ("2026-07-01T16:00:00Z", false),
            ("2026-12-01T06:30:00Z", false),
            ("2026-12-01T07:00:00Z", true),
            // A Saturday.
            ("2026-07-04T10:00:00Z", false),
        ] {
            assert_eq!(office.admits(at(time)), admitted, "{time}");
        }
    }

    #[test]
    fn hours_over_midnight_belong_to_the_day_on_which_they_begin() {
        let night = when("fri", "22:00-06:00", "+00:00");
        for (time, admitted) in [
            ("2026-07-03T21:59:00Z", false),
            ("2026-07-03T22:00:00Z", true),
            ("2026-07-04T05:59:00Z", true),
            ("2026-07-04T06:00:00Z", false),
            ("2026-07-03T05:00:00Z", false),
            ("2026-07-04T22:30:00Z", false),
        ] {
            assert_eq!(night.admits(at(time)), admitted, "{time}");
        }
    }

    #[test]
    fn an_entry_holds_through_its_last_day_and_not_a_second_longer() {
        let berlin = zone("Europe/Berlin").expect("a zone");
        let term = When {
            from: moment("2026-03-01", &berlin, Edge::Start),
            until: moment("2026-03-31", &berlin, Edge::End),
            ..when("mon-sun", "00:00-24:00", "Europe/Berlin")
        };
        for (time, admitted) in [
            ("2026-02-28T22:59:59Z", false),
            ("2026-02-28T23:00:00Z", true),
            // Summer time has begun.
            ("2026-03-31T21:59:59Z", true),
            ("2026-03-31T22:00:00Z", false),
        ] {
            assert_eq!(term.admits(at(time)), admitted, "{time}");
        }
        assert!(!term.may_hold_after(at("2026-03-31T22:00:00Z")));
        let exact = moment("2026-03-31T12:00:01Z", &berlin, Edge::End);
        assert_eq!(exact, "2026-03-31T12:00:01Z".parse().ok());
    }

    #[test]
    fn what_is_no_time_is_nothing() {
        for text in [
            "8-18",
            "08:00",
            "08:00-08:00",
            "24:00-08:00",
            "08:60-09:00",
            "25:00-26:00",
        ] {
            assert_eq!(hours(text), None, "{text}");
        }
        for text in ["mo", "moon", "mon-", ""] {
            assert_eq!(days(text), None, "{text}");
        }
        for text in ["Mars/Olympus", "+2", "+99:00"] {
            assert!(zone(text).is_none(), "{text}");
        }
        let utc = TimeZone::UTC;
        for text in ["31.12.2026", "2026-13-01", "tomorrow"] {
            assert_eq!(moment(text, &utc, Edge::Start), None, "{text}");
        }
    }

    #[test]
    fn the_next_look_is_the_next_minute_or_date() {
        let office = when("mon", "08:00-18:00", "UTC");
        let now = at("2026-07-01T05:59:30Z");
        assert_eq!(office.next_look(now), Some(at("2026-07-01T06:00:00Z")));
        let ends = When {
            days: None,
            hours: Vec::new(),
            until: moment("2026-07-01T06:10:05Z", &TimeZone::UTC, Edge::End),
            ..office
        };
        assert_eq!(ends.next_look(now), Some(at("2026-07-01T06:10:05Z")));
        assert_eq!(ends.next_look(at("2026-07-02T00:00:00Z")), None);
    }
}
