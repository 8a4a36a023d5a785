//! Who a statement is for by the policy in force: the role, the person, and what row rules know of them.
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use crate::export::Purse;
use crate::sql::template::SessionValues;

/// Who a statement is run for.
#[derive(Debug)]
pub struct Asker {
    /// `None`: nobody who has a role. Only what names nothing may run.
    pub role: Option<Arc<str>>,
    /// Whose rows are counted, and who may be granted more.
    pub person: Arc<str>,
    /// The application's user.
    pub app_user: Option<Arc<str>>,
    /// What the statement is for.
    pub purpose: Option<Arc<str>>,
    /// What row rules name.
    pub values: Arc<SessionValues>,
    /// Regions that the session does not come from, and the relations that have rows of theirs.
    pub outside: Arc<[(Arc<str>, Vec<String>)]>,
    /// Those of them whose rows are masked for the session ([`crate::policy::PolicySet::masked_outside`]).
    pub masked_outside: u32,
    /// Where people share the database user: what this one has in hand.
    pub purse: Option<Arc<Purse>>,
    /// `values` is all that is known of them: the directory, if there is one, could be read.
    pub is_known: bool,
    /// Others of the session are somebody else.
    pub is_one_of_many: bool,
    /// Of all that says whose rights they have, once somebody has asked.
    pub key: OnceLock<u64>,
}

impl Asker {
    /// Differs between two that differ in whose rights they have.
    pub fn key(&self) -> u64 {
        *self.key.get_or_init(|| {
            let mut hasher = DefaultHasher::new();
            self.role.hash(&mut hasher);
            self.person.hash(&mut hasher);
            self.app_user.hash(&mut hasher);
            self.purpose.hash(&mut hasher);
            self.values.hash(&mut hasher);
            hasher.finish()
        })
    }
}

/// Statements that name nothing of the database: they run for whoever is asking, for they are how a session comes to say
/// who that is. FETCH gives rows, and EXECUTE runs what was decided on for somebody.
pub fn names_nothing(kind: &str) -> bool {
    const NAMELESS: &[&str] = &[
        "BEGIN",
        "START TRANSACTION",
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT",
        "RELEASE",
        "SET",
        "RESET",
        "SHOW",
        "DISCARD",
        "DISCARD ALL",
        "DEALLOCATE",
        "CLOSE",
        "UNLISTEN",
    ];
    NAMELESS.contains(&kind)
}
