//! A policy for what a scan found: the `data:` section, and a role that shows masks for it.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::class::Class;
use super::preset::{Preset, Treatment, combined};
use super::report::{Found, Report};
use crate::policy::mask::{ColumnType, Mask};

/// A policy has a role at least; and what becomes of sessions that none matches.
const OFFICER: &str = "  # Sees everything; every statement is on record all the same.\n  \
    officer:\n    who: [{ db_user: CHANGE_ME_TOO }]\n    unmasked: true\n\n\
    # A session that no role matches does not get in.\nunmatched: deny\n";

/// Longest list of evidence behind a column.
const MAX_REMARK: usize = 160;

/// A class of the policy to be.
struct Proposal<'a> {
    name: String,
    treatment: Treatment,
    columns: Vec<&'a Found>,
    mask: String,
}

/// YAML that `pgveil check` takes. Columns whose class no preset is about are left out.
pub fn policy(report: &Report, presets: &[&'static Preset]) -> String {
    let proposals = proposals(report, presets);
    let names: Vec<&str> = presets.iter().map(|preset| preset.name).collect();
    let mut out = String::new();
    let _ = writeln!(
        out,
        "# Proposed by pgveil scan for the database {}, by the preset {}. Read it through before it protects anything:\n\
         # the number behind a column is how sure the scan is of its class, and what it did not find is not in here.\n\
         # Views, partitions and children need no mention: what they take from these columns is masked with it.\n\
         version: 1\n",
        plain(&report.database),
        names.join(" and ")
    );
    if proposals.is_empty() {
        out.push_str("# Nothing was found.\ndata: {}\n\nroles:\n");
        out.push_str(OFFICER);
        return out;
    }
    out.push_str("data:\n");
    for proposal in &proposals {
        let _ = writeln!(
            out,
            "  # {}. {}\n  {}:\n    level: {}\n    columns:",
            capital(proposal.treatment.class.title),
            proposal.treatment.source,
            key(&proposal.name),
            proposal.treatment.level
        );
        for found in &proposal.columns {
            let column = column_name(found);
            let _ = writeln!(
                out,
                "      - {column}  # {:.2} {}",
                found.finding.confidence,
                remark(found)
            );
        }
    }
    out.push_str(
        "\n# The first role from the top that matches a session is its role. Put your own database users here: nobody is called CHANGE_ME.\n\
         roles:\n  reader:\n    who: [{ db_user: CHANGE_ME }]\n    mask:\n",
    );
    for proposal in &proposals {
        match proposal.mask.contains('\n') {
            true => {
                let _ = writeln!(out, "      {}:{}", key(&proposal.name), proposal.mask);
            }
            false => {
                let _ = writeln!(out, "      {}: {}", key(&proposal.name), proposal.mask);
            }
        }
    }
    out.push_str(OFFICER);
    out
}

/// Whether the presets are about what was found.
pub fn in_scope(found: &Found, presets: &[&'static Preset]) -> bool {
    let about = |class: &Class| combined(presets, class).is_some();
    match found.within.is_empty() {
        true => about(found.finding.class),
        false => found
            .within
            .iter()
            .any(|within| about(within.finding.class)),
    }
}

fn proposals<'a>(report: &'a Report, presets: &[&'static Preset]) -> Vec<Proposal<'a>> {
    let mut by_class: BTreeMap<&'static str, Vec<&Found>> = BTreeMap::new();
    let mut documents: Vec<&Found> = Vec::new();
    for found in &report.found {
        match found.within.is_empty() {
            true => by_class
                .entry(found.finding.class.name)
                .or_default()
                .push(found),
            false => documents.push(found),
        }
    }
    let mut proposals: Vec<Proposal> = Vec::new();
    for class in Class::all() {
        let (Some(columns), Some(treatment)) =
            (by_class.remove(class.name), combined(presets, class))
        else {
            continue;
        };
        let types = columns.iter().map(|found| &found.data_type);
        proposals.push(Proposal {
            name: class.name.to_owned(),
            mask: fitting(&treatment, types).to_owned(),
            treatment,
            columns,
        });
    }
    // Each has paths of its own, and a mask takes only one class.
    let mut taken: BTreeSet<String> = proposals
        .iter()
        .map(|proposal| proposal.name.clone())
        .collect();
    for found in documents {
        let Some(treatment) = document(found, presets) else {
            continue;
        };
        let base = format!("{}_{}", word(&found.table), word(&found.column));
        let mut name = base.clone();
        for number in 2.. {
            if taken.insert(name.clone()) {
                break;
            }
            name = format!("{base}_{number}");
        }
        proposals.push(Proposal {
            name,
            mask: paths(found, presets),
            treatment,
            columns: vec![found],
        });
    }
    proposals
}

/// The first mask that takes all the types.
fn fitting<'a>(
    treatment: &Treatment,
    types: impl Iterator<Item = &'a ColumnType> + Clone,
) -> &'static str {
    let fits = |mask: &&&str| {
        types
            .clone()
            .all(|data_type| Mask::fitting(data_type).any(|name| name == kind(mask)))
    };
    treatment
        .masks
        .iter()
        .find(fits)
        .copied()
        .unwrap_or("redact")
}

/// The mask's name in the language: `{ show: ... }` is show, a word alone that is no mask a preset.
fn kind(mask: &str) -> &str {
    let inner = mask.trim_start_matches(['{', ' ', '"']);
    let end = inner.find([':', ' ', '"']).unwrap_or(inner.len());
    let word = inner.get(..end).unwrap_or(inner);
    match Mask::NAMES.contains(&word) {
        true => word,
        false => "preset",
    }
}

fn document(found: &Found, presets: &[&'static Preset]) -> Option<Treatment> {
    let within = || {
        found
            .within
            .iter()
            .filter_map(|within| combined(presets, within.finding.class))
    };
    let level = within().map(|treatment| treatment.level).max()?;
    let mut treatment = combined(presets, found.finding.class).or_else(|| within().next())?;
    treatment.level = level;
    treatment.class = found.finding.class;
    Some(treatment)
}

/// `json:` with a mask for each path, or `redact` where a path cannot be named. The shorter of two paths that lead the same way
/// stands for both.
fn paths(found: &Found, presets: &[&'static Preset]) -> String {
    let mut masks: BTreeMap<&str, &'static str> = BTreeMap::new();
    for within in &found.within {
        let Some(treatment) = combined(presets, within.finding.class) else {
            continue;
        };
        let Some(path) = within.maskable.as_deref() else {
            return "redact".to_owned();
        };
        // Within a document `network` and `truncate` have no place (policy/mask/json.rs), and an object is redacted whole.
        let usable = |mask: &&&str| !matches!(kind(mask), "network" | "truncate");
        let mask = match path.len() == within.path.len() {
            true => treatment
                .masks
                .iter()
                .find(usable)
                .copied()
                .unwrap_or("redact"),
            false => "redact",
        };
        masks.insert(path, mask);
    }
    let all: Vec<&str> = masks.keys().copied().collect();
    let below = |path: &str| {
        all.iter().any(|other| {
            path.strip_prefix(*other)
                .is_some_and(|rest| rest.starts_with(['.', '[']))
        })
    };
    let mut out = String::from("\n        json:");
    for (path, mask) in &masks {
        if !below(path) {
            // What stands at a path that others lead through is redacted with all that is below it.
            let through = all.iter().any(|other| {
                other
                    .strip_prefix(path)
                    .is_some_and(|rest| rest.starts_with(['.', '[']))
            });
            let mask = if through { "redact" } else { mask };
            let _ = write!(out, "\n          {}: {mask}", quoted(path));
        }
    }
    out
}

fn remark(found: &Found) -> String {
    let mut text = match found.within.is_empty() {
        true => found.finding.evidence.join("; "),
        false => {
            let parts = found.within.iter();
            let parts: Vec<String> = parts
                .map(|within| format!("{} {}", plain(&within.path), within.finding.class.name))
                .collect();
            parts.join(", ")
        }
    };
    if text.chars().count() > MAX_REMARK {
        text = text.chars().take(MAX_REMARK).collect::<String>() + " ...";
    }
    text
}

/// As `policy::pattern` reads it, and YAML around that.
fn column_name(found: &Found) -> String {
    let part = |name: &str| match name.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !name.is_empty()
    {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    };
    let text = [&found.schema, &found.table, &found.column]
        .map(|name| part(name))
        .join(".");
    quoted(&text)
}

/// A YAML scalar: plain where that is surely the text itself, else in double quotes (JSON's escapes are YAML's).
fn quoted(text: &str) -> String {
    let safe = text
        .chars()
        .all(|c| c.is_alphanumeric() || matches!(c, '_' | '.'));
    let letter = text
        .chars()
        .next()
        .is_some_and(|c| c.is_alphabetic() || c == '_');
    let word = matches!(
        text.to_lowercase().as_str(),
        "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    match safe && letter && !word {
        true => text.to_owned(),
        false => serde_json::Value::from(text).to_string(),
    }
}

fn key(name: &str) -> String {
    quoted(name)
}

/// A name as a class can be called.
fn word(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_alphanumeric() { c } else { '_' })
        .collect()
}

/// One line, without what ends a comment.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_mask_is_found_in_how_it_is_written() {
        for (written, name) in [
            ("redact", "redact"),
            ("\"null\"", "null"),
            ("{ show: { last: 4 } }", "show"),
            ("{ network: { ipv4: 24, ipv6: 48 } }", "network"),
            ("cn_phone", "preset"),
            ("{ email: { first: 1 } }", "email"),
            ("iban", "preset"),
        ] {
            assert_eq!(kind(written), name, "{written}");
        }
    }

    #[test]
    fn names_are_quoted_where_yaml_would_read_them_otherwise() {
        for (text, written) in [
            ("crm.contacts.phone", "crm.contacts.phone"),
            ("phones[*].number", "\"phones[*].number\""),
            ("no", "\"no\""),
            ("\"my table\".a", "\"\\\"my table\\\".a\""),
            ("客户.电话", "客户.电话"),
        ] {
            assert_eq!(quoted(text), written);
        }
    }
}
