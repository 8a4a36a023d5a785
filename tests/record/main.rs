//! The audit record as evidence: complete after `kill -9` and over a full disk, silent about values, and changed by nobody
//! unnoticed.
#[path = "../support/mod.rs"]
mod support;

mod full_disk;
mod kills;
mod people;
mod sealed;
mod silence;
mod synced;
mod tampering;
mod verify;
