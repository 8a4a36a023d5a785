//! An incident in words: for those who decide whom to tell, and for those who check the evidence.
use std::fmt::Write as _;

use askama::Template;

use super::Incident;
use super::bundle::Run;
use crate::audit::segment;

#[derive(Template)]
#[template(path = "incident.html")]
struct Page<'i> {
    incident: &'i Incident,
    runs: &'i [Run],
    css: &'static str,
    what: &'static str,
    facts: Vec<(&'static str, String)>,
    search: String,
    covered: bool,
}

/// A page that needs no other file.
///
/// # Errors
/// A template that cannot be filled in: a fault in this module.
pub fn html(incident: &Incident, runs: &[Run]) -> Result<String, askama::Error> {
    Page {
        incident,
        runs,
        css: include_str!("../report/templates/report.css"),
        what: what(incident),
        facts: facts(incident),
        search: search(incident),
        covered: is_covered(runs),
    }
    .render()
}

/// Every run ends with a good signature.
pub fn is_covered(runs: &[Run]) -> bool {
    let signed = |run: &Run| {
        run.checkpoint
            .as_ref()
            .is_some_and(|checkpoint| checkpoint.signed)
    };
    !runs.is_empty() && runs.iter().all(signed)
}

/// What happened, in a sentence.
pub fn what(incident: &Incident) -> &'static str {
    match incident.kind.as_str() {
        "honeytoken" => {
            "Somebody used a column that is there as a trap: no application and no person has a reason to touch it."
        }
        "violation" => {
            "The server sent a value that the policy masks. pgveil stopped the result before it reached the client."
        }
        _ => "What happened may be a breach of personal data.",
    }
}

/// What is known, name by name.
pub fn facts(incident: &Incident) -> Vec<(&'static str, String)> {
    let list = |names: &std::collections::BTreeSet<String>| match names.is_empty() {
        true => "-".to_owned(),
        false => names.iter().cloned().collect::<Vec<_>>().join(", "),
    };
    vec![
        ("Person", incident.person.clone()),
        ("Database users", list(&incident.db_users)),
        ("Roles", list(&incident.roles)),
        ("Applications", list(&incident.applications)),
        ("Client addresses", list(&incident.client_addresses)),
        ("Databases", list(&incident.databases)),
        ("Classes of data", list(&incident.classes)),
        ("Tables", list(&incident.relations)),
        ("Columns", list(&incident.columns)),
        (
            "Rows given out by these statements",
            incident.rows.to_string(),
        ),
        (
            "First and last record",
            format!("{} to {}", incident.first, incident.last),
        ),
        ("Alarms", incident.alarms.to_string()),
        (
            "Records that are evidence",
            match incident.evidence_beyond {
                0 => incident.evidence.len().to_string(),
                beyond => format!(
                    "{} here, {beyond} more in the record",
                    incident.evidence.len()
                ),
            },
        ),
    ]
}

/// The command that finds what else the person did.
fn search(incident: &Incident) -> String {
    let day = incident.first.get(..10).unwrap_or_default();
    let person = incident.person.replace('\'', "'\\''");
    format!("pgveil audit search --config pgveil.yaml --person '{person}' --from {day}")
}

/// How somebody who does not trust the sender checks a bundle, with pgveil and without.
pub fn how_to_verify(runs: &[Run]) -> String {
    let mut text = String::from(
        "How to check this evidence\n\
         ==========================\n\n\
         evidence.jsonl holds the records. Each also stands in a run of the audit chain under proof/: from the record to the\n\
         next checkpoint, which is signed. Compare signing.pub with the copy of the public key that was handed out before\n\
         (`pgveil audit key`): the signature proves no more than that key does.\n\n\
         1. With pgveil:\n\n",
    );
    for run in runs {
        let _ = writeln!(
            text,
            "   pgveil audit verify --dir {} --partial --public-key signing.pub",
            run.name
        );
    }
    text.push_str("\n2. Every line of the evidence stands in a run:\n\n");
    text.push_str("   sort evidence.jsonl > a; cat proof/*/*.jsonl | sort > b; comm -23 a b     # prints nothing\n");
    if let Some(run) = runs.first() {
        let file = format!("{}/{}", run.name, segment::file_name(1));
        let _ = write!(
            text,
            "\n3. Without pgveil. The hash that a line begins with is that of its bytes from the 76th on, and `prev` is the hash of\n\
             the line before:\n\n   \
             sed -n 1p {file} | tr -d '\\n' | tail -c +76 | sha256sum\n\n   \
             The last line is a checkpoint. Its signature (Ed25519) is over five lines made of its own fields:\n\n   \
             tail -n 1 {file} | jq -j '\"pgveil audit checkpoint 1\\nchain \" + .checkpoint.chain + \"\\ncount \"\n     \
             + (.checkpoint.count|tostring) + \"\\nhead \" + .checkpoint.head + \"\\ntime \" + .time + \"\\n\"' > text\n   \
             tail -n 1 {file} | jq -r .checkpoint.signature | base64 -d > signature\n   \
             openssl pkeyutl -verify -pubin -inkey signing.pub -rawin -in text -sigfile signature\n"
        );
    }
    text
}
