//! Approvers are told of every step, whatever stands in between: by a real web server and a real mail server.
#[path = "../support/mod.rs"]
mod support;

mod mail;
mod mail_server;
mod office;
mod web_server;
mod webhook;
