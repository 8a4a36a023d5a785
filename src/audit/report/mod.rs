//! What a company shows its auditor: who read which data, who let it out, what was refused, and whether the record of it
//! is whole. One HTML file that needs nothing else, and tables as CSV.
//!
//! * [`gather`]: the counting, record by record; [`tally`] keeps it in bounded memory, [`exports`] follows each request,
//!   [`hours`] knows when people work.
//! * [`tables`], [`diagram`], [`page`]: what was counted as tables, as a drawing of flows, as a page; [`words`] and
//!   [`reasons`] in two languages.
pub mod diagram;
pub mod exports;
pub mod gather;
pub mod hours;
pub mod page;
pub mod reasons;
pub mod tables;
pub mod tally;
pub mod words;

pub use gather::Gathered;
pub use hours::WorkingHours;
pub use page::{Proof, Report};
pub use words::Language;
