//! The page: everything on it is text in the reader's language by now.
use askama::Template;

use super::diagram::grouped;
use super::gather::Gathered;
use super::hours::WorkingHours;
use super::tables::{Table, Tables};
use super::words::{Language, Words};
use crate::audit::entry;
use crate::audit::range::{Bound, Span};
use crate::audit::verify;

/// What the check of the chain came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    Sound {
        report: Box<verify::Report>,
        /// The public key lay beside the record: who can change the one can change the other.
        key_beside: bool,
    },
    /// In the words of the check.
    Broken(String),
}

/// All that a report is made of.
pub struct Report<'r> {
    pub gathered: &'r Gathered,
    pub proof: Proof,
    pub span: Span,
    pub hours: WorkingHours,
    pub language: Language,
    /// Seconds since 1970.
    pub made: u64,
    /// Why reading stopped before the end.
    pub stopped: Option<String>,
    /// A policy told the classes of records that do not.
    pub has_policy: bool,
    /// Where the record is, for the commands at the end.
    pub place: String,
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'r> {
    t: &'static Words,
    css: &'static str,
    from: String,
    to: String,
    zone: String,
    made: String,
    version: &'static str,
    sound: bool,
    proof: Vec<(&'static str, String)>,
    stopped: &'r Option<String>,
    figures: Vec<(String, &'static str, bool)>,
    drawing: String,
    drawing_text: &'static str,
    has_policy: bool,
    tables: Vec<Table>,
    place: &'r str,
}

impl Report<'_> {
    pub fn tables(&self) -> Vec<Table> {
        self.maker().all()
    }

    /// One HTML file that needs no other.
    ///
    /// # Errors
    /// A template that cannot be filled in: a fault in this module.
    pub fn html(&self) -> Result<String, askama::Error> {
        let t = self.language.words();
        let (drawing, drawing_text) = self.maker().flows();
        Page {
            t,
            css: include_str!("templates/report.css"),
            from: self.bound(&self.span.from, t.from_start, self.gathered.earliest),
            to: self.bound(&self.span.to, t.to_end, Some(self.gathered.latest)),
            zone: self.hours.zone.to_string(),
            made: self.hours.zone.text(self.made),
            version: env!("CARGO_PKG_VERSION"),
            sound: matches!(self.proof, Proof::Sound { .. }),
            proof: self.proof(),
            stopped: &self.stopped,
            figures: self.figures(),
            drawing,
            drawing_text,
            has_policy: self.has_policy,
            tables: self.tables(),
            place: &self.place,
        }
        .render()
    }

    fn maker(&self) -> Tables<'_> {
        Tables {
            t: self.language.words(),
            gathered: self.gathered,
            hours: self.hours,
        }
    }

    /// Where the period begins or ends, and the record nearest to it.
    fn bound(&self, bound: &Option<Bound>, open: &str, found: Option<u64>) -> String {
        let found = found.filter(|_| self.gathered.records > 0);
        let found = found.map(|at| self.hours.zone.text(at));
        match (bound, found) {
            (Some(Bound::Time(time)), _) => match entry::seconds(time) {
                Some(at) => self.hours.zone.text(at),
                None => time.clone(),
            },
            (Some(Bound::Seq(seq)), found) => {
                let record = self.language.words().record;
                format!("{record} {} ({})", grouped(*seq), found.unwrap_or_default())
            }
            (None, Some(found)) => format!("{found} ({open})"),
            (None, None) => open.to_owned(),
        }
    }

    fn proof(&self) -> Vec<(&'static str, String)> {
        let t = self.language.words();
        let (report, beside) = match &self.proof {
            Proof::Broken(fault) => return vec![(t.proof_fault, fault.clone())],
            Proof::Sound { report, key_beside } => (report, *key_beside),
        };
        let (first, last) = (grouped(report.first), grouped(report.last));
        let mut lines = vec![(
            t.proof_records,
            format!("{} ({first} \u{2013} {last})", grouped(report.records)),
        )];
        match report.signed {
            Some(signed) => {
                lines.push((t.proof_signed, grouped(signed)));
                let mut keys = report.keys.join(", ");
                if beside {
                    keys += &format!(" ({})", t.proof_beside);
                }
                lines.push((t.proof_key, keys));
            }
            None => lines.push((t.proof_signed, t.proof_unsigned.to_owned())),
        }
        lines.push((t.proof_head, report.head.to_string()));
        lines.push((t.proof_lost, grouped(report.lost)));
        if report.removed > 0 {
            lines.push((t.proof_removed, grouped(report.removed)));
        }
        lines
    }

    /// Number, what it counts, and whether it asks for attention.
    fn figures(&self) -> Vec<(String, &'static str, bool)> {
        let (t, gathered) = (self.language.words(), self.gathered);
        let uses = gathered.uses.total();
        let count =
            |number: u64, what, alarming: bool| (grouped(number), what, alarming && number > 0);
        vec![
            count(gathered.people.keys(), t.people, false),
            count(gathered.people.total().statements, t.statements, false),
            count(gathered.rows, t.rows, false),
            count(uses.statements, t.classified, false),
            count(uses.clear, t.clear, false),
            count(
                gathered.exports.stories().len() as u64,
                t.exports_count,
                false,
            ),
            count(
                gathered.refusals.total().statements,
                t.refusals_count,
                false,
            ),
            count(gathered.lookups.total().statements, t.lookups_count, false),
            count(gathered.outside.total().sessions, t.outside_count, false),
            count(
                gathered.failed_logins.total().statements,
                t.failed_count,
                false,
            ),
            count(gathered.alarms.count, t.alarms_count, true),
            count(gathered.lost, t.lost_count, true),
        ]
    }
}
