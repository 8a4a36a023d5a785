//! What a statement does and what runs instead of it. Pure: knows neither sockets nor YAML.
pub mod functions;
pub mod judge;
pub mod lex;
pub mod names;
pub mod parse;
pub mod plan;
mod refuse;
mod system;
pub mod template;
pub mod tree;
