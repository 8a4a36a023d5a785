//! The audit spool of a running proxy: opened before anything else, brought to the disk, signed, compressed, retired.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval};

use super::super::CliError;
use super::journal::Journal;
use crate::audit::retention::{self, Retention};
use crate::audit::sealed::Recipient;
use crate::audit::sink::Sinks;
use crate::audit::{Ack, Spool, SpoolSettings, disk};
use crate::config::{self, Settings};
use crate::policy::PolicySet;
use crate::session::proxy::Proxy;

/// How often records are brought to the disk that nobody waits for: what a loss of power can take.
const TEND: Duration = Duration::from_secs(1);
/// How often closed segments are looked at.
const KEEP: Duration = Duration::from_secs(30);

/// # Errors
/// The folder, the key, or the chain that stands there.
pub fn open_spool(settings: &Settings) -> Result<Spool, CliError> {
    let audit = &settings.audit;
    let spool = SpoolSettings {
        ack: match audit.ack {
            config::Ack::Written => Ack::Written,
            config::Ack::Synced => Ack::Synced,
        },
        segment_bytes: audit.segment_bytes,
        segment_age: audit.segment_age,
        checkpoint_records: audit.checkpoint_records,
        checkpoint_interval: audit.checkpoint_interval,
        key: audit.signing_key.clone(),
    };
    Spool::open(&audit.dir, spool).map_err(CliError::environment)
}

/// Who may read full texts.
///
/// # Errors
/// A role's texts are to be on record in full, and nobody is named who may read them.
pub fn recipient(settings: &Settings, policy: &PolicySet) -> Result<Option<Recipient>, CliError> {
    let wanted = policy.roles.iter().find(|role| role.full_text);
    match (&settings.audit.recipient, wanted) {
        (Some(path), _) => Recipient::read(path)
            .map(Some)
            .map_err(|error| CliError::Configuration(format!("audit.recipient: {error}"))),
        (None, Some(role)) => Err(CliError::Configuration(format!(
            "the role `{}` asks for `audit: {{ text: full }}`: name the public key of who may read the texts as `audit.recipient` in {} (openssl genpkey -algorithm x25519)",
            role.name,
            settings.path.display()
        ))),
        (None, None) => Ok(None),
    }
}

fn retention(settings: &Settings) -> Retention {
    Retention {
        age: settings.audit.retain_age,
        bytes: settings.audit.retain_bytes,
    }
}

/// Brings records to the disk, signs them, and tries again after a failure.
pub async fn tend(journal: Journal) {
    let mut ticks = interval(TEND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        ticks.tick().await;
        let spool = Arc::clone(&journal.spool);
        let tended = tokio::task::spawn_blocking(move || {
            spool.tend()?;
            spool.sync()
        });
        match tended.await {
            Ok(Ok(())) if failing => {
                tracing::info!(
                    lost = journal.spool.lost(),
                    "audit records can be written again"
                );
                failing = false;
            }
            Ok(Err(error)) => {
                // Once, and not every second while a disk is full.
                if !failing {
                    tracing::error!(%error, "audit records cannot be brought to the disk");
                }
                failing = true;
            }
            Ok(Ok(())) | Err(_) => {}
        }
    }
}

/// Compresses closed segments, and removes those that are too old or too many, that every sink has and no open incident
/// needs.
pub async fn keep(journal: Journal, proxy: Arc<Proxy>, sinks: Arc<Sinks>) {
    let mut ticks = interval(KEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if journal.spool.is_handed_over() {
            continue;
        }
        let (spool, retention) = (
            Arc::clone(&journal.spool),
            retention(&proxy.settings.load()),
        );
        let needed = sinks.oldest_needed();
        let kept = tokio::task::spawn_blocking(move || {
            let kept = retention::keep(&spool, &retention, needed, SystemTime::now());
            (kept, disk::free(spool.dir()))
        });
        let Ok((kept, free)) = kept.await else {
            continue;
        };
        match kept {
            Ok(kept) => journal.metrics.audit_kept(&kept),
            Err(error) => {
                tracing::error!(%error, "old audit segments cannot be put in order");
            }
        }
        if let Ok(free) = free {
            journal.metrics.audit_disk_free(free);
        }
    }
}
