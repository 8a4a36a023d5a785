//! Another process takes over: the binary or a setting that needs a new process is changed, and no connection is refused.
//!
//! On SIGUSR2 the running process starts its own command line again, with one end of a pair of sockets as standard input.
//! 1. The successor reads settings and policies and holds them against the servers, while nothing else changes. If
//!    that fails it ends, and the old process goes on.
//! 2. It asks for its turn. The old process ends detection and sinks, lets go of the audit chain and of the embedded
//!    state, and sends the listening sockets (SCM_RIGHTS). They stay open in both: the kernel's queue of connections is
//!    one, and no connection in it is lost or refused.
//! 3. The successor opens the chain and the state, begins to accept, and says so. If it dies before, the old process takes
//!    everything back.
//! 4. The old process stops to accept; its sessions go on until they leave or the time of `limits.drain_timeout` is over.
//!    What they do goes on record through the successor ([`crate::audit::spool::succession`]), and cancel requests for
//!    them come back from it.
//!
//! * [`link`]: what is said over the pair of sockets.
//! * [`successor`]: the old process's side. [`predecessor`]: the new one's.
pub mod link;
pub mod predecessor;
pub mod successor;
