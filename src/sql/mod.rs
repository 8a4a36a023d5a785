//! What a statement does and what runs instead of it. Pure: knows neither sockets nor YAML.
//!
//! A text goes through [`lex`] (tokens, caps), [`parse`] (PostgreSQL's grammar, as a generic [`tree`]), [`judge`] (what
//! does it touch, may the role do that), `propose` and `splice` (the text that runs instead), and [`judge`] again, over
//! that text. [`planner`] puts these together, [`cache`] keeps what comes of it. What others make of a plan stands
//! beside it as its [`companion`].
pub mod cache;
pub mod columns;
pub mod companion;
mod effect;
pub mod folding;
pub mod functions;
pub mod judge;
mod keys;
pub mod lex;
pub mod marks;
pub mod names;
mod naming;
pub mod normalise;
mod observe;
mod origins;
pub mod packing;
pub mod parse;
mod pathless;
pub mod plan;
pub mod planner;
mod propose;
pub(crate) mod refuse;
mod scope;
pub mod shape;
mod splice;
pub mod system;
pub mod template;
pub mod temporary;
pub mod tree;
mod trial;

pub use cache::Planner;
