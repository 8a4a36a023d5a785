//! What a statement does and what runs instead of it. Pure: knows neither sockets nor YAML.
pub mod plan;
