//! Startup packets.
