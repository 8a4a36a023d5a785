//! Who a statement is for, and what for, as far as its text and the session's settings say so.
//!
//! Behind a database user that an application shares, the application names its user: in a comment of each statement, or
//! in a setting. What it says is a claim; what the policy makes of it is [`super::asker`]'s matter. A claim that could be
//! read in two ways is none: the statement is refused.
mod comment;
mod signature;

use std::sync::Arc;
use std::time::SystemTime;

pub use signature::{MAX_AHEAD, Verifier};

use self::comment::Found;
use crate::policy::who::{Application, Caller, NamedBy};
use crate::session::denial;
use crate::session::exports;
use crate::sql::plan::{Reason, Refusal, SessionFacts};

/// The setting, and the key of a comment, that say what a statement is for.
pub const PURPOSE_SETTING: &str = "pgveil.purpose";
const PURPOSE_KEY: &str = "pgveil_purpose";
/// Longest name of a user or purpose, in bytes.
const MAX_NAME: usize = 255;

/// Who a statement is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Claim {
    /// The application's user.
    pub app_user: Option<Arc<str>>,
    pub purpose: Option<Arc<str>>,
    /// What was said of the user does not hold: nothing runs but what makes it hold again.
    pub unproved: bool,
}

/// What the text of a statement says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spoken {
    pub app_user: Option<Arc<str>>,
    pub purpose: Option<Arc<str>>,
    /// What an export is for, where the same comment says so.
    pub reason: Option<Arc<str>>,
    /// From then on it does not hold any more.
    pub expires: Option<SystemTime>,
}

/// A text as it was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Read {
    pub spoken: Spoken,
    /// The text without the comment, where there was one.
    pub text: Option<String>,
}

/// How the statements of a session say who they are for.
#[derive(Debug, Default)]
pub struct Naming {
    application: Option<Application>,
    /// Of claims that have to be signed; without one none of them holds.
    verifier: Option<Verifier>,
    /// The policy knows purposes.
    purposes: bool,
    db_user: String,
    database: String,
    watched: Vec<Arc<str>>,
}

impl Naming {
    pub fn new(
        caller: &Caller,
        application: Option<Application>,
        verifier: Option<Verifier>,
        purposes: bool,
    ) -> Self {
        let mut watched = Vec::new();
        if let Some(NamedBy::Setting(name)) = application.as_ref().map(|known| &known.named_by) {
            watched.push(Arc::clone(name));
        }
        if purposes {
            watched.push(PURPOSE_SETTING.into());
        }
        Naming {
            application,
            verifier,
            purposes,
            db_user: caller.db_user.clone(),
            database: caller.database.clone(),
            watched,
        }
    }

    /// Whether one statement of the session can be for somebody or something else than another.
    pub const fn varies(&self) -> bool {
        self.application.is_some() || self.purposes
    }

    /// Whether people share the database user.
    pub const fn is_shared(&self) -> bool {
        self.application.is_some()
    }

    /// The text of each statement says for whom it is.
    pub fn is_by_comment(&self) -> bool {
        let application = self.application.as_ref();
        application.is_some_and(|known| matches!(known.named_by, NamedBy::Comment(_)))
    }

    /// The settings that say so, in the order of [`SessionFacts::said`].
    pub fn watched(&self) -> &[Arc<str>] {
        &self.watched
    }

    /// Reads what a text says.
    ///
    /// # Errors
    /// It can be read in more than one way, or is not signed as it has to be.
    pub fn read(&self, text: &str, now: SystemTime) -> Result<Read, Refusal> {
        let nothing = Read {
            spoken: Spoken::default(),
            text: None,
        };
        let user_key = match self.application.as_ref().map(|known| &known.named_by) {
            Some(NamedBy::Comment(key)) => Some(&**key),
            _ => None,
        };
        let purpose_key = self.purposes.then_some(PURPOSE_KEY);
        let keys: Vec<&str> = user_key.into_iter().chain(purpose_key).collect();
        let Some(first) = keys.first() else {
            return Ok(nothing);
        };
        let Some(Found { pairs, rest, bare }) =
            comment::find(text, &keys).map_err(|why| ambiguous(why, first))?
        else {
            return Ok(nothing);
        };
        let value = |key: &str| -> Result<Option<Arc<str>>, Refusal> {
            let mut values = pairs.iter().filter(|(known, _)| known == key);
            match (values.next(), values.next()) {
                (None, _) => Ok(None),
                (Some((_, value)), None) if is_name(value) => Ok(Some(value.as_str().into())),
                (Some(_), None) => Err(ambiguous("it holds no name", key)),
                (Some(_), Some(_)) => Err(ambiguous("it is said twice", key)),
            }
        };
        let reason = pairs.iter().find(|(key, _)| key == exports::REASON);
        let mut spoken = Spoken {
            purpose: purpose_key.map_or(Ok(None), value)?,
            reason: reason.map(|(_, reason)| reason.as_str().into()),
            ..Spoken::default()
        };
        let Some(key) = user_key else {
            return Ok(Read {
                spoken,
                text: Some(bare),
            });
        };
        spoken.app_user = value(key)?;
        if self.is_signed() {
            let time = value(&format!("{key}_time"))?;
            let signature = value(&format!("{key}_sig"))?;
            let signed = signature::Signed {
                db_user: &self.db_user,
                database: &self.database,
                app_user: spoken.app_user.as_deref().unwrap_or_default(),
                purpose: spoken.purpose.as_deref().unwrap_or_default(),
                text: &rest,
            };
            let given = time.as_deref().zip(signature.as_deref());
            spoken.expires = Some(self.verify(&signed, given, now)?);
        }
        Ok(Read {
            spoken,
            text: Some(bare),
        })
    }

    /// Who a statement is for that says so itself and runs in a session of which that is known.
    ///
    /// # Errors
    /// What is said does not hold.
    pub fn claim(
        &self,
        spoken: &Spoken,
        facts: &SessionFacts,
        now: SystemTime,
    ) -> Result<Claim, Refusal> {
        if spoken.expires.is_some_and(|expires| now >= expires) {
            return Err(unproved("its signature has expired"));
        }
        let said = |name: &str| {
            let index = self.watched.iter().position(|known| &**known == name)?;
            let value = facts.said.get(index)?;
            (!value.is_empty()).then_some(value.as_str())
        };
        let purpose = match &spoken.purpose {
            Some(purpose) => Some(Arc::clone(purpose)),
            None => match said(PURPOSE_SETTING) {
                Some(purpose) if is_name(purpose) => Some(purpose.into()),
                Some(_) => return Err(not_a_name(PURPOSE_SETTING)),
                None => None,
            },
        };
        let app_user = match self.application.as_ref().map(|known| &known.named_by) {
            Some(NamedBy::Setting(name)) => match said(name) {
                Some(value) => Some(self.set_user(name, value, now)?),
                None => None,
            },
            _ => spoken.app_user.clone(),
        };
        Ok(Claim {
            app_user,
            purpose,
            unproved: false,
        })
    }

    /// The user that a setting names.
    fn set_user(&self, name: &str, value: &str, now: SystemTime) -> Result<Arc<str>, Refusal> {
        if !self.is_signed() {
            return match is_name(value) {
                true => Ok(value.into()),
                false => Err(not_a_name(name)),
            };
        }
        let mut parts = value.splitn(4, ' ');
        let parts = (parts.next(), parts.next(), parts.next(), parts.next());
        let (Some("v1"), Some(time), Some(signature), Some(app_user)) = parts else {
            return Err(unproved("it is not signed"));
        };
        if !is_name(app_user) {
            return Err(not_a_name(name));
        }
        let signed = signature::Signed {
            db_user: &self.db_user,
            database: &self.database,
            app_user,
            purpose: "",
            text: &format!("SET {name}"),
        };
        self.verify(&signed, Some((time, signature)), now)?;
        Ok(app_user.into())
    }

    fn is_signed(&self) -> bool {
        let application = self.application.as_ref();
        application.is_some_and(|known| known.signed.is_some())
    }

    fn verify(
        &self,
        signed: &signature::Signed<'_>,
        given: Option<(&str, &str)>,
        now: SystemTime,
    ) -> Result<SystemTime, Refusal> {
        let Some(verifier) = &self.verifier else {
            return Err(unproved("pgveil has no key to check its signature by"));
        };
        let Some((time, signature)) = given else {
            return Err(unproved("it is not signed"));
        };
        verifier
            .verify(signed, time, signature, now)
            .map_err(unproved)
    }

    /// What a statement is told that is for nobody, or for somebody who has no role.
    pub fn nobody(&self, claim: &Claim) -> Refusal {
        let hint = match self.application.as_ref().map(|known| &known.named_by) {
            Some(NamedBy::Comment(key)) => {
                format!("End the statement with a comment that names the user: /*{key}='alice'*/")
            }
            // Parts of a name may be words that SET takes for something else, as in `app.current_user`.
            Some(NamedBy::Setting(name)) => {
                format!("Name the user first: SELECT set_config('{name}', 'alice', false)")
            }
            None => "Ask the owner of the pgveil policy for a role.".to_owned(),
        };
        match claim.app_user {
            None => refusal(
                "the statement does not say for which user of the application it is",
                "the database user is shared, and has no role without a user of its application",
                &hint,
            ),
            Some(_) => refusal(
                "the policy has no role for this user of the application",
                "no entry of `who` holds for the user that the application names",
                "Ask the owner of the pgveil policy to name the user, or a group of the user's, in a role.",
            ),
        }
    }
}

/// What a user or purpose may be called.
fn is_name(value: &str) -> bool {
    !value.is_empty()
        && value.len() <= MAX_NAME
        && value.trim() == value
        && !value.chars().any(char::is_control)
}

fn refusal(message: &str, detail: &str, hint: &str) -> Refusal {
    denial::refusal(Reason::Identity, message, detail, hint)
}

fn ambiguous(why: &str, key: &str) -> Refusal {
    refusal(
        "it is not certain for whom the statement is",
        &format!("`{key}` is in the text, but {why}"),
        &format!(
            "Let one comment, the first or the last thing of the text, say it once: /*{key}='alice'*/. Values of other people's making go into parameters."
        ),
    )
}

fn not_a_name(setting: &str) -> Refusal {
    refusal(
        "it is not certain for whom the statement is",
        &format!("the setting `{setting}` holds no name"),
        &format!(
            "SET {setting} = 'alice', with at most {MAX_NAME} bytes and no control characters."
        ),
    )
}

fn unproved(why: &str) -> Refusal {
    refusal(
        "what the statement says of its user is not proved",
        why,
        "Sign it anew, by the key that pgveil has for the application (docs/identity.md).",
    )
}

#[cfg(test)]
mod tests;
