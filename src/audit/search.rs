//! Finds records by who, what and when.
use super::classes::Classes;
use super::entry::Entry;
use super::glob::Glob;
use super::range::Span;

/// Of [`Filter::would`]: a result that would have ended at an export limit.
pub const STOP: &str = "stop";
/// How the labels of export limits begin.
const EXPORT: &str = "export_";

/// What is looked for: of each list that is not empty one must fit.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub span: Span,
    /// The person, the application's or database's user, who asked for an export or signed it.
    pub people: Vec<Glob>,
    pub roles: Vec<Glob>,
    /// Read or written: `schema.name`.
    pub relations: Vec<Glob>,
    /// Used in any way: `schema.table.column`.
    pub columns: Vec<Glob>,
    pub classes: Vec<Glob>,
    pub verdicts: Vec<String>,
    /// Verdicts that roles on trial would have given, and [`STOP`].
    pub would: Vec<String>,
    /// Labels of [`super::Event`].
    pub events: Vec<String>,
    /// `SELECT`, in any case.
    pub kinds: Vec<String>,
    /// Export requests, also those whose grant a statement ran under.
    pub requests: Vec<Glob>,
    pub databases: Vec<Glob>,
    pub applications: Vec<Glob>,
    pub sessions: Vec<u64>,
}

/// A [`Filter`] made ready.
#[derive(Debug)]
pub struct Search {
    filter: Filter,
    classes: Classes,
    /// Texts of which one stands in each line that fits, for each criterion that has such.
    needles: Vec<Vec<String>>,
}

impl Search {
    /// `classes` tells the classes of records that do not say.
    pub fn new(filter: Filter, classes: Classes) -> Self {
        let needles = filter.needles();
        Search {
            filter,
            classes,
            needles,
        }
    }

    pub fn span(&self) -> &Span {
        &self.filter.span
    }

    /// Whether a line is worth taking apart: `false` only for lines whose record does not fit.
    pub fn may_match(&self, line: &[u8]) -> bool {
        if self.needles.is_empty() {
            return true;
        }
        let Ok(line) = std::str::from_utf8(line) else {
            return true;
        };
        self.needles
            .iter()
            .all(|any| any.iter().any(|needle| line.contains(needle)))
    }

    /// Whether a record is one of those that are looked for.
    pub fn matches(&self, entry: &Entry) -> bool {
        let filter = &self.filter;
        filter.span.contains(entry)
            && any(&filter.people, people(entry))
            && any(&filter.roles, entry.role.as_deref())
            && any(&filter.databases, entry.database.as_deref())
            && any(&filter.applications, entry.application_name.as_deref())
            && any(
                &filter.relations,
                entry.reads.iter().chain(&entry.writes).map(String::as_str),
            )
            && any(&filter.columns, entry.column_names())
            && any(
                &filter.requests,
                entry.export.as_ref().map(|export| export.request.as_str()),
            )
            && one_of(&filter.verdicts, entry.verdict.as_deref())
            && (filter.would.is_empty()
                || would(entry).any(|word| one_of(&filter.would, Some(word))))
            && one_of(&filter.events, Some(&entry.event))
            && one_of(&filter.kinds, entry.kind.as_deref())
            && (filter.sessions.is_empty()
                || entry
                    .session
                    .is_some_and(|session| filter.sessions.contains(&session)))
            && (filter.classes.is_empty() || {
                let (classes, _) = self.classes.of(entry);
                any(&filter.classes, classes.iter().map(String::as_str))
            })
    }
}

fn people(entry: &Entry) -> impl Iterator<Item = &str> {
    let export = entry.export.as_ref();
    [
        entry.person.as_deref(),
        entry.app_user.as_deref(),
        entry.db_user.as_deref(),
        export.map(|export| export.person.as_str()),
        export.and_then(|export| export.by.as_deref()),
    ]
    .into_iter()
    .flatten()
}

/// What a role on trial would have decided, and whether it would have stopped the result.
fn would(entry: &Entry) -> impl Iterator<Item = &str> {
    let would = entry.would.as_ref();
    let reason = would.and_then(|would| would.reason.as_deref());
    let is_stopped = reason.is_some_and(|reason| reason.starts_with(EXPORT));
    let stopped = is_stopped.then_some(STOP);
    would
        .map(|would| would.verdict.as_str())
        .into_iter()
        .chain(stopped)
}

fn any<'n>(wanted: &[Glob], names: impl IntoIterator<Item = &'n str>) -> bool {
    wanted.is_empty()
        || names
            .into_iter()
            .any(|name| wanted.iter().any(|glob| glob.matches(name)))
}

fn one_of(wanted: &[String], value: Option<&str>) -> bool {
    let is = |value: &str| wanted.iter().any(|word| word.eq_ignore_ascii_case(value));
    wanted.is_empty() || value.is_some_and(is)
}

impl Filter {
    fn needles(&self) -> Vec<Vec<String>> {
        let globs = [
            &self.people,
            &self.roles,
            &self.relations,
            &self.columns,
            &self.requests,
            &self.databases,
            &self.applications,
        ];
        let mut needles: Vec<Vec<String>> = globs
            .into_iter()
            .map(|globs| globs.iter().map(Glob::needle).collect())
            .collect();
        let member = |name: &str, words: &[String]| {
            let one = |word: &String| format!("\"{name}\":\"{}\"", word.to_ascii_lowercase());
            words.iter().map(one).collect::<Vec<_>>()
        };
        needles.push(member("verdict", &self.verdicts));
        needles.push(member("event", &self.events));
        if !self.would.is_empty() {
            needles.push(vec!["\"would\":{".to_owned()]);
        }
        let sessions = self.sessions.iter();
        needles.push(sessions.map(|id| format!("\"session\":{id}")).collect());
        // A criterion with nothing to look for, or a needle that is everywhere, tells nothing.
        needles.retain(|any| !any.is_empty() && any.iter().all(|needle| !needle.is_empty()));
        needles
    }
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
