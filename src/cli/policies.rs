//! The policy that a configuration names, with the signature it asks for.
use std::path::{Path, PathBuf};

use super::CliError;
use crate::audit::key::{PublicKey, SigningKey};
use crate::config::{Diagnostic, Diagnostics, Settings};
use crate::policy::{self, PolicySet};

/// What is signed begins with this, so that a signature over a policy is none over anything else.
const DOMAIN: &str = "pgveil policy 1\n";
/// Signatures in one file.
const MAX_SIGNATURES: usize = 64;

/// Reads the policy. Where `policy_keys` names keys, one of them must have signed exactly what was read.
///
/// # Errors
/// Findings in the files, or no such signature.
pub fn load(settings: &Settings) -> Result<PolicySet, CliError> {
    let policy = policy::load(&settings.policies)?;
    if !settings.policy_keys.is_empty() {
        verify(&policy, &settings.policies, &settings.policy_keys)?;
    }
    Ok(policy)
}

/// Where the signatures of a policy are: `policy.sig` in its folder, `<file>.sig` beside a single file.
pub fn signature_file(policies: &Path) -> PathBuf {
    match policies.is_dir() {
        true => policies.join("policy.sig"),
        false => {
            let mut name = policies.file_name().unwrap_or_default().to_owned();
            name.push(".sig");
            policies.with_file_name(name)
        }
    }
}

fn verify(policy: &PolicySet, policies: &Path, keys: &[PathBuf]) -> Result<(), CliError> {
    let file = signature_file(policies);
    let refused = |message: String| {
        let finding = Diagnostic::file(&file, message).suggest(format!(
            "have it signed: `pgveil policy sign --key KEY --policy {}`",
            policies.display()
        ));
        CliError::Findings(Diagnostics::from(finding))
    };
    let keys = keys
        .iter()
        .map(|path| PublicKey::read(path))
        .collect::<Result<Vec<_>, _>>()
        .map_err(CliError::configuration)?;
    let text = std::fs::read_to_string(&file).map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
            _ => error.to_string(),
        };
        refused(format!(
            "the policy is not signed, and `policy_keys` asks for it: {why}"
        ))
    })?;
    let message = message(policy);
    let mut signed = signatures(&text);
    let good =
        |(_, signature): (&str, &str)| keys.iter().any(|key| key.verify(&message, signature));
    match signed.any(good) {
        true => Ok(()),
        false => Err(refused(format!(
            "no signature over policy {} by one of `policy_keys`: it was changed since it was signed, or signed by another key",
            policy.version()
        ))),
    }
}

/// Key and signature of each line.
fn signatures(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.trim().split_once(' '))
        .take(MAX_SIGNATURES)
}

fn message(policy: &PolicySet) -> Vec<u8> {
    format!("{DOMAIN}{}\n", policy.content().digest()).into_bytes()
}

/// The signature file of a policy with one more signature; those over other contents are left out, and an earlier one of
/// the same key is replaced.
pub fn signed(policy: &PolicySet, key: &SigningKey, before: &str) -> String {
    let mut text = format!(
        "# Signatures over policy {}: key and Ed25519 signature. `pgveil policy sign` writes this.\n",
        policy.version()
    );
    let about = text.clone();
    let id = key.public().id();
    if before.starts_with(&about) {
        for (other, signature) in signatures(before).filter(|(other, _)| *other != id) {
            text.push_str(&format!("{other} {signature}\n"));
        }
    }
    text.push_str(&format!("{id} {}\n", key.sign(&message(policy))));
    text
}
