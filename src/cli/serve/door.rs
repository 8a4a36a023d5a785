//! What happens at the door: a connection becomes a session, is turned away, or brings a cancel request.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::journal::{Journal, login_failed};
use crate::admin::metrics::LoginResult;
use crate::audit::{Event, Record};
use crate::auth::Blame;
use crate::session::drain::Leaving;
use crate::session::listener::{Phase, Service};
use crate::session::login::{LoginGate, Outcome, login};
use crate::session::proxy::{Proxy, run};
use crate::session::record;
use crate::wire::error::{ERROR_RESPONSE, ErrorFields, sqlstate};
use crate::wire::negotiate::{First, negotiate};

#[derive(Clone)]
pub struct Door {
    /// As the settings in force have it.
    pub gate: Arc<ArcSwap<LoginGate>>,
    pub proxy: Arc<Proxy>,
    pub journal: Journal,
    /// Says when sessions are to end.
    pub draining: watch::Receiver<Leaving>,
}

impl Service for Door {
    async fn serve(&self, tcp: TcpStream, peer: SocketAddr, mut phase: watch::Receiver<Phase>) {
        let session = self.session(tcp, peer);
        tokio::select! {
            () = session => {}
            _ = phase.wait_for(|phase| *phase == Phase::Ending) => {}
        }
    }

    async fn turn_away(&self, tcp: TcpStream, peer: SocketAddr) {
        let gate = self.gate.load_full();
        let negotiation = negotiate(tcp, gate.tls.as_deref(), gate.max_startup_bytes);
        match timeout(gate.login_timeout, negotiation).await {
            // The more sessions there are, the more it matters that one can be cancelled.
            Ok(Ok(First::Cancel { stream, request })) => {
                self.journal.metrics.login(LoginResult::Cancel);
                if let Err(error) = gate.cancels.forward(&request).await {
                    tracing::info!(client = %peer, %error, "cancel request came to nothing");
                }
                stream.farewell(&[]).await;
            }
            Ok(Ok(First::Session {
                stream,
                startup,
                tls,
            })) => {
                self.journal.metrics.login_failure(Blame::Pgveil.as_str());
                let fields = too_many();
                self.journal.note(&Record {
                    client_addr: Some(peer),
                    tls: tls.map(|tls| record::tls(&tls.facts)),
                    db_user: Some(startup.user().into()),
                    database: Some(startup.database().into()),
                    reason: Some("max_sessions".into()),
                    sqlstate: Some(sqlstate::TOO_MANY_CONNECTIONS.into()),
                    message: Some(fields.message.clone()),
                    ..Record::new(Event::LoginFailed, SystemTime::now())
                });
                stream.farewell(&fields.frame(ERROR_RESPONSE)).await;
            }
            _ => self.journal.metrics.login(LoginResult::Closed),
        }
    }
}

impl Door {
    async fn session(&self, tcp: TcpStream, peer: SocketAddr) {
        let metrics = &self.journal.metrics;
        // Each on the heap: what a login needs is given back before the session begins.
        let gate = self.gate.load_full();
        match Box::pin(async move { login(tcp, peer, &gate).await }).await {
            Ok(Outcome::Session(session)) => {
                metrics.login(LoginResult::Ok);
                let _counted = metrics.session();
                let (proxy, draining) = (Arc::clone(&self.proxy), self.draining.clone());
                let end = Box::pin(run(session, proxy, draining)).await;
                metrics.session_end(end.label());
            }
            Ok(Outcome::CancelDone) => metrics.login(LoginResult::Cancel),
            Ok(Outcome::Closed) => metrics.login(LoginResult::Closed),
            Err(error) => {
                metrics.login_failure(error.blame.as_str());
                tracing::info!("{error}");
                self.journal.note(&login_failed(&error));
            }
        }
    }
}

/// As the postmaster says it (`processCancelRequest` and `BackendInitialize` in postmaster.c).
fn too_many() -> ErrorFields {
    ErrorFields::fatal(
        sqlstate::TOO_MANY_CONNECTIONS,
        "sorry, too many clients already",
    )
    .with_detail("pgveil has reached limits.max_sessions.")
    .with_hint("Close sessions that are idle, or raise limits.max_sessions in pgveil.yaml.")
}
