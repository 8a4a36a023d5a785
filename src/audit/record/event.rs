//! What a record can be about.
use schemars::JsonSchema;
use serde::Serialize;

/// What a record is about. Also the label of `pgveil_audit_records_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The first record of a chain; carries [`Record::chain`].
    Chain,
    /// The spool was opened after a crash that left an unfinished record.
    Recovered,
    /// pgveil began to serve.
    Start,
    /// pgveil ended in good order.
    Stop,
    /// A session began; its user has proved who it is.
    Login,
    /// A client was turned away. The user and database are what it claimed.
    LoginFailed,
    /// A session ended.
    Logout,
    /// A statement ended, well or with an error of the server.
    Statement,
    /// A statement, or another message, was not let through.
    Refusal,
    /// A policy was loaded or replaced.
    Policy,
    /// Settings came into force while pgveil ran, or could not.
    Settings,
    /// A database has changed so that the policy does not fit it any more, or fits again.
    Drift,
    /// A result was ended at the row after its export limit.
    ExportStop,
    /// A step of an export request; carries [`Record::export`].
    Export,
    /// A masked column came back as a plain column: the second line of defence stopped the result.
    Violation,
    /// Somebody did something at the console or its API; carries [`Record::person`].
    Console,
    /// A signature over everything before it; carries [`Record::checkpoint`].
    Checkpoint,
    /// An old segment was removed; carries [`Record::tombstone`].
    Retention,
    /// Records could not be written for a time, and are not there; carries [`Record::lost`].
    Lost,
    /// What is on record is out of the ordinary; carries [`Record::alarm`].
    Alarm,
    /// Somebody closed an incident; carries [`Record::person`] and, as the message, which one and why.
    IncidentClosed,
}

impl Event {
    pub const ALL: [Event; 21] = [
        Event::Chain,
        Event::Recovered,
        Event::Start,
        Event::Stop,
        Event::Login,
        Event::LoginFailed,
        Event::Logout,
        Event::Statement,
        Event::Refusal,
        Event::Policy,
        Event::Settings,
        Event::Drift,
        Event::ExportStop,
        Event::Export,
        Event::Violation,
        Event::Console,
        Event::Checkpoint,
        Event::Retention,
        Event::Lost,
        Event::Alarm,
        Event::IncidentClosed,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Event::Chain => "chain",
            Event::Recovered => "recovered",
            Event::Start => "start",
            Event::Stop => "stop",
            Event::Login => "login",
            Event::LoginFailed => "login_failed",
            Event::Logout => "logout",
            Event::Statement => "statement",
            Event::Refusal => "refusal",
            Event::Policy => "policy",
            Event::Settings => "settings",
            Event::Drift => "drift",
            Event::ExportStop => "export_stop",
            Event::Export => "export",
            Event::Violation => "violation",
            Event::Console => "console",
            Event::Checkpoint => "checkpoint",
            Event::Retention => "retention",
            Event::Lost => "lost",
            Event::Alarm => "alarm",
            Event::IncidentClosed => "incident_closed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_of_an_event_is_its_name_in_the_record() {
        for event in Event::ALL {
            let name = serde_json::to_value(event).expect("an event serialises");
            assert_eq!(name, event.label());
        }
    }
}
