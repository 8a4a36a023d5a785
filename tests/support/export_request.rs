//! A request for an export, for tests that stand on a desk and on nothing before it.
use std::collections::BTreeSet;

use pgveil::export::request::{Approver, Asked, LimitKind};

/// What a person, logged in as `ann_db`, asks for; legal and dpo have to sign.
pub fn asked(person: &str, digest: &str) -> Asked {
    Asked {
        person: person.to_owned(),
        db_user: "ann_db".to_owned(),
        role: "agent".to_owned(),
        database: "crm".to_owned(),
        kind: "SELECT".to_owned(),
        fingerprint: "f00d".to_owned(),
        digest: digest.to_owned(),
        text: "SELECT * FROM crm.customers WHERE city = $1".to_owned(),
        reads: vec!["crm.customers".to_owned()],
        columns: Vec::new(),
        limit: LimitKind::Rows,
        allowed: 100,
        policy_version: "v1".to_owned(),
        purpose: None,
        masked_outside: 0,
        groups: vec!["legal".to_owned(), "dpo".to_owned()],
        may_unmask: Vec::new(),
        max_rows: 5000,
        uses: 1,
        holds: 24 * 3600,
    }
}

pub fn approver(person: &str, group: &str) -> Approver {
    Approver {
        person: person.to_owned(),
        groups: BTreeSet::from([group.to_owned()]),
        ..Approver::default()
    }
}
