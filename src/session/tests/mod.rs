//! Sessions between a scripted client and a scripted server.
mod bench;
mod denials;
mod ends;
mod exports;
mod passing;
mod search_path;
mod settling;
