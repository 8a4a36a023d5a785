//! What people look at over HTTP: metrics and health for operators; requests, approvals and refusals for approvers.
pub mod accounts;
pub mod api;
pub mod console;
pub mod http;
pub mod metrics;
pub mod recent;
mod within;

pub use metrics::Metrics;
