//! Counters that stand at 0 before anything has happened.
//!
//! A series that appears with its first event shows no increase to Prometheus: `increase()` needs a value before. What an
//! alarm watches is therefore there from the start.
use super::Metrics;
use crate::audit::Event;
use crate::audit::detect::Kind;

impl Metrics {
    /// `blames` and `ends` are the labels of failed logins and of sessions' ends.
    pub fn begin<'a>(
        &self,
        blames: impl IntoIterator<Item = &'a str>,
        ends: impl IntoIterator<Item = &'a str>,
    ) {
        for result in ["accepted", "too_many", "accept_error"] {
            self.connections.with_label_values(&[result]);
        }
        for result in ["ok", "failed", "cancel", "closed"] {
            self.logins.with_label_values(&[result]);
        }
        for blame in blames {
            self.login_failures.with_label_values(&[blame]);
        }
        for end in ends {
            self.ended(end);
        }
        for event in Event::ALL {
            self.audit_records.with_label_values(&[event.label()]);
        }
        for kind in Kind::ALL {
            self.alarms.with_label_values(&[kind.label()]);
        }
    }

    /// The roles that a policy brings into force, and the labels of export limits.
    pub fn roles<'a>(&self, roles: impl IntoIterator<Item = &'a str>, limits: &[&str]) {
        for role in roles {
            for limit in limits {
                self.export_stops
                    .with_label_values(&[role, super::limit(limit)]);
            }
        }
    }
}
