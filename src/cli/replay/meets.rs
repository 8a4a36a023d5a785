//! What one recorded statement meets under another policy.
use std::collections::HashMap;
use std::sync::Arc;

use crate::audit::entry::Entry;
use crate::cli::bench::{Bench, gathered, refusal};
use crate::policy::{ExportRule, RolePolicy};
use crate::sql::lex::{self, Kind};
use crate::sql::plan::{Plan, Reason, SessionFacts};

/// People whose facts are kept at a time.
const MAX_FACTS: usize = 10_000;
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
    facts: HashMap<(String, String), Arc<SessionFacts>>,
}

impl<'a> Judge<'a> {
    pub fn new(bench: &'a Bench, search_path: Option<&'a str>) -> Self {
        Judge {
            bench,
            search_path,
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
        let role = self.bench.find(meets.role.as_deref()?)?;
        role.export.limits().then(|| Arc::clone(&role.export))
    }

    pub async fn meets(&mut self, entry: &Entry) -> Meets {
        let db_user = entry.db_user.as_deref().unwrap_or_default();
        let rule = self.bench.policy.match_role(db_user);
        let role = rule.map(|rule| Arc::clone(&rule.name));
        let Some(policy) = role.as_deref().and_then(|name| self.bench.find(name)) else {
            return Meets {
                role: None,
                fate: Fate::TurnedAway,
            };
        };
        let policy = Arc::clone(policy);
        Meets {
            fate: self.fate(entry, db_user, &policy).await,
            role,
        }
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
        match refusal(plan) {
            Some(refusal) if refusal.reason == Reason::Syntax && !was_refused => {
                Fate::Untold("without its literals it cannot be read")
            }
            Some(refusal) if refusal.reason == Reason::Undefined && !was_refused => Fate::Untold(
                "it names what the catalog does not know: something temporary, dropped since, or on another search_path",
            ),
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
        let facts = Arc::new(self.bench.facts(db_user, person, self.search_path));
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
