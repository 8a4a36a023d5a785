//! Counting of protected rows against what a role may take out at once.
pub mod meter;

pub use meter::{Count, Meter};
