//! What became of each export request.
use std::collections::BTreeMap;

use crate::audit::entry::{Entry, ExportEntry, SignatureEntry};

/// Requests that are told of at most; there is one for each export that somebody wants signed.
pub const MAX_REQUESTS: usize = 5_000;
/// Words of a person are cut after so many characters.
const MAX_WORDS: usize = 500;

/// One request, from the records of its steps and of the statements under its grant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Story {
    pub person: String,
    /// Of the first record about it: seconds since 1970.
    pub since: u64,
    pub reason: Option<String>,
    /// As the last step left it.
    pub state: Option<String>,
    pub signed: Vec<Signed>,
    /// Rows granted.
    pub granted: Option<u64>,
    /// Classes granted unmasked.
    pub clear: Vec<String>,
    pub statements: u64,
    pub rows: u64,
}

/// Somebody approved or rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    pub action: String,
    pub person: String,
    pub group: String,
    pub comment: Option<String>,
    /// Seconds since 1970; none where only the grant tells of the signature.
    pub at: Option<u64>,
}

#[derive(Debug, Default)]
pub struct Exports {
    stories: BTreeMap<String, Story>,
    /// Records about requests beyond [`MAX_REQUESTS`].
    pub beyond: u64,
}

impl Exports {
    /// Takes a record that is about an export request.
    pub fn take(&mut self, export: &ExportEntry, entry: &Entry, at: u64) {
        let known = self.stories.contains_key(&export.request);
        if !known && self.stories.len() >= MAX_REQUESTS {
            self.beyond += 1;
            return;
        }
        let story = self.stories.entry(export.request.clone()).or_default();
        if !known {
            story.person.clone_from(&export.person);
            story.since = at;
        }
        if entry.event == "statement" {
            story.statements += 1;
            story.rows += entry.rows.unwrap_or(0);
        }
        if let Some(reason) = &export.reason {
            story.reason = Some(short(reason));
        }
        if export.state.is_some() {
            story.state.clone_from(&export.state);
        }
        if export.rows.is_some() {
            story.granted = export.rows;
        }
        if !export.clear.is_empty() {
            story.clear.clone_from(&export.clear);
        }
        story.sign(export, at);
    }

    /// In the order of their beginnings.
    pub fn stories(&self) -> Vec<(&str, &Story)> {
        let mut stories: Vec<_> = self
            .stories
            .iter()
            .map(|(id, story)| (id.as_str(), story))
            .collect();
        stories.sort_by_key(|(_, story)| story.since);
        stories
    }
}

impl Story {
    fn sign(&mut self, export: &ExportEntry, at: u64) {
        if let Some(action @ ("approve" | "reject")) = export.action.as_deref() {
            let signed = Signed {
                action: action.to_owned(),
                person: export.by.clone().unwrap_or_default(),
                group: export.group.clone().unwrap_or_default(),
                comment: export.comment.as_deref().map(short),
                at: Some(at),
            };
            self.signed
                .retain(|known| known.person != signed.person || known.group != signed.group);
            self.signed.push(signed);
        }
        // The steps themselves may have come before the time that is reported on.
        for SignatureEntry { group, person } in &export.approvals {
            let known = |signed: &Signed| signed.group == *group && signed.person == *person;
            if !self.signed.iter().any(known) {
                self.signed.push(Signed {
                    action: "approve".to_owned(),
                    person: person.clone(),
                    group: group.clone(),
                    comment: None,
                    at: None,
                });
            }
        }
    }
}

fn short(words: &str) -> String {
    words.chars().take(MAX_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(action: &str, by: &str, group: Option<&str>) -> ExportEntry {
        ExportEntry {
            request: "7f3a0001".to_owned(),
            action: Some(action.to_owned()),
            state: Some(
                if action == "open" {
                    "requested"
                } else {
                    "granted"
                }
                .to_owned(),
            ),
            person: "ann".to_owned(),
            by: Some(by.to_owned()),
            group: group.map(str::to_owned),
            reason: (action == "open").then(|| "tax audit".to_owned()),
            ..ExportEntry::default()
        }
    }

    #[test]
    fn a_request_is_told_from_its_reason_over_both_signatures_to_its_use() {
        let mut exports = Exports::default();
        let event = |name: &str, rows| Entry {
            event: name.to_owned(),
            rows,
            ..Entry::default()
        };
        exports.take(&step("open", "ann", None), &event("export", None), 10);
        exports.take(
            &step("approve", "leo", Some("legal")),
            &event("export", None),
            20,
        );
        // The same step again, as after a crash.
        exports.take(
            &step("approve", "leo", Some("legal")),
            &event("export", None),
            20,
        );
        exports.take(
            &step("approve", "dora", Some("dpo")),
            &event("export", None),
            30,
        );
        let grant = ExportEntry {
            request: "7f3a0001".to_owned(),
            person: "ann".to_owned(),
            rows: Some(500),
            approvals: vec![SignatureEntry {
                group: "dpo".to_owned(),
                person: "dora".to_owned(),
            }],
            ..ExportEntry::default()
        };
        exports.take(&grant, &event("statement", Some(480)), 40);
        let stories = exports.stories();
        let [(id, story)] = stories.as_slice() else {
            panic!("one request: {stories:?}");
        };
        assert_eq!(
            (*id, story.person.as_str(), story.since),
            ("7f3a0001", "ann", 10)
        );
        assert_eq!(story.reason.as_deref(), Some("tax audit"));
        let signed: Vec<_> = story
            .signed
            .iter()
            .map(|signed| (signed.person.as_str(), signed.group.as_str(), signed.at))
            .collect();
        assert_eq!(
            signed,
            [("leo", "legal", Some(20)), ("dora", "dpo", Some(30))]
        );
        assert_eq!(
            (story.granted, story.statements, story.rows),
            (Some(500), 1, 480)
        );
        assert_eq!(story.state.as_deref(), Some("granted"));
    }

    #[test]
    fn memory_is_bounded() {
        let mut exports = Exports::default();
        for number in 0..MAX_REQUESTS + 10 {
            let export = ExportEntry {
                request: format!("{number:08x}"),
                ..ExportEntry::default()
            };
            exports.take(&export, &Entry::default(), 0);
        }
        assert_eq!(exports.stories().len(), MAX_REQUESTS);
        assert_eq!(exports.beyond, 10);
    }
}
