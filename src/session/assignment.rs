//! What a session's user is by the policy, found at login and held against each policy that comes into force.
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::policy::{PolicySet, Regime};
use crate::session::host::Unavailable;
use crate::session::login::LoginFacts;
use crate::sql::template::SessionValues;

/// The role and the person of a session. They do not change: under a policy that sees the user otherwise the session ends.
pub struct Assignment {
    pub role: Arc<str>,
    pub regime: Regime,
    pub db_user: Arc<str>,
    /// The person behind the database user.
    pub person: Arc<str>,
    /// Whose budgets its rows are counted in. Those of a role that is not enforced take nothing from others of the person.
    pub budget: Arc<str>,
    seen: ArcSwap<Seen>,
}

/// The assignment as the policy that was looked at last has it.
struct Seen {
    policy: Arc<PolicySet>,
    holds: bool,
    values: Arc<SessionValues>,
}

impl Assignment {
    /// As it was found at login under that policy.
    pub fn new(facts: &LoginFacts, regime: Regime, policy: Arc<PolicySet>) -> Self {
        let db_user = facts.db_user.as_str();
        let person = policy.person(db_user);
        Assignment {
            role: facts.role.clone(),
            regime,
            budget: match regime {
                Regime::Trial => format!("{person} (not enforced)").into(),
                Regime::Enforced | Regime::Unmasked => person.into(),
            },
            person: person.into(),
            db_user: db_user.into(),
            seen: ArcSwap::from_pointee(Seen {
                holds: true,
                values: Arc::new(policy.session_values(db_user, db_user)),
                policy,
            }),
        }
    }

    /// Its statements are held to the role's rules.
    pub fn restricted(&self) -> bool {
        self.regime == Regime::Enforced
    }

    /// What row rules name of the session, by the policy that was looked at last.
    pub fn values(&self) -> Arc<SessionValues> {
        Arc::clone(&self.seen.load().values)
    }

    /// Whether a policy sees the user as the session was begun.
    pub fn holds(&self, policy: &Arc<PolicySet>) -> bool {
        self.look(policy).holds
    }

    /// What row rules name of the session by a policy.
    ///
    /// # Errors
    /// The policy sees the user otherwise.
    pub fn values_by(&self, policy: &Arc<PolicySet>) -> Result<Arc<SessionValues>, Unavailable> {
        let seen = self.look(policy);
        match seen.holds {
            true => Ok(Arc::clone(&seen.values)),
            false => Err(Unavailable(format!(
                "the policy in force has another role for the user {}",
                self.db_user
            ))),
        }
    }

    fn look(&self, policy: &Arc<PolicySet>) -> Arc<Seen> {
        let seen = self.seen.load_full();
        if Arc::ptr_eq(&seen.policy, policy) {
            return seen;
        }
        let role = policy.match_role(&self.db_user);
        let same_role =
            role.is_some_and(|role| role.name == self.role && role.regime() == self.regime);
        let seen = Arc::new(Seen {
            holds: same_role && policy.person(&self.db_user) == &*self.person,
            values: Arc::new(policy.session_values(&self.db_user, &self.db_user)),
            policy: Arc::clone(policy),
        });
        self.seen.store(Arc::clone(&seen));
        seen
    }
}
