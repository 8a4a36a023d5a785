//! Why something cannot be done to a request.
use super::State;

/// Why something cannot be done to a request. Printed to whoever tries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Objection {
    #[error("the request is {0} and cannot be changed any more")]
    Ended(State),
    #[error("the request is {0}, not waiting for approval")]
    NotPending(State),
    #[error("the request is {0}: there is nothing to use")]
    NotGranted(State),
    #[error("{0} asked for this export and cannot sign it")]
    Requester(String),
    #[error("{0} has signed already; the other groups need another person")]
    SamePerson(String),
    #[error("{person} is in none of the groups that have yet to sign: {groups}")]
    NoGroup { person: String, groups: String },
    #[error("group {0} has signed already, or need not sign")]
    GroupDone(String),
    #[error(
        "class {0} may not be granted unmasked: the policy does not name it under grants.may_unmask"
    )]
    Clear(String),
    #[error("{rows} rows are more than the policy lets be granted ({max})")]
    Rows { rows: u64, max: u64 },
    #[error("a grant of no rows is none; reject the request instead")]
    NoRows,
    #[error("only {0} can do this")]
    OnlyRequester(String),
    #[error("its reason was given too often; withdraw it and ask again")]
    Explained,
    #[error(
        "the request has changed since it was read ({seen} steps then, {steps} now); read it again"
    )]
    Changed { seen: usize, steps: usize },
    #[error("it holds for another {0}")]
    Other(&'static str),
}
