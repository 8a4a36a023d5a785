//! Whether the rows of recorded statements would have gone beyond export limits: of one result, and of a person within an
//! hour and a day.
use std::collections::{HashMap, VecDeque};

use crate::audit::entry::Entry;
use crate::export::LimitKind;
use crate::policy::ExportRule;

/// People whose rows are followed at a time.
const MAX_PEOPLE: usize = 10_000;
const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// Rows are added up by the minute.
const MINUTE: u64 = 60;

/// Rows that people took out, by the minute.
#[derive(Debug, Default)]
pub struct Budgets {
    people: HashMap<String, VecDeque<(u64, u64)>>,
}

impl Budgets {
    /// The first limit that a statement's rows would have gone beyond. Rows that count for more than one, as those of
    /// packed values do, are counted as one: there may be more such statements, not fewer.
    pub fn stops(&mut self, entry: &Entry, rule: &ExportRule) -> Option<&'static str> {
        let rows = entry.rows.unwrap_or(0);
        // Rows that were written have no bytes.
        if rows == 0 || entry.bytes.unwrap_or(0) == 0 {
            return None;
        }
        let over = |limit: Option<u64>, sum: u64| limit.is_some_and(|limit| sum > limit);
        if over(rule.rows, rows) {
            return Some(LimitKind::Rows.reason());
        }
        if over(rule.bytes, entry.bytes.unwrap_or(0)) {
            return Some(LimitKind::Bytes.reason());
        }
        if rule.per_hour.is_none() && rule.per_day.is_none() {
            return None;
        }
        let (person, now) = (entry.actor()?, entry.seconds()?);
        if !self.people.contains_key(person) && self.people.len() >= MAX_PEOPLE {
            return None;
        }
        let taken = self.people.entry(person.to_owned()).or_default();
        while taken.front().is_some_and(|(at, _)| at + DAY < now) {
            taken.pop_front();
        }
        let within = |seconds: u64| -> u64 {
            let recent = taken.iter().filter(|(at, _)| at + seconds >= now);
            recent.map(|(_, rows)| rows).sum()
        };
        if over(rule.per_hour, within(HOUR) + rows) {
            return Some(LimitKind::PerHour.reason());
        }
        if over(rule.per_day, within(DAY) + rows) {
            return Some(LimitKind::PerDay.reason());
        }
        let minute = now - now % MINUTE;
        match taken.back_mut() {
            Some((at, sum)) if *at == minute => *sum += rows,
            _ => taken.push_back((minute, rows)),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(budgets: &mut Budgets, person: &str, minute: u64, rows: u64) -> Option<&'static str> {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(minute * MINUTE);
        let entry = Entry {
            time: crate::audit::record::rfc3339(time),
            db_user: Some(person.to_owned()),
            rows: Some(rows),
            bytes: Some(rows * 10),
            ..Entry::default()
        };
        let rule = ExportRule {
            rows: Some(100),
            per_hour: Some(150),
            per_day: Some(400),
            ..ExportRule::default()
        };
        budgets.stops(&entry, &rule)
    }

    #[test]
    fn windows_move_and_what_was_stopped_takes_nothing() {
        let mut budgets = Budgets::default();
        for (person, minute, rows, expected) in [
            ("ann", 0, 101, Some("export_rows")),
            ("ann", 0, 100, None),
            ("ann", 30, 51, Some("export_per_hour")),
            ("ann", 30, 50, None),
            ("bob", 30, 100, None),
            ("ann", 62, 100, None),
            ("ann", 123, 100, None),
            ("ann", 184, 51, Some("export_per_day")),
            ("ann", 184, 50, None),
            ("ann", 24 * 60 + 2, 100, None),
        ] {
            assert_eq!(
                taken(&mut budgets, person, minute, rows),
                expected,
                "{person} {minute}"
            );
        }
    }
}
