//! One connection's life, from the accepted socket to its end: login, then the two pumps and what they observe.
//!
//! * [`burst`]: what one read brought, and which of it goes on.
//! * [`messages`]: the few message bodies that are read or built.
//! * [`statements`]: prepared statements, portals and cursors with their plans.
//! * [`listener`]: accepting connections within a limit, and draining.
//! * [`login`]: from an accepted socket to both sides logged in.
//! * [`ledger`]: what was sent and not yet answered; attributes each answer to its statement.
//! * [`denial`]: what a client is told when something is not let happen.
//! * [`scrub`]: errors and notices without data.
pub mod burst;
pub mod denial;
pub mod describe;
#[cfg(test)]
mod fixtures;
pub mod host;
pub mod ledger;
pub mod listener;
pub mod login;
pub mod messages;
pub mod proxy;
pub mod record;
pub mod relay;
pub mod scrub;
pub mod settings;
pub mod shared;
pub mod statements;
#[cfg(test)]
mod tests;
pub mod to_client;
pub mod to_server;
