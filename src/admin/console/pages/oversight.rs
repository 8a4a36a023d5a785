//! What overseers look at: people and their budgets, and what was refused.
use askama::Template;
use axum::response::Response;

use super::view::{Moment, grouped};
use super::{Page, Signed, render};
use crate::admin::console::words::Words;
use crate::audit::{Event, Record};

/// People on the page.
const MAX_PEOPLE: usize = 500;
/// Refusals on the page.
const MAX_REFUSALS: usize = 100;

#[derive(Template)]
#[template(path = "people.html")]
struct PeoplePage {
    t: &'static Words,
    page: Page,
    people: Vec<PersonView>,
}

struct PersonView {
    person: String,
    role: String,
    budgets: Vec<BudgetView>,
}

struct BudgetView {
    limit: &'static str,
    used: String,
    left: String,
    of: String,
    /// Width of the bar, 0 to 100.
    percent: u64,
    /// For the style sheet.
    level: &'static str,
}

pub async fn people(signed: Signed) -> Response {
    let visitor = &signed.visitor;
    if !signed.identity.oversees() {
        return visitor.missing();
    }
    let t = visitor.words();
    let mut people = Vec::new();
    let listed = visitor.app.people.people();
    for person in listed.into_iter().filter(|person| person.allowed.any()) {
        if people.len() >= MAX_PEOPLE {
            break;
        }
        let budgets = &visitor.app.desk.budgets;
        let used = match budgets.used(&person.person, person.allowed).await {
            Ok(used) => used,
            Err(error) => return visitor.unavailable(&error),
        };
        let budgets = used
            .into_iter()
            .map(|used| {
                let percent = percent(used.used, used.limit);
                BudgetView {
                    limit: t.limit(used.kind),
                    used: grouped(used.used),
                    left: grouped(used.limit.saturating_sub(used.used)),
                    of: grouped(used.limit),
                    percent,
                    level: match percent {
                        100.. => "full",
                        75.. => "high",
                        _ => "low",
                    },
                }
            })
            .collect();
        people.push(PersonView {
            person: person.person,
            role: person.role,
            budgets,
        });
    }
    render(&PeoplePage {
        t,
        page: visitor.page(t.people_title, "/people"),
        people,
    })
}

/// How much of a limit is used; anything used shows.
fn percent(used: u64, limit: u64) -> u64 {
    let (used, limit) = (u128::from(used), u128::from(limit));
    let percent = (used * 100)
        .checked_div(limit)
        .map_or(100, |percent| percent.min(100));
    let percent = u64::try_from(percent).unwrap_or(100);
    if used > 0 { percent.max(1) } else { percent }
}

#[derive(Template)]
#[template(path = "refusals.html")]
struct RefusalsPage {
    t: &'static Words,
    page: Page,
    refusals: Vec<RefusalView>,
}

#[derive(Template)]
#[template(path = "refusal_rows.html")]
struct RefusalRows {
    t: &'static Words,
    refusals: Vec<RefusalView>,
}

struct RefusalView {
    at: Moment,
    event: &'static str,
    label: &'static str,
    who: String,
    role: String,
    reason: String,
    rule: String,
    text: String,
}

pub async fn refusals(signed: Signed) -> Response {
    let visitor = &signed.visitor;
    if !signed.identity.oversees() {
        return visitor.missing();
    }
    let t = visitor.words();
    render(&RefusalsPage {
        t,
        page: visitor.page(t.refusals_title, "/refusals"),
        refusals: recent(&signed),
    })
}

/// The rows alone, for the page that keeps itself up to date.
pub async fn refusal_rows(signed: Signed) -> Response {
    if !signed.identity.oversees() {
        return signed.visitor.missing();
    }
    render(&RefusalRows {
        t: signed.visitor.words(),
        refusals: recent(&signed),
    })
}

fn recent(signed: &Signed) -> Vec<RefusalView> {
    let t = signed.visitor.words();
    let found = signed.visitor.app.recent.after(0, MAX_REFUSALS);
    found.iter().map(|(_, record)| refusal(t, record)).collect()
}

fn refusal(t: &'static Words, record: &Record) -> RefusalView {
    let since = record
        .time
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    let at = i64::try_from(since.as_secs()).unwrap_or(0);
    let text = |text: &Option<std::sync::Arc<str>>| text.as_deref().unwrap_or_default().to_owned();
    let (user, app) = (text(&record.db_user), text(&record.app_user));
    RefusalView {
        at: Moment {
            // With seconds: several happen within a minute.
            text: super::view::rfc3339(at)
                .get(..19)
                .unwrap_or_default()
                .replace('T', " "),
            ..Moment::new(at)
        },
        event: match record.event {
            Event::ExportStop => t.event_stop,
            Event::Violation => t.event_violation,
            Event::LoginFailed => t.event_login,
            _ => t.event_refusal,
        },
        label: record.event.label(),
        who: if app.is_empty() { user } else { app },
        role: text(&record.role),
        reason: match record.reason.as_deref() {
            Some(reason) => reason.to_owned(),
            None => record.message.clone().unwrap_or_default(),
        },
        rule: record.rule.clone().unwrap_or_default(),
        text: text(&record.text),
    }
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn bars_show_what_is_used_and_never_more_than_all() {
        for (used, limit, shown) in [
            (0, 100, 0),
            (1, 100_000, 1),
            (50, 100, 50),
            (101, 100, 100),
            (0, 0, 100),
            (u64::MAX, u64::MAX, 100),
        ] {
            assert_eq!(percent(used, limit), shown, "{used} of {limit}");
        }
    }
}
