//! What a token claims: who it is for and until when, and the person, groups and attributes in it.
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::Refused;

/// Longest name of a person, in characters; the console has the same.
const MAX_PERSON: usize = 128;
/// Groups of one token.
const MAX_GROUPS: usize = 10_000;
/// Longest value of an attribute, in bytes.
const MAX_ATTRIBUTE: usize = 4096;

/// Where a claim stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimName {
    /// Under this name.
    Member(String),
    /// Within others: a JSON Pointer (RFC 6901), which begins with a slash.
    Pointer(String),
}

impl ClaimName {
    /// A text that begins with a slash is a pointer.
    pub fn new(text: &str) -> Self {
        match text.starts_with('/') {
            true => ClaimName::Pointer(text.to_owned()),
            false => ClaimName::Member(text.to_owned()),
        }
    }

    pub fn as_str(&self) -> &str {
        let (ClaimName::Member(text) | ClaimName::Pointer(text)) = self;
        text
    }

    fn of<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c Value> {
        match self {
            ClaimName::Member(name) => claims.get(name),
            ClaimName::Pointer(path) => {
                let (first, rest) = match path.get(1..)?.split_once('/') {
                    Some((first, rest)) => (first, Some(rest)),
                    None => (path.get(1..)?, None),
                };
                let outer = claims.get(&first.replace("~1", "/").replace("~0", "~"))?;
                match rest {
                    Some(rest) => outer.pointer(&format!("/{rest}")),
                    None => Some(outer),
                }
            }
        }
    }
}

/// What a token has to be, and what is taken from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// `iss`, to the letter.
    pub issuer: String,
    /// Any of these in `aud`.
    pub audiences: BTreeSet<String>,
    pub person: ClaimName,
    pub groups: ClaimName,
    /// By the name that row rules know them under.
    pub attributes: BTreeMap<Box<str>, ClaimName>,
    /// By how much the clocks of issuer and pgveil may differ.
    pub leeway: Duration,
}

/// Who has a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    pub person: String,
    pub groups: BTreeSet<String>,
    pub attributes: BTreeMap<Box<str>, String>,
    /// From then on it is worth nothing; the leeway is in it.
    pub expires: SystemTime,
}

impl Rule {
    /// Holds the claims of a token whose signature holds against the rule.
    ///
    /// # Errors
    /// It is not for here and now, or names nobody.
    pub fn bearer(&self, claims: &Map<String, Value>, now: SystemTime) -> Result<Bearer, Refused> {
        if claims.get("iss").and_then(Value::as_str) != Some(&self.issuer) {
            return Err(Refused::Issuer);
        }
        let is_meant = |audience: &Value| {
            audience
                .as_str()
                .is_some_and(|name| self.audiences.contains(name))
        };
        let meant = match claims.get("aud") {
            Some(Value::Array(audiences)) => audiences.iter().any(is_meant),
            Some(audience) => is_meant(audience),
            None => false,
        };
        if !meant {
            return Err(Refused::Audience);
        }
        let expires = claims.get("exp").and_then(moment);
        let expires = expires.and_then(|expires| expires.checked_add(self.leeway));
        let expires = expires
            .filter(|expires| now < *expires)
            .ok_or(Refused::Expired)?;
        let latest = now.checked_add(self.leeway).ok_or(Refused::NotYet)?;
        for claim in ["nbf", "iat"] {
            let Some(value) = claims.get(claim) else {
                continue;
            };
            let from = moment(value).ok_or(Refused::NotYet)?;
            if from > latest {
                return Err(Refused::NotYet);
            }
        }
        Ok(Bearer {
            person: self.person(claims)?,
            groups: self.groups(claims)?,
            attributes: self.attributes(claims),
            expires,
        })
    }

    fn person(&self, claims: &Map<String, Value>) -> Result<String, Refused> {
        let unusable = || Refused::Claim(self.person.as_str().to_owned());
        let person = self.person.of(claims).and_then(Value::as_str);
        let person = person.ok_or_else(unusable)?;
        let fits = (1..=MAX_PERSON).contains(&person.chars().count())
            && !person.chars().any(char::is_control)
            && person.trim() == person;
        // An address that nobody has checked is no name: anybody may claim it.
        let is_verified = self.person.as_str() != "email"
            || claims.get("email_verified") == Some(&Value::Bool(true));
        match (fits, is_verified) {
            (true, true) => Ok(person.to_owned()),
            (true, false) => Err(Refused::Claim("email_verified".to_owned())),
            (false, _) => Err(unusable()),
        }
    }

    /// A list of texts, or one text. Where there is nothing the person is in no group; where there is something else nobody
    /// knows what is meant.
    fn groups(&self, claims: &Map<String, Value>) -> Result<BTreeSet<String>, Refused> {
        let unusable = || Refused::Claim(self.groups.as_str().to_owned());
        match self.groups.of(claims) {
            None | Some(Value::Null) => Ok(BTreeSet::new()),
            Some(Value::String(group)) => Ok(BTreeSet::from([group.clone()])),
            Some(Value::Array(groups)) if groups.len() <= MAX_GROUPS => groups
                .iter()
                .map(|group| group.as_str().map(str::to_owned).ok_or_else(unusable))
                .collect(),
            Some(_) => Err(unusable()),
        }
    }

    /// Of one value each. What is anything else is not there, and a row rule that asks for it shows nothing.
    fn attributes(&self, claims: &Map<String, Value>) -> BTreeMap<Box<str>, String> {
        let value = |claim: &ClaimName| {
            let value = match claim.of(claims)? {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(value) => value.to_string(),
                _ => return None,
            };
            (value.len() <= MAX_ATTRIBUTE && !value.contains('\0')).then_some(value)
        };
        self.attributes
            .iter()
            .filter_map(|(name, claim)| Some((name.clone(), value(claim)?)))
            .collect()
    }
}

/// A NumericDate: seconds since 1970, which may have a fraction (RFC 7519, section 2).
fn moment(value: &Value) -> Option<SystemTime> {
    let seconds = value
        .as_f64()
        .filter(|seconds| seconds.is_finite() && *seconds >= 0.0)?;
    UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)
}
