//! Signing in by an OpenID Connect provider: authorization code with PKCE (RFC 7636), state and nonce.
//!
//! Nothing is stored between the two requests: state, nonce and code verifier follow from one random secret that only the
//! browser's cookie has. An answer therefore serves the browser that asked, and nobody else.
use std::collections::BTreeSet;
use std::pin::Pin;
use std::time::Duration;

use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreErrorResponseType,
    CoreGenderClaim, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm,
    CoreProviderMetadata, CoreRevocableToken, CoreRevocationErrorResponse,
    CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AdditionalClaims, AsyncHttpClient, AuthorizationCode, Client, ClientId, ClientSecret,
    CsrfToken, EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest,
    HttpResponse, IdTokenFields, IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier,
    RedirectUrl, Scope, StandardErrorResponse, StandardTokenResponse, TokenResponse,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::RwLock;

use super::Console;
use crate::admin::accounts::{Identity, random};
use crate::config::OidcSettings;
use crate::export::desk::now;
use crate::export::store::{Document, Put, Seconds, Store, StoreError};
use crate::outbound;

/// Kind of the documents that remember who a provider's subject is.
const SUBJECT: &str = "provider_subject";
/// For one request to the provider.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a provider's answer.
const MAX_ANSWER: usize = 1024 * 1024;
/// How long the provider's description and keys are kept, in seconds.
const KEPT: Seconds = 600;
/// Where the provider sends browsers back to.
const RETURN: &str = "/login/provider/return";

/// Why nobody is signed in. Holds no code, token or secret.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OidcError {
    #[error("{0}")]
    Setup(String),
    #[error("the provider cannot be asked: {0}")]
    Provider(String),
    #[error("the answer is not one to a question of this browser")]
    State,
    #[error("the provider gave no token for the code")]
    Code,
    #[error("the identity token does not hold: {0}")]
    Token(String),
    #[error("the identity token has no usable claim `{0}`")]
    Claim(String),
    #[error(
        "the provider names another person for this subject, or another subject for this person, than before"
    )]
    Other,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// All claims that no standard type has.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Claims(Map<String, Value>);

impl AdditionalClaims for Claims {}

type Fields = IdTokenFields<
    Claims,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;
type Tokens = StandardTokenResponse<Fields, CoreTokenType>;
type OidcClient = Client<
    Claims,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    Tokens,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// The provider that people may sign in with.
pub struct Provider {
    settings: OidcSettings,
    back: RedirectUrl,
    http: Http,
    /// What it says of itself, and when it said so.
    known: RwLock<Option<(Seconds, CoreProviderMetadata)>>,
}

impl Provider {
    /// `base`: the console's own address. Nothing is asked yet.
    ///
    /// # Errors
    /// An address is none.
    pub fn new(settings: OidcSettings, base: &str) -> Result<Self, OidcError> {
        let setup = |error: &dyn std::fmt::Display| OidcError::Setup(error.to_string());
        let http = reqwest::Client::builder()
            // What redirects a provider's answer leads elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| setup(&error))?;
        let back = RedirectUrl::new(format!("{base}{RETURN}")).map_err(|error| setup(&error))?;
        Ok(Provider {
            settings,
            back,
            http: Http(http),
            known: RwLock::new(None),
        })
    }

    /// Where a browser with this secret goes to sign in.
    ///
    /// # Errors
    /// The provider cannot be asked what it is.
    pub async fn begin(&self, browser: &str) -> Result<String, OidcError> {
        let client = self.client().await?;
        let verifier = PkceCodeVerifier::new(random::derived(browser, "verifier"));
        let (state, nonce) = (
            random::derived(browser, "state"),
            random::derived(browser, "nonce"),
        );
        let (url, _, _) = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                move || CsrfToken::new(state),
                move || Nonce::new(nonce),
            )
            .add_scope(Scope::new("profile".to_owned()))
            .add_scope(Scope::new("email".to_owned()))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .url();
        Ok(url.to_string())
    }

    /// Who the provider says the browser with this secret is.
    ///
    /// # Errors
    /// Why nobody.
    pub async fn end(
        &self,
        console: &Console,
        browser: &str,
        state: &str,
        code: &str,
    ) -> Result<Identity, OidcError> {
        if browser.is_empty() || !random::same(&random::derived(browser, "state"), state) {
            return Err(OidcError::State);
        }
        let client = self.client().await?;
        let tokens: Tokens = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|error| OidcError::Provider(error.to_string()))?
            .set_pkce_verifier(PkceCodeVerifier::new(random::derived(browser, "verifier")))
            .request_async(&self.http)
            .await
            // The error could repeat what was sent.
            .map_err(|_| OidcError::Code)?;
        let token = tokens
            .id_token()
            .ok_or_else(|| OidcError::Token("there is none".to_owned()))?;
        let nonce = Nonce::new(random::derived(browser, "nonce"));
        let claims = token
            .claims(&client.id_token_verifier(), &nonce)
            .map_err(|error| OidcError::Token(error.to_string()))?;
        let claims = serde_json::to_value(claims)
            .ok()
            .and_then(|claims| match claims {
                Value::Object(claims) => Some(claims),
                _ => None,
            })
            .ok_or_else(|| OidcError::Token("its claims cannot be read".to_owned()))?;
        let subject = text(&claims, "sub")?;
        let (person, groups) = who(&self.settings, &claims)?;
        self.remember(&**console.desk.store(), &subject, &person)
            .await?;
        Ok(Identity {
            account: None,
            person,
            groups,
            epoch: 0,
        })
    }

    /// A subject stays the person it was, and no two subjects are one person: a name that somebody may change at the
    /// provider makes nobody two people.
    async fn remember(
        &self,
        store: &dyn Store,
        subject: &str,
        person: &str,
    ) -> Result<(), OidcError> {
        let key = random::fingerprint(&format!("{}\n{subject}", self.settings.issuer));
        let plain = person.trim().to_lowercase();
        if let Some(found) = store.get(SUBJECT, &key, now()).await? {
            return match found.claim.as_deref() == Some(plain.as_str()) {
                true => Ok(()),
                false => Err(OidcError::Other),
            };
        }
        let document = Document {
            kind: SUBJECT,
            key: key.clone(),
            revision: 0,
            label: String::new(),
            claim: Some(plain.clone()),
            body: Value::from(person).to_string(),
            expires: None,
        };
        match store.put(&document, now()).await? {
            Put::Stored(_) => Ok(()),
            Put::Claimed(_) => Err(OidcError::Other),
            Put::Stale => match store.get(SUBJECT, &key, now()).await? {
                Some(found) if found.claim.as_deref() == Some(plain.as_str()) => Ok(()),
                _ => Err(OidcError::Other),
            },
        }
    }

    async fn client(&self) -> Result<OidcClient, OidcError> {
        let metadata = self.metadata().await?;
        let secret = self
            .settings
            .client_secret
            .as_ref()
            .map(|secret| ClientSecret::new(secret.expose().to_owned()));
        let id = ClientId::new(self.settings.client_id.clone());
        let client: OidcClient = Client::from_provider_metadata(metadata, id, secret);
        Ok(client.set_redirect_uri(self.back.clone()))
    }

    async fn metadata(&self) -> Result<CoreProviderMetadata, OidcError> {
        let now = now();
        if let Some((since, metadata)) = &*self.known.read().await
            && now < since.saturating_add(KEPT)
        {
            return Ok(metadata.clone());
        }
        let failed = |error: &dyn std::fmt::Display| OidcError::Provider(error.to_string());
        let issuer =
            IssuerUrl::new(self.settings.issuer.clone()).map_err(|error| failed(&error))?;
        let metadata = CoreProviderMetadata::discover_async(issuer, &self.http)
            .await
            .map_err(|error| failed(&error))?;
        *self.known.write().await = Some((now, metadata.clone()));
        Ok(metadata)
    }
}

/// Asks the provider.
struct Http(reqwest::Client);

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = AskError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, AskError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.ask(request))
    }
}

impl Http {
    async fn ask(&self, request: HttpRequest) -> Result<HttpResponse, AskError> {
        let request = reqwest::Request::try_from(request).map_err(|error| AskError::of(&error))?;
        let mut response = self
            .0
            .execute(request)
            .await
            .map_err(|error| AskError::of(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = outbound::body(&mut response, MAX_ANSWER).await;
        let body = body.map_err(AskError)?;
        let mut answer = HttpResponse::new(body);
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct AskError(String);

impl AskError {
    fn of(error: &dyn std::fmt::Display) -> Self {
        AskError(error.to_string())
    }
}

fn text(claims: &Map<String, Value>, claim: &str) -> Result<String, OidcError> {
    let missing = || OidcError::Claim(claim.to_owned());
    let text = claims.get(claim).and_then(Value::as_str);
    let text = text.map(str::trim).ok_or_else(missing)?;
    let fits = (1..=128).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned()).ok_or_else(missing)
}

/// The person and the approver groups that claims stand for.
fn who(
    settings: &OidcSettings,
    claims: &Map<String, Value>,
) -> Result<(String, BTreeSet<String>), OidcError> {
    let person = text(claims, &settings.person_claim)?;
    // An address that nobody has checked is no name: anybody may claim it.
    if settings.person_claim == "email" && claims.get("email_verified") != Some(&Value::Bool(true))
    {
        return Err(OidcError::Claim("email_verified".to_owned()));
    }
    let listed: Vec<&str> = match claims.get(&settings.groups_claim) {
        Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(group)) => vec![group.as_str()],
        _ => Vec::new(),
    };
    let groups = listed
        .into_iter()
        .filter_map(|group| settings.groups.get(group))
        .cloned()
        .collect();
    Ok((person, groups))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn settings(person_claim: &str) -> OidcSettings {
        OidcSettings {
            issuer: "http://127.0.0.1:1".to_owned(),
            client_id: "pgveil".to_owned(),
            client_secret: None,
            person_claim: person_claim.to_owned(),
            groups_claim: "groups".to_owned(),
            groups: [("Legal Team", "legal"), ("Privacy", "dpo")]
                .map(|(theirs, ours)| (theirs.to_owned(), ours.to_owned()))
                .into(),
        }
    }

    fn read(settings: &OidcSettings, claims: Value) -> Result<(String, BTreeSet<String>), String> {
        let Value::Object(claims) = claims else {
            panic!("an object")
        };
        who(settings, &claims).map_err(|error| error.to_string())
    }

    #[test]
    fn groups_are_those_that_the_settings_name() {
        let claims = json!({ "sub": "1", "groups": ["Legal Team", "legal", "dpo", 7] });
        let (person, groups) = read(&settings("sub"), claims).expect("somebody");
        assert_eq!(person, "1");
        assert_eq!(groups, BTreeSet::from(["legal".to_owned()]));
        let none = read(&settings("sub"), json!({ "sub": "1" })).expect("somebody");
        assert_eq!(none.1, BTreeSet::new());
    }

    #[test]
    fn an_address_counts_once_it_is_verified() {
        let lena = json!({ "sub": "1", "email": "lena@example.com" });
        assert!(read(&settings("email"), lena).is_err());
        let lena = json!({ "email": "lena@example.com", "email_verified": true });
        assert!(read(&settings("email"), lena).is_ok());
        assert!(read(&settings("name"), json!({ "name": "a\nb" })).is_err());
        assert!(read(&settings("name"), json!({ "name": ["a"] })).is_err());
    }
}
