//! Which server is what, as the catalog user sees it: for sessions that may not go to every server of the list.
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use tokio::sync::Mutex;
use tokio_postgres::Client;

use super::connect::{ConnectSettings, standing};
use crate::wire::hosts::{Later, Standing, Standings};

/// What was seen counts for so long: a storm of logins looks once.
const FRESH: Duration = Duration::from_millis(500);
/// Addresses that are remembered: names may have had others before.
const MAX_ADDRESSES: usize = 64;

/// Looks at servers over a connection to each that it keeps.
pub struct Lookout {
    settings: ConnectSettings,
    database: String,
    seen: DashMap<(usize, SocketAddr), Arc<Mutex<Seen>>>,
}

/// One address.
#[derive(Default)]
struct Seen {
    client: Option<Client>,
    last: Option<(Instant, Result<Standing, String>)>,
}

impl Lookout {
    /// `database`: one that the catalog user may connect to.
    pub fn new(settings: ConnectSettings, database: &str) -> Self {
        Lookout {
            settings,
            database: database.to_owned(),
            seen: DashMap::new(),
        }
    }

    async fn look(&self, host: usize, addr: SocketAddr) -> Result<Standing, String> {
        if self.seen.len() > MAX_ADDRESSES {
            self.seen.clear();
        }
        let seen = Arc::clone(&self.seen.entry((host, addr)).or_default());
        // One look at a time: who waits finds what the one before has seen.
        let mut seen = seen.lock().await;
        if let Some((at, standing)) = &seen.last
            && at.elapsed() < FRESH
        {
            return standing.clone();
        }
        let looked = self.ask(&mut seen, host, addr).await;
        seen.last = Some((Instant::now(), looked.clone()));
        looked
    }

    async fn ask(
        &self,
        seen: &mut Seen,
        host: usize,
        addr: SocketAddr,
    ) -> Result<Standing, String> {
        let limit = self.settings.pace.connect_timeout;
        // A connection that was kept may have broken unnoticed: then once more on a new one.
        if let Some(client) = seen.client.take().filter(|client| !client.is_closed())
            && let Ok(Ok(standing)) = tokio::time::timeout(limit, standing(&client)).await
        {
            seen.client = Some(client);
            return Ok(standing);
        }
        let opened = self
            .settings
            .open_at(host, addr, &self.database, "pgveil lookout");
        let client = opened.await.map_err(|error| error.to_string())?;
        match tokio::time::timeout(limit, standing(&client)).await {
            Ok(Ok(standing)) => {
                seen.client = Some(client);
                Ok(standing)
            }
            Ok(Err(error)) => Err(super::error::reason(&error).to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        }
    }
}

impl Standings for Lookout {
    fn standing(&self, host: usize, addr: SocketAddr) -> Later<'_, Result<Standing, String>> {
        Box::pin(self.look(host, addr))
    }

    fn forget(&self, host: usize, addr: SocketAddr) {
        self.seen.remove(&(host, addr));
    }
}

impl fmt::Debug for Lookout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lookout({})", self.settings.hosts)
    }
}
