//! Keys by which applications sign who is asking.
use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::diagnostics::Diagnostic;
use super::raw::Leaf;
use super::resolve::Resolver;
use super::secret::Secret;
use super::units;
use super::yaml::{Entries, Spanned};

/// Of what a key signs, where the settings do not say how long it holds.
const MAX_AGE: Duration = Duration::from_secs(60);
/// A key of fewer characters can be found out from one statement and its signature.
const SHORTEST: usize = 32;

/// A key, and how long what it has signed holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationKey {
    pub secret: Secret,
    pub max_age: Duration,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawApplicationKey {
    /// The key of HMAC-SHA-256, as text.
    pub secret: Leaf,
    /// How old a signature may be.
    pub max_age: Leaf,
}

/// `None` only together with an error.
pub fn application_keys(
    resolver: &mut Resolver<'_>,
    raw: Option<&Spanned<Entries<Spanned<RawApplicationKey>>>>,
) -> Option<BTreeMap<String, ApplicationKey>> {
    let mut keys = BTreeMap::new();
    let mut complete = true;
    for (name, raw) in raw.iter().flat_map(|raw| &raw.value.0) {
        let origin = resolver.origin(raw);
        let leaf = resolver.required(&raw.value.secret, Some(&origin), "secret");
        let secret = leaf.and_then(|leaf| {
            let secret = resolver.secret(leaf)?;
            if secret.expose().chars().count() >= SHORTEST {
                return Some(secret);
            }
            let message =
                format!("the key is shorter than {SHORTEST} characters and can be found out");
            let diagnostic = Diagnostic::error(&resolver.origin(leaf), message).hide();
            resolver
                .diagnostics
                .push(diagnostic.suggest("make one with `openssl rand -hex 32`"));
            None
        });
        let max_age = resolver.optional(&raw.value.max_age, |resolver, leaf| {
            let expected = "a duration with its unit, such as `60s`";
            let positive = |text: &str| units::duration(text).filter(|age| !age.is_zero());
            resolver.parse(leaf, expected, positive)
        });
        complete &= raw.value.max_age.is_none() || max_age.is_some();
        match secret {
            Some(secret) => {
                let max_age = max_age.unwrap_or(MAX_AGE);
                keys.insert(name.value.clone(), ApplicationKey { secret, max_age });
            }
            None => complete = false,
        }
    }
    complete.then_some(keys)
}
