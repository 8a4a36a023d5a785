//! What the policy refers to in the settings: the keys by which applications sign, and the issuers of tokens.
use crate::cli::CliError;
use crate::config::Settings;
use crate::policy::PolicySet;

/// # Errors
/// The policy names a key or an issuer that the settings do not have.
pub fn check(settings: &Settings, policy: &PolicySet) -> Result<(), CliError> {
    for (user, issuer) in &policy.token_users {
        let known = settings.auth.tokens.get(&**issuer);
        if !known.is_some_and(|known| known.accounts.contains_key(user)) {
            return Err(CliError::Configuration(format!(
                "the people of `{user}` log in by tokens of `{issuer}`: name the issuer and this account of it, as in \
                 `auth: {{ tokens: {{ {issuer}: {{ ..., accounts: {{ {user}: {{ password: {{ env: NAME }} }} }} }} }} }}`, in {}",
                settings.path.display()
            )));
        }
    }
    let wanted = policy.applications.iter().filter_map(|(user, known)| {
        let key = known.signed.as_deref()?;
        (!settings.application_keys.contains_key(key)).then_some((user, key))
    });
    match wanted.into_iter().next() {
        Some((user, key)) => Err(CliError::Configuration(format!(
            "the application `{user}` signs by the key `{key}`: give it as `application_keys: {{ {key}: {{ secret: {{ env: NAME }} }} }}` in {}",
            settings.path.display()
        ))),
        None => Ok(()),
    }
}
