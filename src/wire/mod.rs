//! Frames, startup packets, TLS, cancel requests. Knows no SQL.
pub mod frame;
