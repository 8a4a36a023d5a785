//! What an installation is made of beside the program: rules and dashboards of Prometheus and Grafana.
#[path = "../support/mod.rs"]
mod support;

mod monitoring;
