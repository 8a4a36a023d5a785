//! Group commit: who waits until records are on the disk waits together with the others, for one fsync, and keeps no thread
//! meanwhile. One thread at a time syncs, as long as anybody asks.
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::{Spool, SpoolError};

#[derive(Debug)]
pub(super) struct Group {
    asked: Mutex<Asked>,
    /// Stirs after each fsync, whether it succeeded or not.
    stirred: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Asked {
    /// Sequence number up to which somebody waits.
    upto: u64,
    /// Somebody syncs, and looks here again when that is done.
    is_syncing: bool,
}

impl Default for Group {
    fn default() -> Self {
        Group {
            asked: Mutex::default(),
            stirred: watch::Sender::new(()),
        }
    }
}

impl Group {
    fn asked(&self) -> MutexGuard<'_, Asked> {
        // Nothing between lock and unlock panics.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spool {
    /// Waits until all records up to that number are on the disk. Cancel safe.
    ///
    /// # Errors
    /// An fsync failed: nobody knows what the disk holds.
    pub async fn settled(self: Arc<Self>, seq: u64) -> Result<(), SpoolError> {
        let mut stirred = self.group.stirred.subscribe();
        loop {
            if self.durable.load(Ordering::Acquire) >= seq {
                return Ok(());
            }
            if self.stopped.load(Ordering::Acquire) {
                return Err(SpoolError::Stopped);
            }
            self.ask(seq);
            // The sender is the spool's own.
            let _ = stirred.changed().await;
        }
    }

    /// Has everything up to that number synced, unless somebody is at it.
    fn ask(self: &Arc<Self>, seq: u64) {
        let mut asked = self.group.asked();
        asked.upto = asked.upto.max(seq);
        if asked.is_syncing {
            return;
        }
        asked.is_syncing = true;
        drop(asked);
        let spool = Arc::clone(self);
        tokio::task::spawn_blocking(move || spool.sync_while_asked());
    }

    fn sync_while_asked(&self) {
        loop {
            let upto = self.group.asked().upto;
            let synced = self.sync_to(upto);
            if let Err(error) = &synced {
                tracing::error!(%error, "audit records are not known to be on the disk");
            }
            let goes_on = {
                let mut asked = self.group.asked();
                asked.is_syncing = synced.is_ok() && asked.upto > upto;
                asked.is_syncing
            };
            self.group.stirred.send_replace(());
            if !goes_on {
                return;
            }
        }
    }
}
