//! PostgreSQL's wire protocol below SQL: streams, startup packets, TLS, cancel requests, errors, frames.
pub mod cancel;
pub mod connect;
pub mod error;
pub mod frame;
pub mod hosts;
pub mod negotiate;
pub mod startup;
pub mod stream;
pub mod tls;
