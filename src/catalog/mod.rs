//! The schema of one database as pgveil last read it.
//!
//! [`load()`] reads a snapshot; [`lineage`] finds where the columns
//! of views take their values from.
pub mod error;
pub mod lineage;
pub mod load;
mod queries;
mod type_sql;
pub mod types;
mod version;

pub use error::CatalogError;
pub use load::load;
pub use types::*;
