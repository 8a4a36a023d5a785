//! What an installation is made of beside the program: rules and dashboards of Prometheus and Grafana, packages, units,
//! charts, and the program's own look at itself.
#[path = "../support/mod.rs"]
mod support;

mod doctor;
mod logs;
mod monitoring;
mod service;
