//! The tools for those who write policies: rules on trial, cases, replay, findings, schemas, histories and signatures.
#[path = "../support/mod.rs"]
mod support;

mod cases;
mod explain;
mod replay;
mod schema;
mod trial;
mod versions;
