//! One connection's life, from the accepted socket to its end: login, then the two pumps and what they observe.
//!
//! * [`listener`]: accepting connections within a limit, and draining.
//! * [`login`]: from an accepted socket to both sides logged in.
//! * [`proxy`]: what all sessions share; runs one that has logged in.
//! * [`rereading`]: readings of the catalog that a session does not wait for.
//! * [`relay`]: both pumps of a session, and who is told what when one side ends.
//! * [`to_server`], [`to_client`]: the pumps. They share [`shared`] and ask the process through [`host`], which
//!   [`session_host`] answers.
//! * [`burst`]: what one read brought, and which of it goes on.
//! * [`ledger`]: what was sent and not yet answered; attributes each answer to its statement.
//! * [`statements`]: the client's texts with their plans; [`names`], [`portals`]: prepared statements, portals and cursors.
//! * [`settings`]: what a statement may do to the search path, the encoding and temporary relations.
//! * [`charset`]: client encodings, to UTF-8 and back.
//! * [`messages`], [`describe`]: the few message bodies that are read, built or changed.
//! * [`denial`], [`scrub`]: what a client is told when something is refused, and errors without data.
//! * [`counter`], [`exports`], [`subjects`]: what goes beyond a limit, and whose rows a result shows.
//! * [`claim`], [`asker`]: who a statement says it is for, and who that is by the policy.
//! * [`record`]: the audit records of a session; `unsettled`: those that something waits for; `trace_context`: the trace
//!   that a statement says it is part of.
pub mod asker;
pub mod assignment;
pub mod burst;
pub mod charset;
pub mod claim;
pub mod cores;
pub mod counter;
pub mod denial;
pub mod describe;
pub mod drain;
pub mod exports;
#[cfg(test)]
mod fixtures;
pub mod host;
pub mod ledger;
pub mod listener;
pub mod login;
pub mod made;
pub mod messages;
pub mod names;
mod on_wake;
pub mod portals;
pub mod proxy;
pub mod question;
pub mod record;
pub mod relay;
pub mod rereading;
pub mod scrub;
mod session_host;
pub mod settings;
pub mod shared;
pub mod statements;
pub mod subjects;
#[cfg(test)]
mod tests;
pub mod to_client;
pub mod to_server;
mod trace_context;
mod unsettled;
