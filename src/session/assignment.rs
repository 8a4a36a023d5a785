//! What a session's user is by the policy: found at login, and held against each policy that comes into force, each
//! reading of the directory, and the time.
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;

use crate::export::Budgets;
use crate::policy::who::Application;
use crate::policy::{Asking, Caller, Directory, PolicySet, Regime};
use crate::session::asker::Asker;
use crate::session::claim::Claim;
use crate::session::host::Unavailable;
use crate::session::login::LoginFacts;
use crate::sql::template::SessionValues;

/// What who somebody is depends on.
#[derive(Debug, Clone)]
pub struct Basis {
    pub policy: Arc<PolicySet>,
    pub directory: Directory,
    pub now: SystemTime,
}

/// The role and the person of a session. They do not change: where the policy comes to see the user otherwise the session
/// ends. Where an application's people share the user, each statement has its own instead ([`Assignment::asker`]).
pub struct Assignment {
    pub caller: Arc<Caller>,
    /// `None`: nobody who shares the user has one without being named.
    pub role: Option<Arc<str>>,
    pub regime: Regime,
    /// The person behind the database user.
    pub person: Arc<str>,
    /// Whose budgets its rows are counted in where nobody shares the user. Those of a role that is not enforced take nothing
    /// from others of the person.
    pub budget: Arc<str>,
    pub application: Option<Application>,
    seen: ArcSwap<Seen>,
}

/// The assignment as it was looked at last.
struct Seen {
    basis: Basis,
    holds: bool,
    /// Nothing changes before that by time alone.
    until: Option<SystemTime>,
    /// Who asks where nobody shares the user.
    asker: Arc<Asker>,
    /// Who else asks.
    others: Mutex<HashMap<Claim, Arc<Asker>>>,
}

/// Claims whose askers are kept at most.
const MAX_OTHERS: usize = 64;

impl Seen {
    fn serves(&self, basis: &Basis) -> bool {
        Arc::ptr_eq(&self.basis.policy, &basis.policy)
            && self.basis.directory.is_same(&basis.directory)
            // A clock that was set back is looked at anew as well.
            && basis.now >= self.basis.now
            && self.until.is_none_or(|until| basis.now < until)
    }
}

impl Assignment {
    /// As it was found at login.
    pub fn new(facts: &LoginFacts, regime: Regime, basis: Basis) -> Self {
        let caller = Arc::clone(&facts.caller);
        let policy = &basis.policy;
        let person: Arc<str> = policy.bearer(&caller).into();
        let mut assignment = Assignment {
            role: facts.role.clone(),
            regime,
            budget: match regime {
                Regime::Trial => format!("{person} (not enforced)").into(),
                Regime::Enforced | Regime::Unmasked => Arc::clone(&person),
            },
            application: policy.application(&caller.db_user).cloned(),
            seen: ArcSwap::from_pointee(Seen {
                holds: true,
                until: Some(SystemTime::UNIX_EPOCH),
                asker: Arc::new(Asker {
                    role: facts.role.clone(),
                    person: Arc::clone(&person),
                    app_user: None,
                    purpose: None,
                    values: Arc::default(),
                    outside: [].into(),
                    masked_outside: 0,
                    purse: None,
                    is_known: false,
                    is_one_of_many: false,
                    key: Default::default(),
                }),
                basis: basis.clone(),
                others: Mutex::default(),
            }),
            person,
            caller,
        };
        let seen = assignment.look_anew(&basis);
        assignment.seen = ArcSwap::from_pointee(seen);
        assignment
    }

    /// Its statements are held to the role's rules.
    pub fn restricted(&self) -> bool {
        self.regime == Regime::Enforced
    }

    /// What row rules name of the session's own user.
    pub fn values(&self) -> Arc<SessionValues> {
        Arc::clone(&self.seen.load().asker.values)
    }

    /// As [`Assignment::holds`], where nothing but another policy can change it; `None`: time or a directory may.
    pub fn holds_under(&self, policy: &ArcSwap<PolicySet>) -> Option<bool> {
        let seen = self.seen.load();
        let known = &seen.basis.policy;
        let timeless = seen.until.is_none() && known.directory.is_none();
        (timeless && Arc::ptr_eq(known, &policy.load())).then_some(seen.holds)
    }

    /// Whether the user is seen as the session was begun.
    pub fn holds(&self, basis: &Basis) -> bool {
        self.look(basis).holds
    }

    /// When to look again where neither the policy nor the directory changes.
    pub fn until(&self, basis: &Basis) -> Option<SystemTime> {
        self.look(basis).until
    }

    /// Who asks for something, by what is claimed.
    ///
    /// # Errors
    /// The user is seen otherwise than the session was begun, or the directory is not known.
    pub fn asker(
        &self,
        basis: &Basis,
        claim: &Claim,
        budgets: &Budgets,
    ) -> Result<Arc<Asker>, Unavailable> {
        let seen = self.look(basis);
        if !seen.holds {
            return Err(Unavailable::Dismissed);
        }
        if self.application.is_none() && claim.purpose.is_none() {
            return Ok(Arc::clone(&seen.asker));
        }
        let others = || seen.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = others().get(claim) {
            return Ok(Arc::clone(known));
        }
        let asker = self.other(&seen, basis, claim, budgets)?;
        let mut others = others();
        if others.len() >= MAX_OTHERS {
            others.clear();
        }
        others.insert(claim.clone(), Arc::clone(&asker));
        Ok(asker)
    }

    fn other(
        &self,
        seen: &Seen,
        basis: &Basis,
        claim: &Claim,
        budgets: &Budgets,
    ) -> Result<Arc<Asker>, Unavailable> {
        if self.application.is_none() {
            let asker = &seen.asker;
            return Ok(Arc::new(Asker {
                role: asker.role.clone(),
                person: Arc::clone(&asker.person),
                app_user: None,
                purpose: purpose_of(&basis.policy, &asker.role, claim),
                values: Arc::clone(&asker.values),
                outside: Arc::clone(&asker.outside),
                masked_outside: asker.masked_outside,
                purse: None,
                is_known: asker.is_known,
                is_one_of_many: false,
                key: Default::default(),
            }));
        }
        self.one_of_many(basis, claim, budgets).map(Arc::new)
    }

    fn one_of_many(
        &self,
        basis: &Basis,
        claim: &Claim,
        budgets: &Budgets,
    ) -> Result<Asker, Unavailable> {
        let policy = &basis.policy;
        let db_user = &self.caller.db_user;
        let app_user = claim.app_user.as_deref();
        let role = match claim.unproved {
            true => None,
            false => self
                .role_of(basis, app_user)
                .map_err(|_| Unavailable::Directory)?,
        };
        let person: Arc<str> = match app_user {
            Some(app_user) => policy.person_named(app_user).into(),
            None => Arc::clone(&self.person),
        };
        Ok(Asker {
            app_user: claim.app_user.clone(),
            purpose: purpose_of(policy, &role, claim),
            role,
            values: Arc::new(self.values_of(basis, app_user.unwrap_or(db_user))),
            outside: policy.outside(self.caller.address).into(),
            masked_outside: policy.masked_outside(Some(self.caller.address)),
            purse: Some(budgets.purse(&person)),
            person,
            is_known: !matches!(basis.directory, Directory::Unknown),
            is_one_of_many: true,
            key: Default::default(),
        })
    }

    /// A role that is analysed: the bytes of others would pass unread, and with them whatever one of many leaves behind
    /// for the next.
    fn role_of(
        &self,
        basis: &Basis,
        app_user: Option<&str>,
    ) -> Result<Option<Arc<str>>, crate::policy::who::Unknown> {
        let asking = Asking {
            caller: &self.caller,
            app_user,
            now: basis.now,
        };
        let role = basis.policy.match_role(asking, &basis.directory)?;
        Ok(role
            .filter(|role| role.restricted())
            .map(|role| Arc::clone(&role.name)))
    }

    fn values_of(&self, basis: &Basis, person: &str) -> SessionValues {
        let policy = &basis.policy;
        let token = self.caller.token.as_deref();
        let Caller {
            db_user, address, ..
        } = &*self.caller;
        policy.session_values(db_user, person, token, &basis.directory, Some(*address))
    }

    fn look(&self, basis: &Basis) -> Arc<Seen> {
        let seen = self.seen.load_full();
        if seen.serves(basis) {
            return seen;
        }
        let seen = Arc::new(self.look_anew(basis));
        self.seen.store(Arc::clone(&seen));
        seen
    }

    fn look_anew(&self, basis: &Basis) -> Seen {
        let policy = &basis.policy;
        let db_user = &self.caller.db_user;
        let token = self.caller.token.as_ref();
        let own = token.map_or(db_user.as_str(), |token| &token.person);
        let same_naming = policy.application(db_user) == self.application.as_ref();
        let same_person = policy.bearer(&self.caller) == &*self.person;
        let holds = match &self.application {
            Some(_) => policy.could_match(&self.caller),
            None => {
                let asking = Asking {
                    caller: &self.caller,
                    app_user: None,
                    now: basis.now,
                };
                let role = policy.match_role(asking, &basis.directory).ok().flatten();
                role.is_some_and(|role| {
                    Some(&role.name) == self.role.as_ref() && role.regime() == self.regime
                })
            }
        };
        Seen {
            holds: holds && same_naming && same_person,
            until: policy.next_look(&self.caller, basis.now),
            asker: Arc::new(Asker {
                role: self.role.clone(),
                person: Arc::clone(&self.person),
                app_user: None,
                purpose: purpose_of(policy, &self.role, &Claim::default()),
                values: Arc::new(self.values_of(basis, own)),
                outside: policy.outside(self.caller.address).into(),
                masked_outside: policy.masked_outside(Some(self.caller.address)),
                purse: None,
                is_known: !matches!(basis.directory, Directory::Unknown),
                is_one_of_many: false,
                key: Default::default(),
            }),
            basis: basis.clone(),
            others: Mutex::default(),
        }
    }
}

/// What a statement is for: what its role is for in any case, or what is claimed.
fn purpose_of(policy: &PolicySet, role: &Option<Arc<str>>, claim: &Claim) -> Option<Arc<str>> {
    let role = role.as_deref().and_then(|name| policy.role(name));
    let fixed = role.and_then(|role| role.purpose.clone());
    fixed.or_else(|| claim.purpose.clone())
}
