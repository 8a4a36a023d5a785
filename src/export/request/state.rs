//! Where a request stands.
use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nobody has signed yet.
    Requested,
    /// Some of the groups have signed.
    Approved,
    /// All have: the person may run the statement.
    Granted,
    /// Every use that was granted has been made.
    Used,
    /// Its time has run out, before or after it was granted.
    Expired,
    Rejected,
    /// Taken back by the person who asked.
    Withdrawn,
    /// The policy has changed since.
    Void,
}

impl State {
    pub const ALL: [State; 8] = [
        State::Requested,
        State::Approved,
        State::Granted,
        State::Used,
        State::Expired,
        State::Rejected,
        State::Withdrawn,
        State::Void,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            State::Requested => "requested",
            State::Approved => "approved",
            State::Granted => "granted",
            State::Used => "used",
            State::Expired => "expired",
            State::Rejected => "rejected",
            State::Withdrawn => "withdrawn",
            State::Void => "void",
        }
    }

    /// Signatures can still be given.
    pub const fn is_pending(self) -> bool {
        matches!(self, State::Requested | State::Approved)
    }

    /// Nothing can happen to it any more.
    pub const fn has_ended(self) -> bool {
        !matches!(self, State::Requested | State::Approved | State::Granted)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
