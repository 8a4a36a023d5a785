//! Who sees what: YAML policies, checked and compiled against a catalog snapshot. Pure.
pub mod compiled;
