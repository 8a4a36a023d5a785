//! The issuers of tokens and the accounts they open, made from the settings.
use std::sync::Arc;
use std::time::Duration;

use crate::auth::token::{ClaimName, Issuer, KeySource, Lifetime, Rule};
use crate::cli::CliError;
use crate::config::{AtExpiry, Settings, TokenIssuer};
use crate::outbound;
use crate::session::login::{Account, Tokens};

/// For one question to an issuer, while somebody waits at the door.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Nothing is asked yet: an issuer that is away keeps out those who come by its tokens, and nobody else.
///
/// # Errors
/// A file of certificate authorities cannot be used.
pub fn tokens(settings: &Settings) -> Result<Tokens, CliError> {
    let mut accounts = Vec::new();
    for (name, configured) in &settings.auth.tokens {
        let issuer = Arc::new(issuer(name, configured)?);
        for (user, password) in &configured.accounts {
            let account = Account {
                issuer: Arc::clone(&issuer),
                password: password.clone(),
                ends: configured.at_expiry == AtExpiry::End,
                allow_plaintext: configured.allow_plaintext,
            };
            accounts.push((user.clone(), account));
        }
    }
    Ok(Tokens::new(accounts))
}

fn issuer(name: &str, configured: &TokenIssuer) -> Result<Issuer, CliError> {
    let failed = |cause: String| CliError::Configuration(format!("auth.tokens.{name}: {cause}"));
    let http = outbound::client(configured.ca.as_deref(), None, TIMEOUT).map_err(failed)?;
    let http = http.build().map_err(|error| failed(error.to_string()))?;
    let rule = Rule {
        issuer: configured.issuer.clone(),
        audiences: configured.audiences.clone(),
        person: ClaimName::new(&configured.person_claim),
        groups: ClaimName::new(&configured.groups_claim),
        attributes: configured
            .attributes
            .iter()
            .map(|(attribute, claim)| (attribute.as_str().into(), ClaimName::new(claim)))
            .collect(),
        leeway: configured.leeway,
    };
    let source = match &configured.jwks_url {
        Some(url) => KeySource::Url(url.clone()),
        None => KeySource::Discovery,
    };
    let lifetime = Lifetime {
        refresh: configured.refresh,
        max_age: configured.max_age,
    };
    Ok(Issuer::new(name.into(), rule, source, lifetime, http))
}
