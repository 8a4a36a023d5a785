//! A request to take out more than a role may: who asked for what, who has signed, what it allows. Pure: every change is
//! a function of the request, who does it and when, and gives another request or an objection.
//!
//! ```text
//! requested ──► approved ──► granted ──► used
//!     │             │            ├─────► expired, void
//!     └─────────────┴────────────┴─────► rejected, withdrawn     (before its first use)
//! ```
//! Invariants, each held by a test below: a grant has one signature of every group it needs, each of another person,
//! none of them the requester's; it is used no more often than granted; what has ended stays ended.
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

mod asked;
mod objection;
mod state;
#[cfg(test)]
mod tests;

pub use self::asked::{Asked, Column, LimitKind};
pub use self::objection::Objection;
pub use self::state::State;
pub use crate::policy::person::same_person;

use super::store::Seconds;
use crate::policy::person::is_invisible;

/// What a signature grants.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Terms {
    /// Rows at most; as many as the policy lets be granted if absent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rows: Option<u64>,
    /// Classes that leave unmasked.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub clear: BTreeSet<String>,
}

/// Something that happened to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Open,
    /// The person who asked gave a reason.
    Explain,
    Approve,
    Reject,
    Withdraw,
    Use,
    Expire,
    Void,
}

impl Action {
    pub const fn label(self) -> &'static str {
        match self {
            Action::Open => "open",
            Action::Explain => "explain",
            Action::Approve => "approve",
            Action::Reject => "reject",
            Action::Withdraw => "withdraw",
            Action::Use => "use",
            Action::Expire => "expire",
            Action::Void => "void",
        }
    }
}

/// One line of a request's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub at: Seconds,
    pub action: Action,
    /// The person; `pgveil` where time or a policy did it.
    pub by: String,
    /// The group that was signed for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub group: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub comment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub terms: Option<Terms>,
    /// The state after it.
    pub state: State,
}

/// Who does what nobody does.
pub const NOBODY: &str = "pgveil";

/// Characters of a reason or comment that are kept.
pub const MAX_WORDS: usize = 2000;

/// How often a reason can be given anew.
pub const MAX_EXPLAINED: usize = 20;

/// A request and all that has happened to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Eight hexadecimal digits.
    pub id: String,
    pub asked: Asked,
    pub state: State,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
    /// Oldest first.
    pub history: Vec<Step>,
    /// Uses that are left of a grant.
    pub uses_left: u32,
    pub opened: Seconds,
    /// When it ends by itself; of a grant, when that does.
    pub expires: Seconds,
    /// Steps that are on the audit record.
    #[serde(default)]
    pub recorded: usize,
    /// Steps that approvers have been told of.
    #[serde(default)]
    pub notified: usize,
}

/// A person who signs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Approver {
    /// The person, by the name that the policy and the record know.
    pub person: String,
    /// Approver groups the person is in.
    pub groups: BTreeSet<String>,
    /// Other names that may stand for the person: of an account, of database users, in applications.
    pub also: BTreeSet<String>,
}

impl Approver {
    /// Whether a name stands for the person.
    fn is(&self, name: &str) -> bool {
        same_person(name, &self.person) || self.also.iter().any(|also| same_person(name, also))
    }
}

impl Request {
    /// A new request that waits until `expires`.
    pub fn open(
        id: String,
        asked: Asked,
        reason: Option<String>,
        now: Seconds,
        expires: Seconds,
    ) -> Self {
        let mut request = Request {
            id,
            state: State::Requested,
            reason: None,
            history: Vec::new(),
            uses_left: 0,
            opened: now,
            expires,
            recorded: 0,
            notified: 0,
            asked,
        };
        let person = request.asked.person.clone();
        request.reason = words(reason);
        request.step(Action::Open, &person, now);
        if let Some(step) = request.history.last_mut() {
            step.comment.clone_from(&request.reason);
        }
        request
    }

    fn step(&mut self, action: Action, by: &str, at: Seconds) {
        self.history.push(Step {
            at,
            action,
            by: by.to_owned(),
            group: None,
            comment: None,
            terms: None,
            state: self.state,
        });
    }

    /// Signatures so far: group and person.
    pub fn signatures(&self) -> impl Iterator<Item = (&str, &str)> {
        self.history
            .iter()
            .filter(|step| step.action == Action::Approve)
            .filter_map(|step| {
                let group = step.group.as_deref()?;
                Some((group, step.by.as_str()))
            })
    }

    /// Groups that have yet to sign.
    pub fn missing(&self) -> Vec<&str> {
        // A group that is named twice signs once.
        let mut done: BTreeSet<&str> = self.signatures().map(|(group, _)| group).collect();
        self.asked
            .groups
            .iter()
            .map(String::as_str)
            .filter(|group| done.insert(group))
            .collect()
    }

    /// What is granted: no more than the most careful of those who signed allows.
    pub fn granted(&self) -> Terms {
        let mut rows = self.asked.max_rows;
        let mut clear: Option<BTreeSet<String>> = None;
        let signed = self
            .history
            .iter()
            .filter(|step| step.action == Action::Approve);
        for terms in signed.filter_map(|step| step.terms.as_ref()) {
            rows = rows.min(terms.rows.unwrap_or(u64::MAX));
            clear = Some(match clear {
                None => terms.clear.clone(),
                Some(clear) => clear.intersection(&terms.clear).cloned().collect(),
            });
        }
        Terms {
            rows: Some(rows),
            clear: clear.unwrap_or_default(),
        }
    }

    /// Whether the person may sign, and for which group: the one named, or the first missing one that the person is in.
    ///
    /// # Errors
    /// Why not.
    pub fn may_sign<'a>(
        &'a self,
        approver: &Approver,
        group: Option<&str>,
    ) -> Result<&'a str, Objection> {
        if !self.state.is_pending() {
            return Err(Objection::NotPending(self.state));
        }
        self.not_requester(approver)?;
        if self.signatures().any(|(_, by)| approver.is(by)) {
            return Err(Objection::SamePerson(approver.person.clone()));
        }
        let missing = self.missing();
        if let Some(group) = group
            && !missing.contains(&group)
        {
            return Err(Objection::GroupDone(group.to_owned()));
        }
        missing
            .iter()
            .find(|open| {
                group.is_none_or(|group| group == **open) && approver.groups.contains(**open)
            })
            .copied()
            .ok_or_else(|| Objection::NoGroup {
                person: approver.person.clone(),
                groups: missing.join(", "),
            })
    }

    /// A signature for one group.
    ///
    /// # Errors
    /// The person may not sign, or not on these terms.
    pub fn approve(
        &self,
        approver: &Approver,
        group: Option<&str>,
        terms: &Terms,
        comment: Option<String>,
        now: Seconds,
    ) -> Result<Request, Objection> {
        self.in_time(now)?;
        let group = self.may_sign(approver, group)?.to_owned();
        if let Some(class) = terms
            .clear
            .iter()
            .find(|class| !self.asked.may_unmask.contains(class))
        {
            return Err(Objection::Clear(class.clone()));
        }
        match terms.rows {
            Some(0) => return Err(Objection::NoRows),
            Some(rows) if rows > self.asked.max_rows => {
                return Err(Objection::Rows {
                    rows,
                    max: self.asked.max_rows,
                });
            }
            _ => {}
        }
        let mut next = self.clone();
        let complete = next.missing() == [group.as_str()];
        next.state = if complete {
            State::Granted
        } else {
            State::Approved
        };
        next.step(Action::Approve, &approver.person, now);
        if let Some(step) = next.history.last_mut() {
            step.group = Some(group);
            step.terms = Some(terms.clone());
            step.comment = words(comment);
        }
        if complete {
            next.uses_left = next.asked.uses;
            next.expires = now.saturating_add(next.asked.holds);
        }
        Ok(next)
    }

    /// Refuses it, for good. Whoever could sign for one of its groups may, also after it was granted.
    ///
    /// # Errors
    /// It has ended or was used, or the person is in none of its groups, or asked for it.
    pub fn reject(
        &self,
        approver: &Approver,
        comment: Option<String>,
        now: Seconds,
    ) -> Result<Request, Objection> {
        self.before_use(now)?;
        self.not_requester(approver)?;
        let group = self
            .asked
            .groups
            .iter()
            .find(|group| approver.groups.contains(*group));
        let group = group.ok_or_else(|| Objection::NoGroup {
            person: approver.person.clone(),
            groups: self.asked.groups.join(", "),
        })?;
        let mut next = self.clone();
        next.state = State::Rejected;
        next.step(Action::Reject, &approver.person, now);
        if let Some(step) = next.history.last_mut() {
            step.group = Some(group.clone());
            step.comment = words(comment);
        }
        Ok(next)
    }

    /// Takes it back.
    ///
    /// # Errors
    /// It has ended or was used, or somebody else asked for it.
    pub fn withdraw(&self, person: &str, now: Seconds) -> Result<Request, Objection> {
        self.before_use(now)?;
        self.only_requester(person)?;
        let mut next = self.clone();
        next.state = State::Withdrawn;
        next.step(Action::Withdraw, person, now);
        Ok(next)
    }

    /// The reason, while nobody has signed: what was signed stays as it was read.
    ///
    /// # Errors
    /// Somebody has signed, or somebody else asked for it.
    pub fn explain(
        &self,
        person: &str,
        reason: String,
        now: Seconds,
    ) -> Result<Request, Objection> {
        self.in_time(now)?;
        if self.state != State::Requested {
            return Err(Objection::NotPending(self.state));
        }
        self.only_requester(person)?;
        if !self.takes_explanations() {
            return Err(Objection::Explained);
        }
        let mut next = self.clone();
        next.reason = words(Some(reason));
        next.step(Action::Explain, person, now);
        if let Some(step) = next.history.last_mut() {
            step.comment.clone_from(&next.reason);
        }
        Ok(next)
    }

    /// Uses the grant once, for a statement that is the one that was asked for.
    ///
    /// # Errors
    /// There is no grant (any more), or it is for something else.
    pub fn spend(&self, asked: &Asked, now: Seconds) -> Result<Request, Objection> {
        if self.state != State::Granted || self.uses_left == 0 || now >= self.expires {
            return Err(Objection::NotGranted(self.state));
        }
        let bound = [
            ("person", self.asked.person == asked.person),
            ("role", self.asked.role == asked.role),
            ("database", self.asked.database == asked.database),
            ("statement", self.asked.fingerprint == asked.fingerprint),
            ("set of values", self.asked.digest == asked.digest),
            ("policy", self.asked.policy_version == asked.policy_version),
            ("purpose", self.asked.purpose == asked.purpose),
            ("place", self.asked.masked_outside == asked.masked_outside),
        ];
        if let Some((what, _)) = bound.iter().find(|(_, same)| !same) {
            return Err(Objection::Other(what));
        }
        let mut next = self.clone();
        next.uses_left -= 1;
        if next.uses_left == 0 {
            next.state = State::Used;
        }
        next.step(Action::Use, &asked.person, now);
        Ok(next)
    }

    /// What time and a new policy make of it; `None`: nothing.
    pub fn lapse(&self, policy_version: Option<&str>, now: Seconds) -> Option<Request> {
        if self.state.has_ended() {
            return None;
        }
        let (state, action) = match policy_version {
            Some(version) if version != self.asked.policy_version => (State::Void, Action::Void),
            _ if now >= self.expires => (State::Expired, Action::Expire),
            _ => return None,
        };
        let mut next = self.clone();
        next.state = state;
        next.step(action, NOBODY, now);
        Some(next)
    }

    /// Whether its reason can be given (again). A reason is given with every statement that asks: what changes with
    /// each of them must not grow without end.
    pub fn takes_explanations(&self) -> bool {
        let given = |step: &&Step| step.action == Action::Explain;
        self.state == State::Requested && self.history.iter().filter(given).count() < MAX_EXPLAINED
    }

    /// Whether this is the reason it has, as it would be kept.
    pub fn has_reason(&self, reason: &str) -> bool {
        words(Some(reason.to_owned())) == self.reason
    }

    /// What has run out can only lapse.
    fn in_time(&self, now: Seconds) -> Result<(), Objection> {
        if !self.state.has_ended() && now >= self.expires {
            return Err(Objection::Ended(State::Expired));
        }
        Ok(())
    }

    fn not_requester(&self, approver: &Approver) -> Result<(), Objection> {
        if approver.is(&self.asked.person) || approver.is(&self.asked.db_user) {
            return Err(Objection::Requester(approver.person.clone()));
        }
        Ok(())
    }

    fn before_use(&self, now: Seconds) -> Result<(), Objection> {
        self.in_time(now)?;
        let used = self.history.iter().any(|step| step.action == Action::Use);
        if used || self.state.has_ended() {
            Err(Objection::Ended(self.state))
        } else {
            Ok(())
        }
    }

    fn only_requester(&self, person: &str) -> Result<(), Objection> {
        match same_person(&self.asked.person, person) {
            true => Ok(()),
            false => Err(Objection::OnlyRequester(self.asked.person.clone())),
        }
    }
}

/// Somebody's words, cut to a length, without characters that steer a terminal or turn what others read around.
fn words(text: Option<String>) -> Option<String> {
    let text: String = visible(&text?).take(MAX_WORDS).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// What others are shown of a text: nothing that steers a terminal, is not seen, or turns around what stands beside it.
pub fn shown(text: &str) -> String {
    visible(text).collect()
}

fn visible(text: &str) -> impl Iterator<Item = char> {
    let text = text.chars().filter(|c| !is_invisible(*c));
    text.map(|c| if c.is_control() && c != '\n' { ' ' } else { c })
}
