//! What the names of prepared statements, portals and cursors stand for at the server, each with the plan it came from.
//!
//! Protocol-level and SQL-level names share one space on the server, for statements (Parse, PREPARE) as for portals
//! (Bind, DECLARE), and so they do here. The maps change only when the server has answered: a Parse that failed
//! leaves nothing.
use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use crate::session::messages::{Name, Target};
use crate::session::portals::{Opened, Portal, Portals};
use crate::session::statements::Statement;
use crate::sql::plan::Effect;
use crate::wire::error::ErrorFields;

/// Names of which it is kept in mind that nothing is known of them.
const MAX_DOUBTFUL: usize = 1_000;

/// SQLSTATEs that PREPARE, DEALLOCATE, CLOSE and DISCARD have when they do nothing: the transaction has failed before, or is
/// one that may not be; the name is given already, or to nothing.
const NOTHING_DONE: &[&str] = &["25P02", "25001", "42P05", "26000", "34000"];

/// Whether an error says that such a statement has done nothing: by its SQLSTATE, or by a place in the text, at which the analysis
/// of what is prepared has failed. A trigger that is deferred may raise any SQLSTATE, when the statement is done; then there is a
/// CONTEXT, and a place in another text.
fn says_nothing_done(fields: &ErrorFields) -> bool {
    (NOTHING_DONE.contains(&fields.sqlstate.as_str()) || fields.position.is_some())
        && fields.context.is_none()
        && fields.internal_query.is_none()
}

/// What a statement that runs another one runs.
#[derive(Debug, Clone)]
pub struct Inner {
    pub statement: Statement,
    /// The cursor whose rows it continues.
    pub cursor: Option<Opened>,
}

#[derive(Debug, Default)]
pub struct Names {
    prepared: HashMap<Name, Statement, RandomState>,
    /// PREPARE or DEALLOCATE of them has failed, and may have been carried out all the same.
    doubtful: HashSet<Name, RandomState>,
    pub portals: Portals,
}

impl Names {
    pub fn prepared(&self, name: &Name) -> Option<&Statement> {
        self.prepared.get(name)
    }

    /// Whether a statement of that name is there cannot be told.
    pub fn is_doubtful(&self, name: &Name) -> bool {
        self.doubtful.contains(name)
    }

    pub fn portal(&self, name: &Name) -> Option<&Portal> {
        self.portals.get(name)
    }

    pub fn prepare(&mut self, name: Name, statement: Statement) {
        self.doubtful.remove(&name);
        self.prepared.insert(name, statement);
    }

    pub fn bind(&mut self, portal: Name, statement: Statement) {
        let inner = self.inner(&statement);
        self.portals.bind(portal, statement, inner.as_ref());
    }

    /// A Parse of the unnamed statement drops the one before even if it fails (`drop_unnamed_stmt`).
    pub fn begin_parse(&mut self, name: &Name) {
        if name.is_unnamed() {
            self.prepared.remove(name);
        }
    }

    /// A Query drops the unnamed statement and takes the place of the unnamed portal (`exec_simple_query`).
    pub fn drop_unnamed(&mut self) {
        let unnamed = Name::new(b"");
        self.prepared.remove(&unnamed);
        self.portals.close(&unnamed);
    }

    pub fn close(&mut self, target: &Target) {
        match target {
            Target::Statement(name) => self.deallocate(name),
            Target::Portal(name) => self.portals.close(name),
        }
    }

    /// Nothing is prepared by the name any more.
    pub fn deallocate(&mut self, name: &Name) {
        self.prepared.remove(name);
        self.doubtful.remove(name);
    }

    /// The statement that EXECUTE or FETCH runs. A name that is not known is resolved to a statement about which
    /// nothing is known.
    pub fn inner(&self, statement: &Statement) -> Option<Inner> {
        statement.effects().iter().find_map(|effect| match effect {
            Effect::Execute(name) => Some(Inner {
                statement: self
                    .prepared
                    .get(&name.as_str().into())
                    .map_or_else(Statement::unknown, Statement::clone),
                cursor: None,
            }),
            Effect::Fetch(name) => {
                let name = Name::from(name.as_str());
                Some(Inner {
                    statement: self
                        .portals
                        .get(&name)
                        .map_or_else(Statement::unknown, |portal| portal.statement.clone()),
                    cursor: Some(self.portals.opened(&name)),
                })
            }
            _ => None,
        })
    }

    /// What EXECUTE or FETCH in a portal runs, or has run.
    pub fn inner_of(&self, portal: Option<&Name>, statement: &Statement) -> Option<Inner> {
        let portal = portal.and_then(|name| self.portals.get(name));
        let ran = portal.and_then(|portal| portal.ran.clone());
        ran.or_else(|| self.inner(statement))
    }

    /// A statement has failed, by the commit of its transaction perhaps, which comes before CommandComplete for the last
    /// statement of a text (`exec_simple_query`, tcop/postgres.c). PREPARE and DEALLOCATE have been carried out then, and no
    /// transaction takes that back: what a name stands for is not known, unless the error says that they were not.
    pub fn failed(&mut self, statement: &Statement, error: &ErrorFields) {
        if says_nothing_done(error) {
            return;
        }
        self.portals.take_closed(statement, None);
        for effect in statement.effects() {
            match effect {
                Effect::Prepare(name) | Effect::Deallocate(Some(name)) => {
                    let name = Name::from(name.as_str());
                    self.prepared.remove(&name);
                    self.doubt(name);
                }
                // DISCARD ALL may fail over the temporary tables, which come last (`DiscardAll`, commands/discard.c).
                Effect::Deallocate(None) => {
                    let named = self.prepared.extract_if(|name, _| !name.is_unnamed());
                    let named: Vec<Name> = named.map(|(name, _)| name).collect();
                    named.into_iter().for_each(|name| self.doubt(name));
                }
                _ => {}
            }
        }
    }

    fn doubt(&mut self, name: Name) {
        if self.doubtful.len() < MAX_DOUBTFUL {
            self.doubtful.insert(name);
        }
    }

    /// Follows what a statement that has completed did to names. `within`: the portal that it ran in.
    pub fn completed(&mut self, statement: &Statement, within: Option<&Name>) {
        for effect in statement.effects() {
            match effect {
                Effect::Prepare(name) => self.prepare(name.as_str().into(), statement.clone()),
                Effect::Deallocate(Some(name)) => self.deallocate(&name.as_str().into()),
                // The unnamed one is none of those (`DropAllPreparedStatements`, commands/prepare.c).
                Effect::Deallocate(None) => {
                    self.prepared.retain(|name, _| name.is_unnamed());
                    self.doubtful.clear();
                }
                Effect::DeclareCursor { .. }
                | Effect::CloseCursor(_)
                | Effect::Savepoint(_)
                | Effect::Release(_)
                | Effect::RollbackTo(_)
                | Effect::SettingsChanged
                | Effect::SearchPath(_)
                | Effect::NamesSetting { .. }
                | Effect::TemporaryMade(_)
                | Effect::TemporaryGone(_)
                | Effect::StoresRows
                | Effect::StoresElsewhere
                | Effect::Tries(_)
                | Effect::DrawsNumbers
                | Effect::GivesBack
                | Effect::CopiesHeader
                | Effect::RunsCode
                | Effect::Reason(_)
                | Effect::Execute(_)
                | Effect::Explain(_)
                | Effect::Fetch(_)
                | Effect::SchemaChanged => {}
            }
        }
        self.portals.completed(statement, within);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_at_a_place_in_the_text_says_that_nothing_was_done() {
        let at = |sqlstate: &str, position, context: Option<&str>| {
            says_nothing_done(&ErrorFields {
                position,
                context: context.map(str::to_owned),
                ..ErrorFields::error(sqlstate, "words")
            })
        };
        assert!(at("42803", Some(20), None));
        assert!(at("42P05", None, None));
        assert!(!at("42803", None, None));
        assert!(!at(
            "42803",
            Some(20),
            Some("SQL function \"f\" statement 1")
        ));
        assert!(!at(
            "42P05",
            None,
            Some("PL/pgSQL function f() line 1 at RAISE")
        ));
    }
}
