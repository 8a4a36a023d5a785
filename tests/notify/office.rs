//! A desk over the embedded store, and how the tests wait for its worker.
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pgveil::config::{Language, NotifySettings, SmtpSettings, WebhookSettings};
use pgveil::export::notify::{Notifier, Pace, start_at};
use pgveil::export::request::{Request, Terms};
use pgveil::export::store::Sqlite;
use pgveil::export::{Desk, Met};

use crate::support::export_request::{approver, asked};
use crate::support::{Folder, PATIENCE};

pub struct Office {
    pub desk: Arc<Desk>,
    _folder: Folder,
}

impl Office {
    pub async fn open() -> Office {
        let folder = Folder::new("notify");
        let store = Sqlite::open(&folder.path().join("state.db")).unwrap();
        let desk = Desk::new(Arc::new(store), Arc::new(|_| Ok(())), "v1").await;
        Office {
            desk: Arc::new(desk.unwrap()),
            _folder: folder,
        }
    }

    pub async fn ask(&self, digest: &str) -> Request {
        match self
            .desk
            .exceeded(&asked("ann", digest), Some("审计 2026"))
            .await
        {
            Ok(Met::Waiting(request, _)) => *request,
            other => panic!("{other:?}"),
        }
    }

    pub async fn sign(&self, id: &str, person: &str, group: &str) -> Request {
        let seen = self.desk.get(id).await.unwrap().history.len();
        let (approver, terms) = (approver(person, group), Terms::default());
        let signed = self
            .desk
            .approve(id, &approver, None, &terms, None, seen)
            .await;
        signed.unwrap()
    }

    pub fn notify(&self, settings: &NotifySettings) -> Notifier {
        start_at(Arc::clone(&self.desk), settings, pace()).unwrap()
    }

    /// Waits until approvers were told of everything.
    pub async fn all_told(&self) {
        until("everybody is told", || async {
            self.desk.untold(10).await.unwrap().is_empty()
        })
        .await;
    }
}

pub fn pace() -> Pace {
    Pace {
        first: Duration::from_millis(10),
        last: Duration::from_millis(100),
        look: Duration::from_millis(200),
        timeout: Duration::from_millis(700),
    }
}

pub fn settings(
    webhook: Option<WebhookSettings>,
    smtp: Option<SmtpSettings>,
    language: Language,
) -> NotifySettings {
    NotifySettings {
        webhook,
        smtp,
        console_url: Some("https://pgveil.example.com".to_owned()),
        language,
    }
}

pub fn addresses(of: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    of.iter()
        .map(|(group, addresses)| {
            let addresses = addresses.iter().map(|address| (*address).to_owned());
            ((*group).to_owned(), addresses.collect())
        })
        .collect()
}

/// Looks until something is so; a hang where it does not come to be.
pub async fn until<F: Future<Output = bool>>(what: &str, so: impl Fn() -> F) {
    let waited = tokio::time::timeout(PATIENCE, async {
        let mut look = tokio::time::interval(Duration::from_millis(10));
        while !so().await {
            look.tick().await;
        }
    });
    assert!(waited.await.is_ok(), "it never came to be that {what}");
}

pub fn read(counter: &std::sync::atomic::AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
