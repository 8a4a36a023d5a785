//! Every sink holds every record at least once, whatever its receiver does meanwhile: with real receivers where there are
//! any, and web servers that misbehave.
#[path = "../support/mod.rs"]
mod support;
#[path = "../notify/web_server.rs"]
mod web_server;

mod canary;
mod cef;
mod formats;
mod house;
#[cfg(feature = "kafka")]
mod kafka;
mod lines;
mod mutual;
mod nats;
mod otlp;
mod pager;
mod rsyslog;
mod syslog;
mod upgrade;
mod web;
