//! Whether those who have to sign for exports can do so, and hear of it: the approver groups of a policy against the
//! settings and the accounts.
use std::collections::BTreeMap;

use crate::admin::accounts::{Account, Accounts};
use crate::config::{Diagnostic, Diagnostics, NotifySettings, Origin, Settings, StateSettings};
use crate::export::store::{self, StoreError};
use crate::policy::PolicySet;

/// Groups that have to sign, each with the first role that says so.
fn groups(policy: &PolicySet) -> BTreeMap<&str, &Origin> {
    let mut groups = BTreeMap::new();
    for role in &policy.roles {
        for group in &role.export.approvers {
            groups.entry(&**group).or_insert(&role.origin);
        }
    }
    groups
}

/// Warnings about approver groups; of accounts only where they are known.
pub fn findings(
    policy: &PolicySet,
    settings: &Settings,
    accounts: Option<&[Account]>,
) -> Diagnostics {
    let mut findings = Diagnostics::default();
    let groups = groups(policy);
    if settings.console.is_none()
        && let Some(origin) = groups.values().next()
    {
        let message = "exports need approval that nobody can give: there is no `console`";
        let warning = Diagnostic::warning(origin, message);
        findings.push(warning.suggest("set `console: { listen: 127.0.0.1:9443 }`"));
    }
    for (group, origin) in groups {
        if unheard(settings.notify.as_ref(), group) {
            let message = format!(
                "nobody in approver group `{group}` is told of requests: `notify.smtp.to` has no address for it"
            );
            let warning = Diagnostic::warning(origin, message);
            let way_out = format!("add `{group}: [name@example.com]` under `to`, or a `webhook`");
            findings.push(warning.suggest(way_out));
        }
        if let Some(accounts) = accounts
            && empty(settings, accounts, group)
        {
            let message = format!(
                "nobody is in approver group `{group}`: no account is, and no group of an identity provider"
            );
            let warning = Diagnostic::warning(origin, message);
            let way_out = format!("`pgveil accounts add NAME --groups {group}` makes an account");
            findings.push(warning.suggest(way_out));
        }
    }
    findings
}

/// A webhook tells everybody; mail those whose addresses it has.
fn unheard(notify: Option<&NotifySettings>, group: &str) -> bool {
    notify.is_some_and(|notify| {
        let mail = notify.smtp.as_ref();
        notify.webhook.is_none() && mail.is_some_and(|mail| !mail.to.contains_key(group))
    })
}

/// Without a console nobody has an account to use; that is told on its own.
fn empty(settings: &Settings, accounts: &[Account], group: &str) -> bool {
    let Some(console) = &settings.console else {
        return false;
    };
    let vouched = console.oidc.as_ref();
    let vouched = vouched.is_some_and(|oidc| oidc.groups.values().any(|known| known == group));
    !vouched && !accounts.iter().any(|known| known.groups.contains(group))
}

/// The accounts of a state that no proxy has open, if the policy needs any.
///
/// # Errors
/// The state cannot be read: a file that is in use cannot.
pub async fn accounts(
    policy: &PolicySet,
    settings: &Settings,
) -> Result<Option<Vec<Account>>, StoreError> {
    if groups(policy).is_empty() || settings.console.is_none() {
        return Ok(None);
    }
    // What is not there is not made for this.
    if let StateSettings::File(path) = &settings.state
        && !path.exists()
    {
        return Ok(Some(Vec::new()));
    }
    let store = store::open(&settings.state).await?;
    Accounts::new(store).list().await.map(Some)
}
