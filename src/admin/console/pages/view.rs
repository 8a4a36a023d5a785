//! Requests as pages show them: everything as text, in the visitor's language.
use std::time::{Duration, UNIX_EPOCH};

use crate::admin::accounts::Identity;
use crate::admin::console::words::Words;
use crate::export::request::{Action, Request, same_person};
use crate::export::store::Seconds;

/// A moment, for people and for machines.
pub struct Moment {
    /// `2026-11-22 14:05`
    pub text: String,
    /// RFC 3339.
    pub machine: String,
}

impl Moment {
    pub fn new(at: Seconds) -> Self {
        let machine = rfc3339(at);
        let text = machine.get(..16).unwrap_or_default().replace('T', " ");
        Moment { text, machine }
    }
}

/// Seconds since 1970 as RFC 3339, UTC.
pub fn rfc3339(at: Seconds) -> String {
    // Beyond the year 9999 there is no such text.
    let at = u64::try_from(at).unwrap_or(0).min(253_402_300_799);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(at)).to_string()
}

/// `1,234,567`
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub struct ColumnView {
    pub name: String,
    pub class: String,
    pub level: String,
    pub masked: bool,
}

/// A line for a group's signature, signed or not.
pub struct Line {
    pub group: String,
    pub person: Option<String>,
    pub at: Option<Moment>,
    pub comment: Option<String>,
}

pub struct StepView {
    pub at: Moment,
    pub action: &'static str,
    pub by: String,
    pub group: Option<String>,
    pub comment: Option<String>,
    /// What a signature grants.
    pub rows: Option<String>,
    pub clear: String,
}

/// How the protected columns leave.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Leaves {
    Nothing,
    Masked,
    Clear,
    Mixed,
}

pub struct RequestView {
    pub id: String,
    pub state: &'static str,
    /// For the style sheet.
    pub state_label: &'static str,
    pub person: String,
    pub db_user: String,
    pub role: String,
    pub database: String,
    pub purpose: Option<String>,
    pub text: String,
    pub fingerprint: String,
    pub policy: String,
    pub reads: String,
    pub reason: Option<String>,
    pub limit: &'static str,
    pub allowed: String,
    pub max_rows: String,
    pub opened: Moment,
    pub expires: Option<Moment>,
    pub columns: Vec<ColumnView>,
    pub classes: String,
    pub leaves: &'static str,
    pub leaves_label: &'static str,
    pub lines: Vec<Line>,
    pub steps: Vec<StepView>,
    /// Of a grant.
    pub granted: Option<String>,
    pub clear: String,
    pub uses_left: u32,
    pub may_unmask: Vec<String>,
}

impl RequestView {
    pub fn new(request: &Request, t: &'static Words) -> Self {
        let asked = &request.asked;
        let leaves = leaves(request);
        let granted = request.uses_left > 0 || has(request, Action::Use);
        let terms = request.granted();
        let mut classes: Vec<&str> = Vec::new();
        for column in &asked.columns {
            if !classes.contains(&column.class.as_str()) {
                classes.push(&column.class);
            }
        }
        RequestView {
            id: request.id.clone(),
            state: t.state(request.state),
            state_label: request.state.label(),
            person: asked.person.clone(),
            db_user: asked.db_user.clone(),
            role: asked.role.clone(),
            database: asked.database.clone(),
            purpose: asked.purpose.clone(),
            text: asked.text.clone(),
            fingerprint: asked.fingerprint.clone(),
            policy: asked.policy_version.clone(),
            reads: asked.reads.join(", "),
            reason: request.reason.clone(),
            limit: t.limit(asked.limit),
            allowed: grouped(asked.allowed),
            max_rows: grouped(asked.max_rows),
            opened: Moment::new(request.opened),
            expires: (!request.state.has_ended()).then(|| Moment::new(request.expires)),
            columns: asked
                .columns
                .iter()
                .map(|column| ColumnView {
                    name: column.name.clone(),
                    class: column.class.clone(),
                    level: column
                        .level
                        .map_or("–".to_owned(), |level| level.to_string()),
                    masked: column.masked && !(granted && terms.clear.contains(&column.class)),
                })
                .collect(),
            classes: classes.join(", "),
            leaves: match leaves {
                Leaves::Nothing => t.no_protected,
                Leaves::Masked => t.masked,
                Leaves::Clear => t.in_clear,
                Leaves::Mixed => t.some_clear,
            },
            leaves_label: match leaves {
                Leaves::Nothing | Leaves::Masked => "masked",
                Leaves::Clear | Leaves::Mixed => "clear",
            },
            lines: lines(request),
            steps: steps(request, t),
            granted: granted.then(|| grouped(terms.rows.unwrap_or(asked.max_rows))),
            clear: terms.clear.into_iter().collect::<Vec<_>>().join(", "),
            uses_left: request.uses_left,
            may_unmask: asked.may_unmask.clone(),
        }
    }
}

fn has(request: &Request, action: Action) -> bool {
    request.history.iter().any(|step| step.action == action)
}

/// As the statement stands, and of a grant as it was granted.
fn leaves(request: &Request) -> Leaves {
    let clear = request.granted().clear;
    let columns = &request.asked.columns;
    let masked = columns
        .iter()
        .filter(|column| column.masked && !clear.contains(&column.class))
        .count();
    match (columns.len(), masked) {
        (0, _) => Leaves::Nothing,
        (all, masked) if masked == all => Leaves::Masked,
        (_, 0) => Leaves::Clear,
        _ => Leaves::Mixed,
    }
}

fn lines(request: &Request) -> Vec<Line> {
    request
        .asked
        .groups
        .iter()
        .map(|group| {
            let step = request
                .history
                .iter()
                .find(|step| step.action == Action::Approve && step.group.as_ref() == Some(group));
            Line {
                group: group.clone(),
                person: step.map(|step| step.by.clone()),
                at: step.map(|step| Moment::new(step.at)),
                comment: step.and_then(|step| step.comment.clone()),
            }
        })
        .collect()
}

fn steps(request: &Request, t: &'static Words) -> Vec<StepView> {
    request
        .history
        .iter()
        .map(|step| {
            let terms = step.terms.as_ref();
            StepView {
                at: Moment::new(step.at),
                action: t.action(step.action),
                by: step.by.clone(),
                group: step.group.clone(),
                comment: step.comment.clone(),
                rows: terms.and_then(|terms| terms.rows).map(grouped),
                clear: terms.map_or(String::new(), |terms| {
                    let clear: Vec<&str> = terms.clear.iter().map(String::as_str).collect();
                    clear.join(", ")
                }),
            }
        })
        .collect()
}

/// Whether somebody may look at a request: administrators, who asked, and who could sign.
pub fn may_see(identity: &Identity, request: &Request) -> bool {
    let own = |name: &str| same_person(name, &identity.person);
    identity.is_admin()
        || own(&request.asked.person)
        || own(&request.asked.db_user)
        || request
            .asked
            .groups
            .iter()
            .any(|group| identity.groups.contains(group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn moments_out_of_range_are_shown_all_the_same() {
        assert_eq!(Moment::new(1_795_356_300).text, "2026-11-22 14:05");
        assert_eq!(rfc3339(-1), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(i64::MAX), "9999-12-31T23:59:59Z");
    }
}
