//! Recorded statements that are alike: of the same role, text and outcome. Each is decided on once.
use std::collections::HashMap;

use super::meets::{Change, Fate, Meets, Standing};
use crate::audit::entry::Entry;

/// Different statements at most; of those beyond only the number is kept.
const MAX_GROUPS: usize = 100_000;
/// Bytes of their texts at most.
const MAX_TEXTS: usize = 128 * 1024 * 1024;

/// What makes two records alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    role: String,
    db_user: String,
    purpose: Option<String>,
    /// What the other policy takes them for.
    standing: Standing,
    fingerprint: String,
    refused: bool,
    stopped: bool,
    masked: Vec<String>,
}

impl Key {
    fn of(entry: &Entry, standing: &Standing) -> Self {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        Key {
            role: text(&entry.role),
            db_user: text(&entry.db_user),
            purpose: entry.purpose.clone(),
            standing: standing.clone(),
            fingerprint: text(&entry.fingerprint),
            refused: entry.verdict.as_deref() == Some("refuse"),
            stopped: entry.event == "export_stop",
            masked: entry.masked.clone(),
        }
    }
}

/// Statements that are alike, and what they meet.
#[derive(Debug)]
pub struct Group {
    /// The role they had.
    pub role: String,
    pub db_user: String,
    pub kind: String,
    pub text: String,
    pub fingerprint: String,
    was_refused: bool,
    was_stopped: bool,
    was_masked: Vec<String>,
    pub meets: Meets,
    pub count: u64,
    /// Of these, those whose rows would have gone beyond a limit, by its label.
    pub stopped: super::Counts,
    pub first: String,
    pub last: String,
}

impl Group {
    pub fn change(&self) -> Change {
        match &self.meets.fate {
            Fate::TurnedAway if self.was_refused => Change::None,
            Fate::TurnedAway => Change::TurnedAway,
            Fate::Untold(_) => Change::Untold,
            Fate::Refused { .. } if self.was_refused => Change::None,
            Fate::Refused { .. } => Change::Refused,
            Fate::Runs { .. } if self.was_refused => Change::Allowed,
            Fate::Runs { .. } if !self.newly_masked().is_empty() => Change::Masked,
            Fate::Runs { .. } if !self.newly_clear().is_empty() => Change::Clear,
            Fate::Runs { .. } if !self.stopped.is_empty() && !self.was_stopped => Change::Stopped,
            Fate::Runs { .. } => Change::None,
        }
    }

    /// Columns that were seen as they are.
    pub fn newly_masked(&self) -> Vec<&str> {
        self.beyond(self.masked(), &self.was_masked)
    }

    /// Columns that were masked.
    pub fn newly_clear(&self) -> Vec<&str> {
        self.beyond(&self.was_masked, self.masked())
    }

    fn masked(&self) -> &[String] {
        match &self.meets.fate {
            Fate::Runs { masked, .. } => masked,
            _ => &[],
        }
    }

    fn beyond<'a>(&self, one: &'a [String], other: &[String]) -> Vec<&'a str> {
        if self.was_refused || !matches!(self.meets.fate, Fate::Runs { .. }) {
            return Vec::new();
        }
        let only = one.iter().filter(|name| !other.contains(name));
        only.map(String::as_str).collect()
    }
}

/// Whether a record's like is known.
pub enum Taken {
    Known(Meets),
    New,
    TooMany,
}

#[derive(Debug, Default)]
pub struct Groups {
    groups: HashMap<Key, Group>,
    /// Bytes of their texts.
    texts: usize,
}

impl Groups {
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    pub fn find(&self, entry: &Entry, standing: &Standing) -> Taken {
        match self.groups.get(&Key::of(entry, standing)) {
            Some(group) => Taken::Known(group.meets.clone()),
            None if self.groups.len() >= MAX_GROUPS || self.texts >= MAX_TEXTS => Taken::TooMany,
            None => Taken::New,
        }
    }

    pub fn know(&mut self, entry: &Entry, standing: &Standing, meets: Meets) -> Meets {
        let key = Key::of(entry, standing);
        let group = Group {
            role: key.role.clone(),
            db_user: key.db_user.clone(),
            kind: entry.kind.clone().unwrap_or_default(),
            text: entry.text.clone().unwrap_or_default(),
            fingerprint: key.fingerprint.clone(),
            was_refused: key.refused,
            was_stopped: key.stopped,
            was_masked: key.masked.clone(),
            meets: meets.clone(),
            count: 0,
            stopped: super::Counts::new(),
            first: entry.time.clone(),
            last: entry.time.clone(),
        };
        self.texts += group.text.len();
        self.groups.insert(key, group);
        meets
    }

    /// Counts a record whose like is known; `stopped`: the limit that its rows would have gone beyond.
    pub fn count(&mut self, entry: &Entry, standing: &Standing, stopped: Option<&'static str>) {
        if let Some(group) = self.groups.get_mut(&Key::of(entry, standing)) {
            group.count += 1;
            group.last.clone_from(&entry.time);
            if let Some(limit) = stopped {
                *group.stopped.entry(limit.to_owned()).or_default() += 1;
            }
        }
    }

    pub fn changed(&self) -> impl Iterator<Item = &Group> {
        let groups = self.groups.values();
        groups.filter(|group| {
            !matches!(
                group.change(),
                Change::None | Change::Untold | Change::Allowed
            )
        })
    }

    /// The most frequent first.
    pub fn into_sorted(self) -> Vec<Group> {
        let mut groups: Vec<Group> = self.groups.into_values().collect();
        groups.sort_by(|a, b| {
            let (ours, theirs) = (
                (&a.role, &a.text, &a.db_user),
                (&b.role, &b.text, &b.db_user),
            );
            b.count.cmp(&a.count).then(ours.cmp(&theirs))
        });
        groups
    }
}
