//! What outlives the process: both stores by one suite, budgets that two proxies share, and `kill -9`.
#[path = "../support/mod.rs"]
mod support;

mod crash;
mod full;
mod postgres;
mod shared;
mod sqlite;
mod suite;
