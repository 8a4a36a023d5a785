//! Issuers of tokens that people log in with, and the accounts that they log in to.
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::console::{GROUPS_CLAIM, web_address};
use super::diagnostics::Diagnostic;
use super::load::{name, set, set_duration};
use super::raw::Leaf;
use super::resolve::Resolver;
use super::secret::Secret;
use super::units;
use super::yaml::{Entries, Spanned, Value, each};

/// By how much clocks may differ.
const LEEWAY: Duration = Duration::from_secs(30);
/// From this age on an issuer's keys are asked for again.
const REFRESH: Duration = Duration::from_secs(600);
/// How long they serve where it does not answer.
const MAX_AGE: Duration = Duration::from_secs(3600);
/// A token that is taken for so long after its end has none.
const LONGEST_LEEWAY: Duration = Duration::from_secs(300);

/// Who issues tokens, and what is taken from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenIssuer {
    /// `iss` of its tokens.
    pub issuer: String,
    /// Any of these is in `aud`.
    pub audiences: BTreeSet<String>,
    /// Where its keys are; it says so itself if absent.
    pub jwks_url: Option<String>,
    /// PEM file of certificate authorities; the system's own if absent.
    pub ca: Option<PathBuf>,
    pub person_claim: String,
    pub groups_claim: String,
    /// Attributes of row rules, and the claims that hold them.
    pub attributes: BTreeMap<String, String>,
    /// Database users whose people log in with its tokens, and by what pgveil logs in as them; `None`: the server asks for
    /// nothing.
    pub accounts: BTreeMap<String, Option<Secret>>,
    pub leeway: Duration,
    pub refresh: Duration,
    pub max_age: Duration,
    pub at_expiry: AtExpiry,
    /// From this machine a token may come without TLS.
    pub allow_plaintext: bool,
}

/// What becomes of a session whose token has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AtExpiry {
    End,
    /// It goes on: the token was for logging in.
    Keep,
}

impl AtExpiry {
    pub const ALL: [(&'static str, AtExpiry); 2] =
        [("end", AtExpiry::End), ("keep", AtExpiry::Keep)];
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawTokenIssuer {
    /// `iss` of its tokens, an address by `https`.
    pub issuer: Leaf,
    /// What its tokens are for, one or a list: any of them is in `aud`.
    pub audience: Leaf,
    /// Where its keys are; found by its description (`/.well-known/openid-configuration`) if absent.
    pub jwks_url: Leaf,
    /// PEM file of certificate authorities.
    pub ca: Leaf,
    /// The claim that names the person as the policy does: a name, or a path `/realm_access/roles`.
    pub person_claim: Leaf,
    /// The claim that lists groups.
    pub groups_claim: Leaf,
    /// Attributes of row rules: the claims that hold them.
    pub attributes: Option<Spanned<Entries<Spanned<Value>>>>,
    /// Database users whose people log in with its tokens.
    pub accounts: Option<Spanned<Entries<Spanned<RawAccount>>>>,
    /// By how much clocks may differ.
    pub leeway: Leaf,
    /// From which age on its keys are asked for again.
    pub refresh: Leaf,
    /// Up to which age they serve if it does not answer.
    pub max_age: Leaf,
    /// `end` or `keep`: what becomes of sessions whose token expires.
    pub at_expiry: Leaf,
    /// From this machine tokens may come without TLS.
    pub allow_plaintext: Leaf,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawAccount {
    /// By which pgveil logs in to the server.
    pub password: Leaf,
}

/// `None` only together with an error.
pub fn tokens(
    resolver: &mut Resolver<'_>,
    raw: Option<&Spanned<Entries<Spanned<RawTokenIssuer>>>>,
) -> Option<BTreeMap<String, TokenIssuer>> {
    let mut issuers = BTreeMap::new();
    let mut complete = true;
    let mut accounts: BTreeMap<String, String> = BTreeMap::new();
    for (name, raw) in raw.iter().flat_map(|raw| &raw.value.0) {
        for (account, _) in raw.value.accounts.iter().flat_map(|raw| &raw.value.0) {
            if let Some(first) = accounts.insert(account.value.clone(), name.value.clone()) {
                let message = format!(
                    "the account `{}` is one of `{first}` already: a login has one issuer",
                    account.value
                );
                resolver.error(account, message);
                complete = false;
            }
        }
        match issuer(resolver, raw) {
            Some(issuer) => {
                issuers.insert(name.value.clone(), issuer);
            }
            None => complete = false,
        }
    }
    complete.then_some(issuers)
}

fn issuer(resolver: &mut Resolver<'_>, raw: &Spanned<RawTokenIssuer>) -> Option<TokenIssuer> {
    let origin = resolver.origin(raw);
    let raw = &raw.value;
    let shown = "an address such as `https://login.example.com` (http only on loopback)";
    let issuer = resolver
        .required(&raw.issuer, Some(&origin), "issuer")
        .and_then(|leaf| resolver.parse(leaf, shown, web_address));
    // Without one, a token for anything else would open the database.
    let audiences = resolver
        .required(&raw.audience, Some(&origin), "audience")
        .and_then(|leaf| {
            let listed = each(leaf);
            if listed.is_empty() {
                resolver.error(leaf, "expected at least one audience");
                return None;
            }
            let listed = listed.into_iter();
            let read = listed.map(|leaf| name(resolver, leaf, "what its tokens are for"));
            read.collect::<Option<BTreeSet<_>>>()
        });
    let jwks_url = raw
        .jwks_url
        .as_ref()
        .map(|leaf| resolver.parse(leaf, shown, web_address));
    let ca = raw
        .ca
        .as_ref()
        .map(|leaf| resolver.existing(leaf, "the certificate authority file"));
    // Without a default: the wrong one would let somebody be two people.
    let person_claim = resolver
        .required(&raw.person_claim, Some(&origin), "person_claim")
        .and_then(|leaf| name(resolver, leaf, "a claim such as `preferred_username`"));
    let groups_claim = match &raw.groups_claim {
        Some(leaf) => name(resolver, leaf, "a claim such as `groups`"),
        None => Some(GROUPS_CLAIM.to_owned()),
    };
    let attributes = raw.attributes.iter().flat_map(|raw| &raw.value.0);
    let attributes: Option<BTreeMap<String, String>> = attributes
        .map(|(attribute, leaf)| {
            let claim = name(resolver, leaf, "a claim such as `department`")?;
            Some((attribute.value.clone(), claim))
        })
        .collect();
    let accounts = resolver
        .required(&raw.accounts, Some(&origin), "accounts")
        .and_then(|accounts| {
            if accounts.value.0.is_empty() {
                resolver.error(accounts, "expected at least one database user");
                return None;
            }
            let listed = accounts.value.0.iter();
            let read = listed.map(|(account, raw)| {
                let password = raw
                    .value
                    .password
                    .as_ref()
                    .map(|leaf| resolver.secret(leaf));
                Some((account.value.clone(), super::load::transpose(password)?))
            });
            read.collect::<Option<BTreeMap<_, _>>>()
        });
    let (mut leeway, mut refresh, mut max_age) = (LEEWAY, REFRESH, MAX_AGE);
    for (leaf, slot) in [(&raw.refresh, &mut refresh), (&raw.max_age, &mut max_age)] {
        set_duration(resolver, leaf, slot);
    }
    set(
        resolver,
        &raw.leeway,
        &mut leeway,
        "a duration up to `5min`",
        |text| units::duration(text).filter(|leeway| *leeway <= LONGEST_LEEWAY),
    );
    if max_age < refresh {
        let diagnostic = Diagnostic::error(
            &origin,
            "`max_age` is shorter than `refresh`: there would be gaps",
        );
        resolver
            .diagnostics
            .push(diagnostic.suggest("let it be several times as long"));
    }
    let at_expiry = match &raw.at_expiry {
        Some(leaf) => resolver.word(leaf, &AtExpiry::ALL),
        None => Some(AtExpiry::End),
    };
    let allow_plaintext = resolver.optional(&raw.allow_plaintext, Resolver::boolean);
    Some(TokenIssuer {
        issuer: issuer?,
        audiences: audiences?,
        jwks_url: super::load::transpose(jwks_url)?,
        ca: super::load::transpose(ca)?,
        person_claim: person_claim?,
        groups_claim: groups_claim?,
        attributes: attributes?,
        accounts: accounts?,
        leeway,
        refresh,
        max_age,
        at_expiry: at_expiry?,
        allow_plaintext: allow_plaintext.unwrap_or(false),
    })
}
