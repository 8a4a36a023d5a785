//! The schema of one database as pgveil last read it.
pub mod types;

pub use types::*;
