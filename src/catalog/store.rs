//! Current snapshots of all databases in use.
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use dashmap::{DashMap, DashSet};
use foldhash::fast::RandomState;
use tokio::sync::Mutex;
use tracing::{debug, info, warn};

use super::connect::{ConnectSettings, Reached};
use super::fingerprint::fingerprint;
use super::load::{Loaded, load_what_is_free};
use super::verifier::{Verifier, verifier};
use super::{Catalog, CatalogError};

/// Where to look up what belongs to the whole server.
const MAINTENANCE_DATABASE: &str = "postgres";

/// The longest pause between two attempts to reach a database that fails.
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// Addresses of servers that are remembered. A name that has another one at each look must not fill the memory.
const MAX_MET: usize = 256;

const DATABASES: &str = "SELECT datname::text FROM pg_database \
     WHERE datallowconn AND NOT datistemplate AND has_database_privilege(oid, 'CONNECT') ORDER BY 1";

/// Snapshots by database, each read over one connection of the catalog user and kept current for as long as somebody
/// asks for it.
///
/// A lost server does not end sessions at once: the last snapshot serves on for [`super::Pace::staleness`], then
/// [`CatalogStore::get`] fails. Must be used within a tokio runtime; dropping the store ends its connections.
pub struct CatalogStore {
    settings: Arc<ArcSwap<ConnectSettings>>,
    databases: DashMap<String, Arc<Database>, RandomState>,
    /// For what belongs to the whole server.
    server: Mutex<Option<Arc<Reached>>>,
}

/// One database's snapshot and connection.
struct Database {
    name: String,
    settings: Arc<ArcSwap<ConnectSettings>>,
    snapshot: ArcSwapOption<Snapshot>,
    /// Held while the database is looked at: one look at a time.
    connection: Mutex<Connection>,
    /// Where the connection leads, or led last.
    read_at: std::sync::Mutex<Option<SocketAddr>>,
    /// Where sessions were found to be on a server of the same list, since the connection was made.
    met: DashSet<SocketAddr>,
    since: Instant,
    /// Milliseconds from `since` to when somebody asked last.
    last_use: AtomicU64,
    /// A task keeps the snapshot current.
    watched: AtomicBool,
}

#[derive(Default)]
struct Connection {
    reached: Option<Reached>,
    /// The last look that failed: when it began, and why.
    failed: Option<(Instant, CatalogError)>,
}

struct Snapshot {
    catalog: Arc<Catalog>,
    fingerprint: String,
    /// When the last look began that found the database like this.
    confirmed: Instant,
}

impl CatalogStore {
    pub fn new(settings: ConnectSettings) -> Self {
        CatalogStore {
            settings: Arc::new(ArcSwap::from_pointee(settings)),
            databases: DashMap::default(),
            server: Mutex::new(None),
        }
    }

    /// How pgveil reaches the server as the catalog user.
    pub fn connect_settings(&self) -> Arc<ConnectSettings> {
        self.settings.load_full()
    }

    /// Goes by other settings from now on. Connections that were made by the old ones are let go; snapshots serve on until
    /// the next look.
    pub async fn reconfigure(&self, settings: ConnectSettings) {
        self.settings.store(Arc::new(settings));
        *self.server.lock().await = None;
        let known: Vec<_> = self.databases.iter().map(|one| Arc::clone(&one)).collect();
        for database in known {
            *database.connection.lock().await = Connection::default();
        }
    }

    /// The current snapshot; reads it at first use. Cheap otherwise: meant to be called for every statement.
    ///
    /// Cancel safe: a look at the database once begun goes on without its caller.
    pub async fn get(&self, database: &str) -> Result<Arc<Catalog>, CatalogError> {
        if let Some(known) = self.databases.get(database)
            && let Some(catalog) = known.fresh()
        {
            return Ok(catalog);
        }
        self.refresh(database).await
    }

    /// A snapshot that shows everything committed before the call, for instance after DDL or where a relation is
    /// unknown. Reads the catalog only if its fingerprint changed. Callers at the same time share the work.
    ///
    /// A failure does not take away what [`CatalogStore::get`] still serves.
    pub async fn refresh(&self, database: &str) -> Result<Arc<Catalog>, CatalogError> {
        let asked = Instant::now();
        let known = self.databases.get(database).map(|known| Arc::clone(&known));
        let known = match known {
            Some(known) => known,
            // On the heap: every session that may wait for a catalog would have room for the reading of one.
            None => Box::pin(self.admit(database)).await?,
        };
        // On a task of its own: a caller that goes away must not leave the connection in the middle of something.
        tokio::spawn(async move {
            known.used(Instant::now());
            let looked = known.confirm(asked).await;
            if looked.is_ok() && !known.watched.swap(true, Ordering::AcqRel) {
                tokio::spawn(watch(Arc::downgrade(&known)));
            }
            looked
        })
        .await
        .unwrap_or_else(|error| Err(CatalogError::Malformed(error.to_string())))
    }

    /// To be called when a session has come to a server, before it is judged by a snapshot. If names lead there and no more to
    /// where the snapshot was read, that one says nothing of this server: it is let go, and the next [`CatalogStore::get`] reads
    /// another one or fails.
    pub async fn meet(&self, database: &str, addr: SocketAddr) {
        let known = self.databases.get(database).map(|known| Arc::clone(&known));
        if let Some(known) = known {
            known.meet(addr).await;
        }
    }

    /// The databases pgveil serves: those of the settings, else all that accept the catalog user.
    pub async fn databases(&self) -> Result<Vec<String>, CatalogError> {
        if let Some(names) = &self.settings.load().databases {
            return Ok(names.clone());
        }
        let server = self.server().await?;
        let rows = server.client.query(DATABASES, &[]).await;
        let rows = rows.map_err(|error| CatalogError::query("the list of databases", &error))?;
        rows.iter()
            .map(|row| {
                row.try_get(0)
                    .map_err(|error| CatalogError::query("the list of databases", &error))
            })
            .collect()
    }

    /// The stored password of a user, for `auth: scram`. The catalog user needs SELECT on `pg_authid`.
    pub async fn verifier(&self, user: &str) -> Result<Option<Verifier>, CatalogError> {
        let server = self.server().await?;
        verifier(&server.client, user).await
    }

    /// Takes a database into care by the server's own spelling of its name: a name may come from a client, and no
    /// byte from a client reaches the connections made here.
    async fn admit(&self, database: &str) -> Result<Arc<Database>, CatalogError> {
        let names = self.databases().await?;
        let Some(name) = names.into_iter().find(|name| name == database) else {
            return Err(CatalogError::Connect {
                database: database.to_owned(),
                reason: "there is no such database, or the catalog user may not connect to it"
                    .into(),
            });
        };
        let known = self.databases.entry(name.clone()).or_insert_with(|| {
            Arc::new(Database {
                name,
                settings: Arc::clone(&self.settings),
                snapshot: ArcSwapOption::empty(),
                connection: Mutex::default(),
                read_at: std::sync::Mutex::default(),
                met: DashSet::new(),
                since: Instant::now(),
                last_use: AtomicU64::new(0),
                watched: AtomicBool::new(false),
            })
        });
        Ok(Arc::clone(&known))
    }

    async fn server(&self) -> Result<Arc<Reached>, CatalogError> {
        let mut server = self.server.lock().await;
        let settings = self.settings.load_full();
        if let Some(reached) = server.as_ref()
            && reached.holds(&settings).await
        {
            return Ok(Arc::clone(reached));
        }
        let configured = settings.databases.as_ref().and_then(|names| names.first());
        let database = configured.map_or(MAINTENANCE_DATABASE, String::as_str);
        let reached = Arc::new(settings.reach(database).await?);
        *server = Some(Arc::clone(&reached));
        Ok(reached)
    }
}

impl Reached {
    /// Open, and not left behind by a change of names.
    async fn holds(&self, settings: &ConnectSettings) -> bool {
        !self.client.is_closed() && settings.still_leads(self.addr).await
    }
}

impl Database {
    /// The snapshot, unless there is none or it was not confirmed for too long.
    fn fresh(&self) -> Option<Arc<Catalog>> {
        let now = Instant::now();
        self.used(now);
        let snapshot = self.snapshot.load();
        let snapshot = snapshot.as_ref()?;
        let age = now.saturating_duration_since(snapshot.confirmed);
        (age <= self.settings.load().pace.staleness).then(|| Arc::clone(&snapshot.catalog))
    }

    fn used(&self, now: Instant) {
        let since = now.saturating_duration_since(self.since).as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        // Written by every statement of every session: only where it says something new.
        if self.last_use.load(Ordering::Relaxed) != since {
            self.last_use.store(since, Ordering::Relaxed);
        }
    }

    /// Makes sure that the snapshot shows the database as it was at `asked` or later.
    async fn confirm(&self, asked: Instant) -> Result<Arc<Catalog>, CatalogError> {
        let mut connection = self.connection.lock().await;
        // Somebody who waited in front of this caller looked already, with or without luck.
        if let Some(snapshot) = self.snapshot.load().as_ref()
            && snapshot.confirmed > asked
        {
            return Ok(Arc::clone(&snapshot.catalog));
        }
        if let Some((began, error)) = &connection.failed
            && *began > asked
        {
            return Err(error.clone());
        }
        let began = Instant::now();
        let limit = self.settings.load().pace.read_timeout;
        let looked = tokio::time::timeout(limit, self.look(&mut connection)).await;
        let looked = looked.unwrap_or_else(|_| {
            Err(CatalogError::Timeout {
                database: self.name.clone(),
                limit,
            })
        });
        looked.map_err(|error| {
            let error = self.stale(error);
            *connection = Connection {
                reached: None,
                failed: Some((began, error.clone())),
            };
            error
        })
    }

    /// One look: the fingerprint, and the whole catalog if it changed.
    async fn look(&self, connection: &mut Connection) -> Result<Arc<Catalog>, CatalogError> {
        let began = Instant::now();
        let settings = self.settings.load_full();
        let kept = match connection.reached.take() {
            Some(reached) if reached.holds(&settings).await => Some(reached),
            _ => None,
        };
        let reached = match kept {
            Some(reached) => reached,
            None => {
                let reached = settings.reach(&self.name).await?;
                self.met.clear();
                self.remember(reached.addr);
                *self.read_at() = Some(reached.addr);
                reached
            }
        };
        let client = &connection.reached.insert(reached).client;
        // Taken before the snapshot: a change between the two is seen at the next look.
        let mut fingerprint = fingerprint(client).await?;
        let previous = self.snapshot.load_full();
        let catalog = match &previous {
            Some(previous) if previous.fingerprint == fingerprint => Arc::clone(&previous.catalog),
            _ => {
                let Loaded { catalog, left_out } = load_what_is_free(client).await?;
                if left_out {
                    warn!(
                        database = self.name,
                        "relations are locked: views and expressions over them are not known until they can be read"
                    );
                    // No fingerprint is the same: the next look reads again.
                    fingerprint.clear();
                }
                let read = Arc::new(catalog);
                info!(
                    database = self.name,
                    version = format_args!("{:016x}", read.version),
                    relations = read.relations.len(),
                    milliseconds = began.elapsed().as_millis(),
                    "read the catalog"
                );
                match &previous {
                    // Nothing that matters changed: what was compiled against it stays good.
                    Some(previous) if previous.catalog.version == read.version => {
                        Arc::clone(&previous.catalog)
                    }
                    _ => read,
                }
            }
        };
        self.snapshot.store(Some(Arc::new(Snapshot {
            catalog: Arc::clone(&catalog),
            fingerprint,
            confirmed: began,
        })));
        Ok(catalog)
    }

    async fn meet(&self, addr: SocketAddr) {
        if self.met.contains(&addr) {
            return;
        }
        let Some(read_at) = *self.read_at() else {
            return;
        };
        if self.settings.load_full().still_leads(read_at).await {
            // Servers of one list are copies of each other.
            self.remember(addr);
            return;
        }
        // A look that is under way may be one at the old server: it must not come after this.
        let mut connection = self.connection.lock().await;
        if *self.read_at() == Some(read_at) {
            info!(
                database = self.name,
                %addr,
                %read_at,
                "the catalog is read anew, for names lead elsewhere"
            );
            *connection = Connection::default();
            self.snapshot.store(None);
            *self.read_at() = None;
        }
    }

    fn read_at(&self) -> MutexGuard<'_, Option<SocketAddr>> {
        self.read_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remember(&self, addr: SocketAddr) {
        if self.met.len() >= MAX_MET {
            self.met.clear();
        }
        self.met.insert(addr);
    }

    /// What a failure means for those who ask: with a snapshot that is too old, that it is too old.
    fn stale(&self, error: CatalogError) -> CatalogError {
        let limit = self.settings.load().pace.staleness;
        match self
            .snapshot
            .load()
            .as_ref()
            .map(|snapshot| snapshot.confirmed.elapsed())
        {
            Some(age) if age > limit => CatalogError::Stale {
                database: self.name.clone(),
                age,
                limit,
                reason: error.to_string().into(),
            },
            _ => error,
        }
    }

    /// Lets go of the connection and the snapshot if nobody asked for them for long. `true` where it did.
    async fn retire(&self) -> bool {
        let mut connection = self.connection.lock().await;
        let last_use = Duration::from_millis(self.last_use.load(Ordering::Relaxed));
        let idle = self.since.elapsed().saturating_sub(last_use) > self.settings.load().pace.idle;
        if idle {
            *connection = Connection::default();
            self.snapshot.store(None);
            self.watched.store(false, Ordering::Release);
            debug!(database = self.name, "the catalog is not in use any more");
        }
        idle
    }
}

/// Looks after one database until nobody uses it any more, or the store is gone.
async fn watch(database: Weak<Database>) {
    let mut pause = match database.upgrade() {
        Some(database) => database.settings.load().pace.interval,
        None => return,
    };
    loop {
        tokio::time::sleep(pause).await;
        let Some(database) = database.upgrade() else {
            return;
        };
        if database.retire().await {
            return;
        }
        let looked = database.confirm(Instant::now()).await;
        let interval = database.settings.load().pace.interval;
        pause = match looked {
            Ok(_) => interval,
            Err(error) => {
                warn!(database = database.name, %error, "cannot confirm the catalog");
                (pause * 2).min(MAX_BACKOFF).max(interval)
            }
        };
    }
}
