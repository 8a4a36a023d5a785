//! What one recorded statement meets under another policy.
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::audit::entry::Entry;
use crate::cli::bench::{Bench, gathered, refusal};
use crate::policy::{Caller, Certificate, ExportRule, PolicySet, Regime, RolePolicy, RoleRule};
use crate::session::asker::names_nothing;
use crate::sql::lex::{self, Kind};
use crate::sql::plan::{Plan, Reason, SessionFacts, names_settings};

/// People whose facts are kept at a time.
const MAX_FACTS: usize = 10_000;

/// Why nobody can tell what `set_config` would meet.
const UNNAMED: &str = "which setting it sets is not on record";

/// Ends a text that was too long to be recorded whole.
const CUT: char = '…';

/// What becomes of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// No role is the session's: it would not get in.
    TurnedAway,
    Refused {
        reason: &'static str,
        message: String,
        hint: String,
    },
    Runs {
        masked: Vec<String>,
        /// Relations that it reads and of which the role sees some rows alone.
        ruled: Vec<String>,
        /// Its rows count towards the role's export limits.
        counted: bool,
    },
    /// Why it cannot be told.
    Untold(&'static str),
}

/// Who a statement is somebody's by the other policy. Of the people behind a database user each may be somebody else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Standing {
    /// Its name, and the regions whose rows are masked for the session.
    Role(Arc<str>, u32),
    /// The session gets in, and nobody in it has a role who is not named.
    Nobody,
    /// The session would not get in.
    TurnedAway,
    /// Why it cannot be told.
    Untold(&'static str),
}

/// A statement under the other policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meets {
    /// The role that the policy gives the session.
    pub role: Option<Arc<str>>,
    pub fate: Fate,
}

/// How that differs from what was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    TurnedAway,
    Refused,
    Masked,
    Clear,
    Stopped,
    Allowed,
    Untold,
    None,
}

impl Change {
    pub const ALL: [Change; 7] = [
        Change::TurnedAway,
        Change::Refused,
        Change::Masked,
        Change::Clear,
        Change::Stopped,
        Change::Allowed,
        Change::Untold,
    ];

    pub const fn label(self) -> &'static str {
        match self {
            Change::TurnedAway => "turned_away",
            Change::Refused => "refused",
            Change::Masked => "masked",
            Change::Clear => "clear",
            Change::Stopped => "stopped",
            Change::Allowed => "allowed",
            Change::Untold => "untold",
            Change::None => "none",
        }
    }
}

/// Decides about recorded statements.
pub struct Judge<'a> {
    bench: &'a Bench,
    search_path: Option<&'a str>,
    /// Roles on trial as if they were in force.
    enforced: bool,
    facts: HashMap<(String, String), Arc<SessionFacts>>,
}

/// Who asked, as far as it is on record. The groups of a token are not.
fn caller(entry: &Entry, policy: &PolicySet) -> Caller {
    let db_user = entry.db_user.as_deref().unwrap_or_default();
    let person = entry.app_user.as_deref().or(entry.person.as_deref());
    let subject = entry.tls.as_ref().and_then(|tls| tls.subject.clone());
    Caller {
        db_user: entry.db_user.clone().unwrap_or_default(),
        database: entry.database.clone().unwrap_or_default(),
        address: address(entry).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        certificate: subject.map(|subject| Certificate {
            common_name: None,
            subject,
        }),
        application_name: entry.application_name.clone().unwrap_or_default(),
        token: policy.token_of(db_user, person, None),
    }
}

fn address(entry: &Entry) -> Option<IpAddr> {
    entry.client_addr.map(|address| address.ip())
}

/// What runs whoever is asking.
fn names_nobody(entry: &Entry) -> bool {
    entry.kind.as_deref().is_some_and(names_nothing)
        || (entry.reads.is_empty()
            && entry.writes.is_empty()
            && entry.text.as_deref().is_some_and(sets))
}

/// Gives a setting a value by `set_config`, and does nothing else at first.
fn sets(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let called = text.strip_prefix("select ").unwrap_or_default();
    let called = called.strip_prefix("pg_catalog.").unwrap_or(called);
    called.starts_with("set_config(")
}

fn nobody() -> Fate {
    Fate::Refused {
        reason: Reason::Identity.label(),
        message: "the policy has no role for who is named, or nobody is".to_owned(),
        hint: "Name the user, or a group of the user's, in a role of the policy.".to_owned(),
    }
}

impl Fate {
    /// As it is, under no rule.
    const fn runs() -> Self {
        Fate::Runs {
            masked: Vec::new(),
            ruled: Vec::new(),
            counted: false,
        }
    }
}

impl<'a> Judge<'a> {
    pub fn new(bench: &'a Bench, search_path: Option<&'a str>, enforced: bool) -> Self {
        Judge {
            bench,
            search_path,
            enforced,
            facts: HashMap::new(),
        }
    }

    pub fn database(&self) -> &str {
        &self.bench.catalog.database
    }

    /// The export limits that a statement's rows count towards.
    pub fn limits(&self, meets: &Meets) -> Option<Arc<ExportRule>> {
        let Fate::Runs { counted: true, .. } = meets.fate else {
            return None;
        };
        let role = self.bench.find(meets.role.as_deref()?, None, None)?;
        role.export.limits().then(|| Arc::clone(&role.export))
    }

    pub fn standing(&self, entry: &Entry) -> Standing {
        let policy = &self.bench.policy;
        let caller = caller(entry, policy);
        let Ok(role) = self.bench.matched(&caller, entry.app_user.as_deref()) else {
            return Standing::Untold(
                "its role depends on the policy's `directory`, or on the groups of a token",
            );
        };
        // As at the door and in the session: of people who share a user, whoever is analysed has a role.
        let is_shared = policy.application(&caller.db_user).is_some();
        match role {
            Some(role) if !is_shared || role.restricted() => Standing::Role(
                Arc::clone(&role.name),
                policy.masked_outside(address(entry)),
            ),
            _ if is_shared && policy.could_match(&caller) => Standing::Nobody,
            _ => Standing::TurnedAway,
        }
    }

    pub async fn meets(&mut self, entry: &Entry, standing: &Standing) -> Meets {
        let (role, fate) = match standing {
            Standing::Untold(why) => (None, Fate::Untold(why)),
            Standing::TurnedAway => (None, Fate::TurnedAway),
            Standing::Nobody if names_nobody(entry) => (None, Fate::runs()),
            Standing::Nobody => (None, nobody()),
            Standing::Role(name, _) => (Some(name), self.under(entry, name).await),
        };
        Meets {
            role: role.cloned(),
            fate,
        }
    }

    async fn under(&mut self, entry: &Entry, name: &str) -> Fate {
        let Some(role) = self
            .bench
            .find(name, entry.purpose.as_deref(), address(entry))
        else {
            return Fate::TurnedAway;
        };
        let regime = self.bench.policy.role(name).map(RoleRule::regime);
        if regime == Some(Regime::Trial) && !self.enforced {
            return Fate::runs();
        }
        let role = Arc::clone(role);
        let db_user = entry.db_user.as_deref().unwrap_or_default();
        self.fate(entry, db_user, &role).await
    }

    async fn fate(&mut self, entry: &Entry, db_user: &str, role: &Arc<RolePolicy>) -> Fate {
        let Some(text) = entry.text.as_deref().filter(|text| !text.is_empty()) else {
            return Fate::Untold("its text is not on record");
        };
        if text.ends_with(CUT) {
            return Fate::Untold("its text was too long to be recorded whole");
        }
        if matches!(entry.kind.as_deref(), Some("EXECUTE" | "FETCH" | "MOVE")) {
            return Fate::Untold(
                "it runs a statement that is looked at where it was prepared or declared",
            );
        }
        let person = entry.actor().unwrap_or(db_user);
        let facts = self.facts(db_user, person);
        let mut plan = self.bench.plan(role, &facts, text).await;
        if is_syntax(&plan) {
            // Where the grammar takes no parameter, a literal stood.
            for literal in ["'1'", "1", "x"] {
                let Some(filled) = filled(text, literal) else {
                    break;
                };
                let tried = self.bench.plan(role, &facts, &filled).await;
                if !is_syntax(&tried) {
                    plan = tried;
                    break;
                }
            }
        }
        self.told(&plan, entry, role)
    }

    fn told(&self, plan: &Plan, entry: &Entry, role: &RolePolicy) -> Fate {
        let was_refused = entry.verdict.as_deref() == Some("refuse");
        let mut statements = plan.statements.iter();
        let names_later = statements.any(|plan| names_settings(&plan.effects));
        match refusal(plan) {
            // Where there was a name on record, there is a parameter now, which nobody will bind.
            None if names_later => Fate::Untold(UNNAMED),
            Some(refusal) if refusal.reason == Reason::Syntax && !was_refused => {
                Fate::Untold("without its literals it cannot be read")
            }
            Some(refusal) if refusal.reason == Reason::Undefined && !was_refused => Fate::Untold(
                "it names what the catalog does not know: something temporary, dropped since, or on another search_path",
            ),
            // A name that is not literal is refused, and did not run.
            Some(refusal)
                if refusal.reason == Reason::Setting
                    && !was_refused
                    && entry.text.as_deref().is_some_and(sets) =>
            {
                Fate::Untold(UNNAMED)
            }
            Some(refusal) => Fate::Refused {
                reason: refusal.reason.label(),
                message: refusal.message.clone(),
                hint: refusal.hint.clone(),
            },
            None => {
                let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
                let read = gathered(plan, |plan| &plan.reads);
                let ruled = read
                    .iter()
                    .copied()
                    .filter(|name| self.is_ruled(role, name));
                let protected = plan.statements.iter().any(|plan| plan.protected);
                Fate::Runs {
                    masked: owned(gathered(plan, |plan| &plan.masked)),
                    ruled: owned(ruled.collect()),
                    counted: protected || role.export.counts_all,
                }
            }
        }
    }

    fn is_ruled(&self, role: &RolePolicy, name: &str) -> bool {
        let relation = name
            .split_once('.')
            .and_then(|(schema, name)| self.bench.catalog.relation(schema, name));
        relation.is_some_and(|relation| role.rows.contains_key(&relation.oid))
    }

    fn facts(&mut self, db_user: &str, person: &str) -> Arc<SessionFacts> {
        let key = (db_user.to_owned(), person.to_owned());
        if let Some(known) = self.facts.get(&key) {
            return Arc::clone(known);
        }
        if self.facts.len() >= MAX_FACTS {
            self.facts.clear();
        }
        let facts = Arc::new(self.bench.facts(db_user, person, None, self.search_path));
        self.facts.insert(key, Arc::clone(&facts));
        facts
    }
}

fn is_syntax(plan: &Plan) -> bool {
    refusal(plan).is_some_and(|refusal| refusal.reason == Reason::Syntax)
}

/// The text with a literal in the place of each parameter.
fn filled(text: &str, literal: &str) -> Option<String> {
    let tokens = lex::tokens(text).ok()?;
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    for token in tokens.iter().filter(|token| token.kind == Kind::Param) {
        out.push_str(text.get(end..token.span.start)?);
        out.push_str(literal);
        end = token.span.end;
    }
    out.push_str(text.get(end..)?);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_go_where_the_record_has_placeholders() {
        let text = "SELECT interval $1, \"$2\" FROM t WHERE a = $10";
        assert_eq!(
            filled(text, "'1'").as_deref(),
            Some("SELECT interval '1', \"$2\" FROM t WHERE a = '1'")
        );
    }
}
