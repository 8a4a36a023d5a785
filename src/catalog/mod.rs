//! The schema of one database as pgveil last read it.
//!
//! [`load()`] reads a snapshot; [`CatalogStore`] keeps one per database current; [`lineage`] finds where the columns
//! of views take their values from. [`file`] puts a snapshot into a file and takes it from there.
mod code;
pub mod connect;
pub mod error;
pub mod file;
mod fingerprint;
pub mod lineage;
pub mod load;
mod queries;
mod reader;
pub mod standings;
pub mod store;
pub mod ties;
pub mod tls;
mod type_sql;
pub mod types;
pub mod verifier;
mod version;

pub use connect::{ConnectSettings, Pace, SslMode};
pub use error::CatalogError;
pub use load::load;
pub use standings::Lookout;
pub use store::CatalogStore;
pub use ties::{Cascade, ROW, Tie, TieKind};
pub use types::*;
pub use verifier::Verifier;
