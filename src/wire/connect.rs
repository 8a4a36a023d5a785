//! Connect.
