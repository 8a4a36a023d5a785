//! Finding sensitive data: names, types, comments and samples in, classes with their evidence out.
//!
//! [`read`] is the rim: it reads comments, sizes and samples over a connection. [`survey`] says which columns are looked at,
//! [`look`](look()) weighs what speaks for which class of one column ([`name`] for names, [`tally`] for values, [`document`] for
//! what is in documents), [`report`] and [`propose`] write it down. All of these are pure. What is looked for is data:
//! `data/*.tsv` and `data/*.txt`, with a source each.
//!
//! No value of the database is in a [`Finding`]: evidence is made of the tables' own words and of counts.
mod checksum;
mod class;
pub mod document;
mod look;
mod name;
mod pattern;
mod person;
mod phone;
pub mod preset;
pub mod propose;
pub mod read;
pub mod report;
mod secret;
pub mod survey;
mod table;
mod tally;
mod text;

pub use class::{Class, Kind};
pub use look::{Finding, Subject, look};
pub use name::Name;
pub use preset::Preset;
pub use report::Report;
pub use tally::Sample;
