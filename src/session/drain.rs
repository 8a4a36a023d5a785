//! Waiting for the end: that pgveil is to end, or that a session's time is up.
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Until pgveil is to end.
pub async fn drained(drain: &mut watch::Receiver<bool>) {
    if drain.wait_for(|draining| *draining).await.is_err() {
        // Nobody is left who could ask for an end.
        std::future::pending::<()>().await;
    }
}

/// Until a moment, where there is one: a timer costs nothing before that.
pub async fn passed(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
