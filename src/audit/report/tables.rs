//! What was gathered, as tables: all of their lines go into CSV, the first into the page.
use std::io::{self, Write};

use super::diagram::{self, Legend, Way, grouped};
use super::exports::{Signed, Story};
use super::gather::{Gathered, Occurrences};
use super::hours::WorkingHours;
use super::reasons;
use super::tally::{Measure, Ranked, Tally};
use super::words::{Language, Words};
use crate::audit::csv;

/// Lines of a table on the page.
pub const SHOWN: usize = 40;

pub struct Head {
    pub title: &'static str,
    pub number: bool,
}

pub struct Table {
    /// Name of its file.
    pub name: &'static str,
    pub title: &'static str,
    pub text: String,
    pub heads: Vec<Head>,
    pub rows: Vec<Vec<String>>,
    /// What the lines do not tell.
    pub notes: Vec<String>,
    /// The sum of what is in no line, cell by cell; nothing where all are there.
    pub rest: Option<Vec<String>>,
    shown: usize,
}

impl Table {
    /// The lines on the page.
    pub fn page(&self) -> &[Vec<String>] {
        self.rows.get(..self.shown).unwrap_or(&self.rows)
    }

    /// # Errors
    /// Those of `out`.
    pub fn write_csv(&self, out: &mut impl Write) -> io::Result<()> {
        csv::line(out, self.heads.iter().map(|head| head.title))?;
        for row in &self.rows {
            let cells = row
                .iter()
                .zip(&self.heads)
                .map(|(cell, head)| match head.number {
                    true => cell.replace(',', ""),
                    false => cell.clone(),
                });
            let cells: Vec<String> = cells.collect();
            csv::line(out, cells.iter().map(String::as_str))?;
        }
        Ok(())
    }
}

/// Makes the tables of a report.
pub struct Tables<'r> {
    pub t: &'static Words,
    pub gathered: &'r Gathered,
    pub hours: WorkingHours,
}

/// A column of numbers: its title, and the number of a key.
type Number = (&'static str, fn(&Measure) -> u64);

impl Tables<'_> {
    pub fn all(&self) -> Vec<Table> {
        vec![
            self.uses(),
            self.exports(),
            self.refusals(),
            self.lookups(),
            self.outside(),
            self.failed(),
            self.occurrences(
                "alarms",
                self.t.alarms,
                self.t.alarms_text,
                &self.gathered.alarms,
            ),
            self.occurrences(
                "policies",
                self.t.policies,
                self.t.policies_text,
                &self.gathered.policies,
            ),
        ]
    }

    /// The drawing of flows, and what its bands are wide by.
    pub fn flows(&self) -> (String, &'static str) {
        let flows = &self.gathered.flows;
        let by_rows = flows.total().rows > 0;
        let ways: Vec<Way> = flows
            .iter()
            .map(|(flow, measure)| Way {
                names: [
                    flow.application.clone(),
                    flow.role.clone(),
                    flow.class.clone(),
                    flow.relation.clone(),
                ],
                amount: if by_rows {
                    measure.rows
                } else {
                    measure.statements
                },
                statements: measure.statements,
            })
            .collect();
        let t = self.t;
        let legend = Legend {
            layers: [t.application, t.role, t.class, t.relation],
            others: t.others,
            statements: t.statements,
            amount: if by_rows { t.cap_rows } else { t.statements },
            title: t.flows,
        };
        let text = if by_rows {
            t.flows_text
        } else {
            t.flows_by_statements
        };
        (diagram::draw(&ways, &legend), text)
    }

    fn uses(&self) -> Table {
        let t = self.t;
        let mut table = self.ranked(
            ("uses", t.uses, t.uses_text.to_owned()),
            &[t.person, t.role, t.class],
            &self.gathered.uses,
            |key| vec![key.person.clone(), key.role.clone(), key.class.clone()],
            &[
                (t.cap_statements, |measure| measure.statements),
                (t.cap_unmasked, |measure| measure.clear),
                (t.cap_rows, |measure| measure.rows),
            ],
            |measure| measure.rows,
        );
        if self.gathered.by_relation > 0 {
            let count = grouped(self.gathered.by_relation);
            table.notes.push(format!("{count} {}", t.by_relation));
        }
        table
    }

    fn refusals(&self) -> Table {
        let t = self.t;
        self.ranked(
            ("refusals", t.refusals, t.refusals_text.to_owned()),
            &[t.person, t.role, t.reason],
            &self.gathered.refusals,
            |(person, role, reason)| {
                let reason = reasons::told(reason, t.language);
                vec![person.clone(), role.clone(), reason]
            },
            &[(t.cap_statements, |measure| measure.statements)],
            |measure| measure.statements,
        )
    }

    fn lookups(&self) -> Table {
        let t = self.t;
        self.ranked(
            ("lookups", t.lookups, t.lookups_text.to_owned()),
            &[t.person, t.column],
            &self.gathered.lookups,
            |(person, column)| vec![person.clone(), column.clone()],
            &[
                (t.cap_statements, |measure| measure.statements),
                (t.no_hit, |measure| measure.empty),
                (t.cap_rows, |measure| measure.rows),
            ],
            |measure| measure.statements,
        )
    }

    fn outside(&self) -> Table {
        let t = self.t;
        let WorkingHours { hours, days, zone } = self.hours;
        let text = format!("{} {hours} {days} ({zone}).", t.outside_text);
        self.ranked(
            ("outside", t.outside, text),
            &[t.person, t.role],
            &self.gathered.outside,
            |(person, role)| vec![person.clone(), role.clone()],
            &[
                (t.cap_sessions, |measure| measure.sessions),
                (t.cap_statements, |measure| measure.statements),
                (t.cap_rows, |measure| measure.rows),
            ],
            |measure| measure.rows,
        )
    }

    fn failed(&self) -> Table {
        let t = self.t;
        self.ranked(
            ("failed_logins", t.failed, t.failed_text.to_owned()),
            &[t.user, t.address, t.reason],
            &self.gathered.failed_logins,
            |(user, address, reason)| {
                let reason = reasons::told(reason, t.language);
                vec![user.clone(), address.clone(), reason]
            },
            &[(t.attempts, |measure| measure.statements)],
            |measure| measure.statements,
        )
    }

    fn exports(&self) -> Table {
        let t = self.t;
        let stories = self.gathered.exports.stories();
        let rows: Vec<Vec<String>> = stories
            .iter()
            .map(|(id, story)| self.story(id, story))
            .collect();
        let mut notes = Vec::new();
        if self.gathered.exports.beyond > 0 {
            notes.push(self.and_others(self.gathered.exports.beyond));
        }
        let names = [
            t.request,
            t.when,
            t.asked_by,
            t.reason,
            t.signatures,
            t.outcome,
        ];
        let heads = heads(&names, &[t.granted, t.used]);
        // Every export is told of: they are what people signed for.
        let shown = rows.len();
        Table {
            name: "exports",
            title: t.exports,
            text: t.exports_text.to_owned(),
            heads,
            rows,
            notes,
            rest: None,
            shown,
        }
    }

    fn story(&self, id: &str, story: &Story) -> Vec<String> {
        let t = self.t;
        let signatures: Vec<String> = story
            .signed
            .iter()
            .map(|signed| self.signed(signed))
            .collect();
        let mut outcome = self.state(story.state.as_deref().unwrap_or_default());
        if !story.clear.is_empty() {
            outcome += &format!("\n{} {}", t.unmasked_classes, story.clear.join(", "));
        }
        vec![
            id.to_owned(),
            self.hours.zone.text(story.since),
            story.person.clone(),
            story
                .reason
                .clone()
                .unwrap_or_else(|| t.no_reason.to_owned()),
            signatures.join("\n"),
            outcome,
            story.granted.map(grouped).unwrap_or_default(),
            grouped(story.rows),
        ]
    }

    fn signed(&self, signed: &Signed) -> String {
        let t = self.t;
        let did = match signed.action.as_str() {
            "approve" => t.approved,
            _ => t.rejected,
        };
        let mut text = format!("{}: {} {did}", signed.group, signed.person);
        if let Some(at) = signed.at {
            text += &format!(", {}", self.hours.zone.text(at));
        }
        if let Some(comment) = &signed.comment {
            text += &format!(" \u{2014} {comment}");
        }
        text
    }

    /// The state of a request, in words.
    fn state(&self, state: &str) -> String {
        let chinese = match state {
            "requested" => "待审批",
            "approved" => "部分批准",
            "granted" => "已授权",
            "used" => "已使用",
            "expired" => "已过期",
            "rejected" => "已拒绝",
            "withdrawn" => "已撤回",
            "void" => "已作废",
            other => other,
        };
        match self.t.language {
            Language::English => state.to_owned(),
            Language::Chinese => chinese.to_owned(),
        }
    }

    fn occurrences(
        &self,
        name: &'static str,
        title: &'static str,
        text: &str,
        occurrences: &Occurrences,
    ) -> Table {
        let t = self.t;
        let rows: Vec<Vec<String>> = occurrences
            .last
            .iter()
            .rev()
            .map(|one| {
                let at = self.hours.zone.text(one.at);
                vec![
                    at,
                    one.seq.to_string(),
                    one.event.clone(),
                    one.who.clone(),
                    one.what.clone(),
                ]
            })
            .collect();
        let earlier = occurrences
            .count
            .saturating_sub(rows.len().min(SHOWN) as u64);
        let notes = match earlier {
            0 => Vec::new(),
            count => vec![format!("{} {}", grouped(count), t.earlier)],
        };
        Table {
            name,
            title,
            text: text.to_owned(),
            heads: heads(&[t.when, t.record, t.event, t.person, t.what], &[]),
            rows,
            notes,
            rest: None,
            shown: SHOWN,
        }
    }

    /// A table of what was counted by key.
    fn ranked<K: std::hash::Hash + Eq + Ord>(
        &self,
        (name, title, text): (&'static str, &'static str, String),
        keys: &[&'static str],
        tally: &Tally<K>,
        cells: impl Fn(&K) -> Vec<String>,
        numbers: &[Number],
        by: impl Fn(&Measure) -> u64,
    ) -> Table {
        let line = |cells: Vec<String>, measure: &Measure, last: String| {
            let numbers = numbers.iter().map(|(_, number)| grouped(number(measure)));
            cells.into_iter().chain(numbers).chain([last]).collect()
        };
        let all = tally.ranked(usize::MAX, &by);
        let rows = all
            .first
            .iter()
            .map(|(key, measure)| line(cells(key), measure, self.hours.zone.text(measure.last)))
            .collect();
        let Ranked {
            others,
            rest,
            inexact,
            ..
        } = tally.ranked(SHOWN, &by);
        let rest = (others > 0).then(|| {
            let mut cells = vec![String::new(); keys.len()];
            if let Some(first) = cells.first_mut() {
                *first = self.and_others(others);
            }
            line(cells, &rest, String::new())
        });
        let titles: Vec<&'static str> = numbers.iter().map(|(title, _)| *title).collect();
        let mut heads = heads(keys, &titles);
        heads.push(Head {
            title: self.t.last,
            number: false,
        });
        let notes = match inexact {
            true => vec![self.t.inexact.to_owned()],
            false => Vec::new(),
        };
        Table {
            name,
            title,
            text,
            heads,
            rows,
            notes,
            rest,
            shown: SHOWN,
        }
    }

    fn and_others(&self, count: u64) -> String {
        format!("{} {} {}", self.t.and_others, grouped(count), self.t.others)
    }
}

fn heads(names: &[&'static str], numbers: &[&'static str]) -> Vec<Head> {
    let head = |number| move |title: &&'static str| Head { title, number };
    let names = names.iter().map(head(false));
    names.chain(numbers.iter().map(head(true))).collect()
}
