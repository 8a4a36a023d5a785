//! One connection's life, from the accepted socket to its end.
pub mod login;
