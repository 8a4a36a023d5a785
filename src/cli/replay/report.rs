//! What a replay found, as text and as JSON.
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Counts;
use super::groups::Group;
use super::meets::{Change, Fate};
use crate::cli::bench::Bench;
use crate::policy::Regime;

/// What was looked at.
#[derive(Debug, Default)]
pub struct Replayed {
    pub statements: u64,
    /// Statements in other databases.
    pub elsewhere: u64,
    /// Statements beyond the number of different ones that are kept.
    pub beyond: u64,
    pub first: Option<String>,
    pub last: Option<String>,
    /// Roles on trial are taken as if they were in force.
    pub enforced: bool,
}

const fn heading(change: Change) -> &'static str {
    match change {
        Change::TurnedAway => "newly turned away: no role of the policy is theirs",
        Change::Refused => "newly refused",
        Change::Masked => "newly masked",
        Change::Clear => "newly clear",
        Change::Stopped => "newly stopped by an export limit",
        Change::Allowed => "no longer refused",
        Change::Untold => "cannot be told",
        Change::None => "unchanged",
    }
}

pub fn text(bench: &Bench, seen: &Replayed, groups: &[Group], limit: usize) -> String {
    let mut out = format!(
        "policy {} on {}: {} recorded statements, {} different ones{}\n",
        bench.policy.version(),
        bench.catalog.database,
        seen.statements,
        groups.len(),
        match (&seen.first, &seen.last) {
            (Some(first), Some(last)) => format!(", {first} to {last}"),
            _ => String::new(),
        }
    );
    let on_trial = on_trial(bench);
    if !on_trial.is_empty() && !seen.enforced {
        let _ = writeln!(
            out,
            "on trial, so that nothing of their rules is done: {}; --enforced shows what they would do",
            on_trial.join(", ")
        );
    }
    for change in Change::ALL {
        let own: Vec<&Group> = groups
            .iter()
            .filter(|group| group.change() == change)
            .collect();
        if own.is_empty() {
            continue;
        }
        let count: u64 = own.iter().map(|group| times(group, change)).sum();
        let _ = writeln!(out, "\n{}: {count}", heading(change));
        if change == Change::Untold {
            for (why, count) in reasons(&own) {
                let _ = writeln!(out, "  {count:>7} ×  {why}");
            }
        }
        for group in own.iter().take(limit) {
            one(&mut out, group, change);
        }
        if own.len() > limit {
            let _ = writeln!(out, "  and {} more; --limit shows them", own.len() - limit);
        }
    }
    let unchanged = groups.iter().filter(|group| group.change() == Change::None);
    let unchanged: u64 = unchanged.map(|group| group.count).sum();
    let _ = writeln!(out, "\nunchanged: {unchanged}");
    if seen.elsewhere > 0 {
        let _ = writeln!(out, "in other databases, not looked at: {}", seen.elsewhere);
    }
    if seen.beyond > 0 {
        let _ = writeln!(
            out,
            "beyond the number of different statements that are kept, not looked at: {}",
            seen.beyond
        );
    }
    out
}

fn on_trial(bench: &Bench) -> Vec<&str> {
    let roles = bench.policy.roles.iter();
    let on_trial = roles.filter(|role| role.regime() == Regime::Trial);
    on_trial.map(|role| &*role.name).collect()
}

/// How many of a group's records are changed.
fn times(group: &Group, change: Change) -> u64 {
    match change {
        Change::Stopped => group.stopped.values().sum(),
        _ => group.count,
    }
}

fn one(out: &mut String, group: &Group, change: Change) {
    let role = match &group.meets.role {
        Some(role) if **role != *group.role => format!("{} (now {role})", group.role),
        _ => group.role.clone(),
    };
    let _ = writeln!(
        out,
        "  {:>7} ×  {role}: {}",
        times(group, change),
        shown(&group.text)
    );
    match &group.meets.fate {
        Fate::Refused {
            reason,
            message,
            hint,
            ..
        } => {
            let _ = writeln!(out, "             {reason}: {message}");
            if !hint.is_empty() {
                let _ = writeln!(out, "             {hint}");
            }
        }
        Fate::Untold(why) => {
            let _ = writeln!(out, "             {why}");
        }
        Fate::Runs { ruled, .. } => {
            for (what, columns) in [
                ("masked", group.newly_masked()),
                ("clear", group.newly_clear()),
            ] {
                if !columns.is_empty() {
                    let _ = writeln!(out, "             {what}: {}", columns.join(", "));
                }
            }
            for (limit, count) in &group.stopped {
                let _ = writeln!(out, "             {limit}: {count} of {}", group.count);
            }
            if !ruled.is_empty() {
                let _ = writeln!(out, "             under a row rule: {}", ruled.join(", "));
            }
        }
        Fate::TurnedAway => {
            let _ = writeln!(out, "             database user {}", group.db_user);
        }
    }
}

/// On one line, and not for ever.
fn shown(text: &str) -> String {
    const LONGEST: usize = 160;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

fn reasons(groups: &[&Group]) -> Counts {
    let mut counts = Counts::new();
    for group in groups {
        if let Fate::Untold(why) = &group.meets.fate {
            *counts.entry((*why).to_owned()).or_default() += group.count;
        }
    }
    counts
}

pub fn json(bench: &Bench, seen: &Replayed, groups: &[Group]) -> String {
    let mut counts = serde_json::Map::new();
    for change in Change::ALL.into_iter().chain([Change::None]) {
        let own = groups.iter().filter(|group| group.change() == change);
        let count: u64 = own.map(|group| times(group, change)).sum();
        counts.insert(change.label().to_owned(), count.into());
    }
    let changed = groups.iter().filter(|group| group.change() != Change::None);
    let changes: Vec<Value> = changed.map(group).collect();
    let whole = json!({
        "policy": bench.policy.version(),
        "database": bench.catalog.database,
        "statements": seen.statements,
        "different": groups.len(),
        "first": seen.first,
        "last": seen.last,
        "elsewhere": seen.elsewhere,
        "beyond": seen.beyond,
        "on_trial": on_trial(bench),
        "enforced": seen.enforced,
        "counts": counts,
        "changes": changes,
    });
    format!("{whole}\n")
}

fn group(group: &Group) -> Value {
    let change = group.change();
    let (reason, message, hint, ruled) = match &group.meets.fate {
        Fate::Refused {
            reason,
            message,
            hint,
        } => (
            Some(*reason),
            Some(message.as_str()),
            Some(hint.as_str()),
            &[][..],
        ),
        Fate::Untold(why) => (None, Some(*why), None, &[][..]),
        Fate::Runs { ruled, .. } => (None, None, None, ruled.as_slice()),
        Fate::TurnedAway => (None, None, None, &[][..]),
    };
    json!({
        "change": change.label(),
        "role": group.role,
        "role_now": group.meets.role.as_deref(),
        "db_user": group.db_user,
        "kind": group.kind,
        "text": group.text,
        "fingerprint": group.fingerprint,
        "count": times(group, change),
        "of": group.count,
        "reason": reason,
        "message": message,
        "hint": hint,
        "newly_masked": group.newly_masked(),
        "newly_clear": group.newly_clear(),
        "stopped": group.stopped,
        "under_row_rules": ruled,
        "first": group.first,
        "last": group.last,
    })
}
