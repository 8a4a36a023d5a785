//! Plans for tests, made from a few words instead of SQL: statements are parted by `;`, the first word is the kind,
//! the second a name; `SECRET` marks a protected one, `REFUSED` a refused one.
use std::sync::Arc;

use crate::session::statements::{Epoch, Source, Statement};
use crate::sql::plan::{
    Effect, Plan, PositionMap, Reason, Refusal, SessionFacts, StatementPlan, Verdict,
};

const KINDS: &[&str] = &[
    "SELECT",
    "INSERT",
    "SET",
    "BEGIN",
    "COMMIT",
    "ROLLBACK",
    "SAVEPOINT",
    "RELEASE",
    "COPY",
    "PREPARE",
    "EXECUTE",
    "DEALLOCATE",
    "DECLARE",
    "FETCH",
    "CLOSE",
    "CREATE",
    "REFUSED",
];

pub fn refusal(message: &str) -> Refusal {
    Refusal {
        reason: Reason::Construct,
        sqlstate: "42501",
        message: message.to_owned(),
        detail: "rule".to_owned(),
        hint: "way out".to_owned(),
        position: None,
    }
}

pub fn statement(text: &str) -> StatementPlan {
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default();
    let name = words.next().unwrap_or_default().to_owned();
    let kind = KINDS
        .iter()
        .find(|kind| **kind == first)
        .copied()
        .unwrap_or("OTHER");
    let effects = match kind {
        "ROLLBACK" if name == "TO" => vec![
            Effect::SettingsChanged,
            Effect::RollbackTo(words.next().unwrap_or_default().to_owned()),
        ],
        "SET" | "ROLLBACK" => vec![Effect::SettingsChanged],
        "SAVEPOINT" => vec![Effect::Savepoint(name)],
        "RELEASE" => vec![Effect::Release(name)],
        "COPY" if text.contains("(header)") => vec![Effect::CopiesHeader],
        "PREPARE" => vec![Effect::Prepare(name)],
        "EXECUTE" => vec![Effect::Execute(name)],
        "DEALLOCATE" => vec![Effect::Deallocate((name != "ALL").then_some(name))],
        "DECLARE" => vec![Effect::DeclareCursor {
            held: text.contains("WITH HOLD"),
            name,
        }],
        "FETCH" => vec![Effect::Fetch(name)],
        "CLOSE" => vec![Effect::CloseCursor((name != "ALL").then_some(name))],
        "CREATE" => vec![Effect::SchemaChanged],
        _ => Vec::new(),
    };
    StatementPlan {
        kind,
        verdict: match kind {
            "REFUSED" => Verdict::Refuse(refusal("not this")),
            _ => Verdict::Pass,
        },
        normalised: text.trim().to_owned(),
        fingerprint: String::new(),
        reads: Vec::new(),
        writes: Vec::new(),
        masked: Vec::new(),
        lookups: Vec::new(),
        columns: Default::default(),
        would: None,
        hidden_rows: false,
        tied: Vec::new(),
        protected: text.contains("SECRET"),
        over_rows: text.contains("SECRET"),
        open_targets: Vec::new(),
        pathless: false,
        packed: Default::default(),
        origins: Vec::new(),
        effects,
        span: (0, 0),
        companion: Default::default(),
    }
}

/// The only statement of a text, with its text.
pub fn statement_of(text: &str) -> Statement {
    let source = Source {
        text: Some(text.into()),
        plan: Some(Arc::new(plan(text))),
        ..Arc::into_inner(Source::unplanned()).expect("of its own")
    };
    Statement::new(Arc::new(source), 0)
}

/// A refused statement is poisoned in place, like the planner does it.
pub fn plan(text: &str) -> Plan {
    let parts: Vec<&str> = text
        .split(';')
        .filter(|part| !part.trim().is_empty())
        .collect();
    let poisoned: Vec<String> = parts
        .iter()
        .map(|part| part.replace("REFUSED", "SELECT pgveil_refused"))
        .collect();
    Plan::new(
        parts.iter().map(|part| statement(part)).collect(),
        text.contains("REFUSED")
            .then(|| Arc::from(poisoned.join(";"))),
        PositionMap::default(),
    )
}

pub fn source(text: &str) -> Arc<Source> {
    planned_under(text, "public")
}

pub fn planned_under(text: &str, search_path: &str) -> Arc<Source> {
    Arc::new(Source {
        text: Some(Arc::from(text)),
        trace: None,
        plan: Some(Arc::new(plan(text))),
        facts: Arc::new(SessionFacts {
            values: Default::default(),
            search_path: search_path.to_owned(),
            user: "tester".to_owned(),
            ..SessionFacts::default()
        }),
        epoch: Epoch::default(),
        role: None,
        asker: None,
        spoken: Default::default(),
        claim: Default::default(),
        described: Default::default(),
        subjects: Default::default(),
        clear: None,
        grant: None,
    })
}
