//! Named limits with their defaults. Everything a client can make grow has one.
use std::time::Duration;

/// Sessions at a time, over all listeners.
pub const MAX_SESSIONS: usize = 1_000;
/// From accept to the end of the login, TLS included. PostgreSQL's `authentication_timeout` is 60 s.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long running transactions may take to finish after SIGTERM.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// From SIGTERM, when `/readyz` turns unhealthy, until new connections are refused.
pub const DRAIN_DELAY: Duration = Duration::ZERO;
/// Text of one Query or Parse message of a restricted session.
pub const MAX_STATEMENT_BYTES: u64 = 1024 * 1024;
/// A startup packet; PostgreSQL's own `MAX_STARTUP_PACKET_LENGTH` is 10,000 (pqcomm.h).
pub const MAX_STARTUP_BYTES: u64 = 10_000;
/// Bytes that cached plans may take together.
pub const PLAN_CACHE_BYTES: u64 = 64 * 1024 * 1024;
/// Threads that plan statements; each has a large stack.
pub const PLANNER_THREADS: usize = 4;
/// For connecting to the server, TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the catalog's fingerprint is compared.
pub const CATALOG_REFRESH: Duration = Duration::from_secs(5);
/// Idle time before TCP keepalive probes start, on both legs.
pub const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Default [`MAX_SESSIONS`].
    pub max_sessions: usize,
    /// Default [`LOGIN_TIMEOUT`].
    pub login_timeout: Duration,
    /// Default [`DRAIN_TIMEOUT`].
    pub drain_timeout: Duration,
    /// Default [`DRAIN_DELAY`].
    pub drain_delay: Duration,
    /// Default [`MAX_STATEMENT_BYTES`].
    pub max_statement_bytes: u64,
    /// Default [`MAX_STARTUP_BYTES`].
    pub max_startup_bytes: u64,
    /// Default [`PLAN_CACHE_BYTES`].
    pub plan_cache_bytes: u64,
    /// Default [`PLANNER_THREADS`].
    pub planner_threads: usize,
    /// Default [`CONNECT_TIMEOUT`].
    pub connect_timeout: Duration,
    /// Default [`CATALOG_REFRESH`].
    pub catalog_refresh: Duration,
    /// Default [`TCP_KEEPALIVE`].
    pub tcp_keepalive: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_sessions: MAX_SESSIONS,
            login_timeout: LOGIN_TIMEOUT,
            drain_timeout: DRAIN_TIMEOUT,
            drain_delay: DRAIN_DELAY,
            max_statement_bytes: MAX_STATEMENT_BYTES,
            max_startup_bytes: MAX_STARTUP_BYTES,
            plan_cache_bytes: PLAN_CACHE_BYTES,
            planner_threads: PLANNER_THREADS,
            connect_timeout: CONNECT_TIMEOUT,
            catalog_refresh: CATALOG_REFRESH,
            tcp_keepalive: TCP_KEEPALIVE,
        }
    }
}
