//! What tests of this folder stand on: a folder, a request, a clock that is set by hand.
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::clock::Clock;
use super::request::{Approver, Asked, LimitKind};
use super::store::{Seconds, Sqlite};

/// A minute that has just begun.
pub const NOON: Seconds = 1_795_348_800;

/// A folder of its own that goes with the value.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).expect("random bytes");
        let path =
            std::env::temp_dir().join(format!("pgveil-state-{:016x}", u64::from_ne_bytes(nonce)));
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    pub fn file(&self) -> PathBuf {
        self.0.join("state.db")
    }

    pub fn store(&self) -> Arc<Sqlite> {
        Arc::new(Sqlite::open(&self.file()).expect("a store"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A clock that stands still until it is moved.
#[derive(Clone)]
pub struct Hands(Arc<AtomicI64>);

impl Hands {
    pub fn at(now: Seconds) -> Self {
        Hands(Arc::new(AtomicI64::new(now)))
    }

    pub fn advance(&self, seconds: Seconds) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub fn now(&self) -> Seconds {
        self.0.load(Ordering::SeqCst)
    }

    pub fn clock(&self) -> Clock {
        let hands = self.clone();
        Clock::of(move || hands.now())
    }
}

/// What `ann`, logged in as `ann_db`, asks for; legal and dpo have to sign.
pub fn asked() -> Asked {
    Asked {
        person: "ann".to_owned(),
        db_user: "ann_db".to_owned(),
        role: "agent".to_owned(),
        database: "crm".to_owned(),
        kind: "SELECT".to_owned(),
        fingerprint: "f00d".to_owned(),
        digest: "d1".to_owned(),
        text: "SELECT * FROM crm.customers WHERE city = $1".to_owned(),
        reads: vec!["crm.customers".to_owned()],
        columns: Vec::new(),
        limit: LimitKind::Rows,
        allowed: 100,
        policy_version: "v1".to_owned(),
        purpose: None,
        masked_outside: 0,
        groups: vec!["legal".to_owned(), "dpo".to_owned()],
        may_unmask: vec!["phone".to_owned(), "mail".to_owned()],
        max_rows: 5000,
        uses: 2,
        holds: 3600,
    }
}

pub fn approver(person: &str, groups: &[&str]) -> Approver {
    Approver {
        person: person.to_owned(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        ..Approver::default()
    }
}
