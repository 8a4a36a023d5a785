//! One connection's life: the two pumps and what they observe.
//!
//! * [`burst`]: what one read brought, and which of it goes on.
//! * [`messages`]: the few message bodies that are read or built.
//! * [`statements`]: prepared statements, portals and cursors with their plans.
//! * [`ledger`]: what was sent and not yet answered; attributes each answer to its statement.
pub mod burst;
#[cfg(test)]
mod fixtures;
pub mod ledger;
pub mod messages;
pub mod statements;
