//! What the server says without being asked: notifications, and settings that it reports.
use bytes::{BufMut, BytesMut};

use super::{Flow, ToClient, end};
use crate::session::host::Host;
use crate::session::shared::State;
use crate::wire::error::ErrorFields;
use crate::wire::frame::{Fields, HELD_FRAME, Header, put_frame};

/// Word in `statements.allow` of a role that may read the payloads of notifications.
const NOTIFY_PAYLOAD: &str = "notify_payload";

/// Parameters that PostgreSQL reports (`GUC_REPORT` in guc_tables.c); each is a setting of the session or of the server.
/// What an extension reports besides may be anything.
const REPORTED: &[&str] = &[
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "application_name",
    "client_encoding",
    "default_transaction_read_only",
    "in_hot_standby",
    "integer_datetimes",
    "is_superuser",
    "scram_iterations",
    "search_path",
    "server_encoding",
    "server_version",
    "session_authorization",
    "standard_conforming_strings",
];

impl<H: Host> ToClient<'_, H> {
    /// A payload may hold anything: what a trigger sends of a row, to whoever listens. A restricted session is told that
    /// there was a notification, on a channel whose name it knows, and not what it says.
    pub(super) fn notification(&mut self, state: &State, header: Header) -> Flow {
        // Who of many it would be for is not known.
        let is_shown = !state.naming.is_shared() && state.role.statements.contains(NOTIFY_PAYLOAD);
        if !state.restricted || is_shown {
            self.burst.forward(header);
            return Flow::Next;
        }
        let Some(body) = self.burst.body(header) else {
            return Flow::Wait;
        };
        let mut fields = Fields::new(body);
        let mut empty = BytesMut::new();
        if let (Ok(backend), Ok(channel)) = (fields.int32(), fields.string()) {
            empty.put_i32(backend);
            empty.put_slice(channel);
            empty.put_slice(&[0, 0]);
            let mut notification = BytesMut::new();
            put_frame(&mut notification, header.tag, &empty);
            self.burst.put(&notification);
        }
        self.burst.discard(header);
        Flow::Next
    }

    pub(super) fn parameter(&mut self, state: &mut State, header: Header) -> Flow {
        let Some(body) = self.burst.body(header) else {
            if state.restricted && header.length <= HELD_FRAME {
                return Flow::Wait;
            }
            self.burst.forward(header);
            return Flow::Next;
        };
        let mut fields = Fields::new(body);
        if let (Ok(name), Ok(value)) = (fields.string(), fields.string()) {
            let value = String::from_utf8_lossy(value);
            if state.restricted && !is_reported(name) {
                tracing::debug!(name = %String::from_utf8_lossy(name), "a ParameterStatus is left out");
                self.burst.discard(header);
                return Flow::Next;
            }
            match name {
                b"client_encoding" => state.encodings.client = value.into_owned(),
                // From version 18 on: a reload of the server's configuration changes it without a statement.
                b"search_path" => state.dirty |= *value != state.facts.search_path,
                b"standard_conforming_strings" if value != "on" && state.restricted => {
                    return end(strings_do_not_conform());
                }
                _ => {}
            }
        }
        self.burst.forward(header);
        Flow::Next
    }
}

/// Whether a restricted session is told of a parameter.
pub fn is_reported(name: &[u8]) -> bool {
    REPORTED.iter().any(|known| known.as_bytes() == name)
}

/// Literals would be read otherwise by the server than by pgveil.
pub fn strings_do_not_conform() -> ErrorFields {
    ErrorFields::fatal(
        "42501",
        "pgveil: standard_conforming_strings must be on for this role",
    )
    .with_hint("Remove the setting from the connection's options, the role and the database.")
}
