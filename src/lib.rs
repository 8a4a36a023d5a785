//! pgveil: a transparent PostgreSQL proxy that masks by role, gates exports and records every statement.
//!
//! # Layout
//! * [`cli`]: the command line, one file per command.
//! * [`config`]: how the proxy runs (`pgveil.yaml`). Raw YAML types and the checked settings made of them.
//! * [`policy`]: who sees what (`policies/*.yaml`). YAML in, compiled role policies out. Pure.
//! * [`catalog`]: a snapshot of the database's schema: types, the loader, the lineage of views.
//! * [`scan`]: finding sensitive data: which columns look like which class. Reads samples, decides purely.
//! * [`sql`]: lexer, rewriter, judge, plan. Pure: knows neither sockets nor YAML.
//! * [`wire`]: frames, startup packets, TLS, cancel requests. Knows no SQL.
//! * [`auth`]: clients' logins and upstream logins.
//! * [`session`]: one connection's life: the two pumps and what they observe.
//! * [`export`]: counting of protected rows, budgets, requests and their signatures, the state they are kept in.
//! * [`audit`]: record, chain, spool, verification, sinks.
//! * [`outbound`]: requests of pgveil's own over HTTP.
//! * [`admin`]: over HTTP: metrics and health; accounts, the approvals console and its API.
//!
//! Imports run one way: `session` knows all of them; `sql`, `policy`, `wire` and `audit` do not know each
//! other, save that `sql` takes a compiled role policy.
#![forbid(unsafe_code)]

pub mod admin;
pub mod audit;
pub mod auth;
pub mod catalog;
pub mod cli;
pub mod config;
pub mod export;
pub mod outbound;
pub mod policy;
pub mod scan;
pub mod session;
pub mod sql;
pub mod wire;
