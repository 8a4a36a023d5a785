//! Which temporary relations the session's own statements have made. What a function or trigger made is not the session's
//! to read: stored values may be in it. What happens to names is followed statement by statement, as answers come: a
//! statement that failed has made nothing, and the end of a transaction takes back what was made in it. What a name stands
//! for is known by its OID once the server has been asked: code of users' may have put another relation in its place.
use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::Oid;
use crate::sql::plan::{Effect, StatementPlan, takes_back_a_part};

/// Names that are kept in mind at most; those beyond cannot be read.
const MAX_MADE: usize = 10_000;
/// Savepoints that are kept apart; those beyond count as the last one.
const MAX_MARKS: usize = 100;

/// Relations by name, with their OID where the server has told it.
type Names = BTreeMap<String, Option<Oid>>;

#[derive(Debug, Default)]
pub struct Made {
    names: Names,
    /// As they were when the last transaction ended.
    settled: Names,
    /// As they were at the savepoints of the transaction.
    marks: Vec<Names>,
    /// Those that COMMIT drops.
    passing: BTreeSet<String>,
    /// A statement failed since the server was last ready.
    failed: bool,
    /// Code of users' has run in the transaction. What of it is deferred runs when the transaction is committed.
    code: bool,
}

impl Made {
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.settled.is_empty() && self.marks.is_empty()
    }

    /// Whether the relation that the server has under that name is the session's own.
    pub fn meets(&mut self, name: &str, oid: Oid) -> bool {
        match self.names.get(name) {
            None => return false,
            Some(Some(known)) if *known == oid => return true,
            Some(Some(_)) => {
                self.forget(name);
                return false;
            }
            Some(None) => {}
        }
        let sets = self.marks.iter_mut();
        for names in sets.chain([&mut self.names, &mut self.settled]) {
            if let Some(known @ None) = names.get_mut(name) {
                *known = Some(oid);
            }
        }
        true
    }

    /// Code of users' has run. A relation that the server has not been asked about since it was made may be another now.
    pub fn code_ran(&mut self) {
        let unknown: Vec<String> = self
            .names
            .iter()
            .filter(|(_, known)| known.is_none())
            .map(|(name, _)| name.clone())
            .collect();
        for name in unknown {
            self.forget(&name);
        }
    }

    /// A statement has run well; `tag` is the server's. `code`: of users' has run with it.
    pub fn follow(&mut self, plan: &StatementPlan, tag: &str, code: bool) {
        match tag {
            // Also what COMMIT of a failed transaction is answered by.
            "ROLLBACK" if takes_back_a_part(&plan.effects) => self.names = self.at_all_marks(),
            "ROLLBACK" => self.take_back(),
            "COMMIT" => self.settle(),
            "SAVEPOINT" => self.mark(),
            _ => {
                if code {
                    self.code_ran();
                    self.code = true;
                }
                self.take_effects(plan);
            }
        }
    }

    pub fn failed(&mut self) {
        self.failed = true;
    }

    /// ReadyForQuery, with its status: outside of a transaction everything is committed, or undone if something failed.
    pub fn ready(&mut self, status: u8) {
        if status == b'I' {
            match self.failed {
                true => self.take_back(),
                false => self.settle(),
            }
        }
        self.failed = false;
    }

    /// Outside of a transaction the server knows no others: what is gone cannot come back.
    pub fn retain(&mut self, listed: &BTreeSet<&String>) {
        self.names.retain(|name, _| listed.contains(name));
        self.settled.retain(|name, _| listed.contains(name));
    }

    /// The name is not to be read any more.
    pub fn forget(&mut self, name: &str) {
        let sets = self.marks.iter_mut();
        for names in sets.chain([&mut self.names, &mut self.settled]) {
            names.remove(name);
        }
    }

    /// None of them is to be read any more.
    pub fn forget_all(&mut self) {
        let sets = self.marks.iter_mut();
        sets.chain([&mut self.names, &mut self.settled])
            .for_each(Names::clear);
    }

    fn settle(&mut self) {
        if std::mem::take(&mut self.code) {
            self.code_ran();
        }
        let passing = std::mem::take(&mut self.passing);
        self.names.retain(|name, _| !passing.contains(name));
        self.settled.clone_from(&self.names);
        self.marks.clear();
    }

    fn take_back(&mut self) {
        self.names.clone_from(&self.settled);
        self.marks.clear();
        self.passing.clear();
        self.code = false;
    }

    fn mark(&mut self) {
        if self.marks.len() < MAX_MARKS {
            self.marks.push(self.names.clone());
        } else if let Some(last) = self.marks.last_mut() {
            last.retain(|name, _| self.names.contains_key(name));
        }
    }

    /// What was there at every savepoint, whichever of them is gone back to.
    fn at_all_marks(&self) -> Names {
        let Some((first, rest)) = self.marks.split_first() else {
            return self.settled.clone();
        };
        let mut names = first.clone();
        names.retain(|name, known| rest.iter().all(|mark| mark.get(name) == Some(known)));
        names
    }

    fn take_effects(&mut self, plan: &StatementPlan) {
        let passing = plan.normalised.to_ascii_lowercase();
        let passing = passing.contains("on commit drop");
        // A renamed relation is as much the session's own as it was before.
        let mut own = true;
        for effect in &plan.effects {
            match effect {
                Effect::TemporaryMade(name) if own && self.names.len() < MAX_MADE => {
                    self.names.insert(name.clone(), None);
                    if passing {
                        self.passing.insert(name.clone());
                    }
                }
                Effect::TemporaryGone(Some(name)) => {
                    own = self.names.remove(name).is_some() && own;
                    if self.passing.remove(name) && plan.kind == RENAME {
                        // It is dropped under its new name.
                        own = false;
                    }
                }
                Effect::TemporaryGone(None) => self.names.clear(),
                _ => {}
            }
        }
    }
}

const RENAME: &str = "ALTER ... RENAME";

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(kind: &'static str, text: &str, effects: &[Effect]) -> StatementPlan {
        let mut plan = StatementPlan::passing(kind, (text.to_owned(), String::new()), (0, 0));
        plan.effects = effects.to_vec();
        plan
    }

    /// `+t` makes a table, `+t!` one that COMMIT drops, `-t` drops one, `t>u` renames one, `x` fails, `I` and `T` are
    /// ReadyForQuery, other words are commands of transactions.
    fn after(script: &str) -> String {
        let mut made = Made::default();
        for word in script.split_whitespace() {
            match word {
                "x" => made.failed(),
                "I" | "T" | "E" => made.ready(word.as_bytes()[0]),
                "COMMIT" | "SAVEPOINT" => made.follow(&plan("SAVEPOINT", word, &[]), word, false),
                "ROLLBACK" => made.follow(&plan("ROLLBACK", word, &[]), word, false),
                "ROLLBACK_TO_a" => {
                    let partial = [Effect::RollbackTo("a".to_owned())];
                    made.follow(&plan("ROLLBACK", word, &partial), "ROLLBACK", false);
                }
                _ => {
                    let name = |text: &str| text.trim_matches(['+', '-', '!']).to_owned();
                    let (kind, effects) = match word.split_once('>') {
                        Some((old, new)) => (
                            RENAME,
                            vec![
                                Effect::TemporaryGone(Some(name(old))),
                                Effect::TemporaryMade(name(new)),
                            ],
                        ),
                        None if word.starts_with('+') => {
                            ("CREATE TABLE", vec![Effect::TemporaryMade(name(word))])
                        }
                        None => ("DROP", vec![Effect::TemporaryGone(Some(name(word)))]),
                    };
                    let text = match word.ends_with('!') {
                        true => "CREATE TEMP TABLE t (a int) ON COMMIT DROP",
                        false => word,
                    };
                    made.follow(&plan(kind, text, &effects), kind, false);
                }
            }
        }
        made.names.into_keys().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn another_relation_under_a_name_is_not_the_sessions_own() {
        let made = |name: &str| {
            plan(
                "CREATE TABLE",
                "",
                &[Effect::TemporaryMade(name.to_owned())],
            )
        };
        let mut known = Made::default();
        known.follow(&made("t"), "CREATE TABLE", false);
        known.ready(b'I');
        assert!(known.meets("t", 7) && known.meets("t", 7));
        known.follow(&plan("INSERT", "", &[Effect::RunsCode]), "INSERT 0 1", true);
        assert!(known.meets("t", 7), "it was asked about before");
        assert!(!known.meets("t", 8), "a trigger made it anew");
        assert!(!known.meets("t", 7), "and it stays so");

        known.follow(&made("u"), "CREATE TABLE", false);
        known.follow(&plan("INSERT", "", &[Effect::RunsCode]), "INSERT 0 1", true);
        assert!(!known.meets("u", 9), "it cannot be told");
        assert!(!known.meets("v", 9), "nor what was never made");
    }

    /// A deferred trigger runs when the transaction is committed.
    #[test]
    fn what_was_made_behind_code_of_users_may_be_another_once_it_is_committed() {
        let insert = plan("INSERT", "", &[Effect::RunsCode]);
        let make = plan("CREATE TABLE", "", &[Effect::TemporaryMade("t".to_owned())]);
        for commits in [true, false] {
            let mut made = Made::default();
            made.follow(&insert, "INSERT 0 1", true);
            made.follow(&make, "CREATE TABLE", false);
            match commits {
                true => made.follow(&plan("COMMIT", "", &[]), "COMMIT", false),
                false => made.ready(b'I'),
            }
            assert!(!made.meets("t", 7), "it has not been asked about");
        }
        let mut made = Made::default();
        made.follow(&insert, "INSERT 0 1", true);
        made.follow(&make, "CREATE TABLE", false);
        made.ready(b'T');
        assert!(made.meets("t", 7));
        made.follow(&plan("COMMIT", "", &[]), "COMMIT", false);
        assert!(made.meets("t", 7) && !made.meets("t", 8));
        made.follow(
            &plan("DROP", "", &[Effect::TemporaryGone(Some("t".to_owned()))]),
            "DROP TABLE",
            false,
        );
        made.follow(&make, "CREATE TABLE", false);
        made.ready(b'I');
        assert!(made.meets("t", 9), "no code has run in this transaction");
    }

    #[test]
    fn names_are_the_sessions_own_for_as_long_as_what_it_made_is_there() {
        for (script, expected) in [
            ("+t I", "t"),
            ("+t I -t I", ""),
            ("x I", ""),
            ("+t x I", ""),
            ("+t I T +u ROLLBACK I", "t"),
            ("+t I T -t ROLLBACK I", "t"),
            ("T +t SAVEPOINT +u ROLLBACK_TO_a T", "t"),
            ("T SAVEPOINT +u SAVEPOINT ROLLBACK_TO_a T", ""),
            ("T +t x E ROLLBACK I", ""),
            ("T +t COMMIT I", "t"),
            ("T +t! COMMIT", ""),
            ("+t! I", ""),
            ("+t COMMIT +u x I", "t"),
            ("+t I -t COMMIT x I", ""),
            ("+t ROLLBACK I", ""),
            ("+t I t>u I", "u"),
            ("t>u I", ""),
            ("T +t! t>u", ""),
        ] {
            assert_eq!(after(script), expected, "{script}");
        }
    }
}
