//! The keys by which applications sign: whoever the policy wants signatures of has one.
use crate::cli::CliError;
use crate::config::Settings;
use crate::policy::PolicySet;

/// # Errors
/// The policy names a key that the settings do not have.
pub fn check(settings: &Settings, policy: &PolicySet) -> Result<(), CliError> {
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
