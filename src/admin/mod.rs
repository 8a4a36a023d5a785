//! What operators look at: metrics and health over HTTP.
pub mod http;
pub mod metrics;

pub use metrics::Metrics;
