//! Export control: counting protected rows, the budgets of people, and what it takes to go beyond them.
//!
//! * [`meter`]: the rows and bytes of one result. Pure.
//! * [`budget`]: what people take out over all their results.
//! * [`request`]: requests, signatures and grants. Pure.
//! * [`clock`]: the time that all of it goes by.
//! * [`desk`]: where requests are made and signed, each step on record.
//! * [`notify`]: telling approvers.
//! * [`store`]: what outlives the process.
pub mod budget;
pub mod clock;
pub mod desk;
#[cfg(test)]
mod fixture;
pub mod meter;
pub mod notify;
pub mod request;
pub mod store;
pub mod weight;

pub use budget::{Allowed, Budgets, Purse, Refill};
pub use clock::Clock;
pub use desk::{Desk, DeskError, Met};
pub use meter::{Count, Limits, Meter, Sum};
pub use request::LimitKind;
