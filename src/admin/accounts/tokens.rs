//! Tokens: how programs show who they act for.
use serde::{Deserialize, Serialize};

use super::{Account, AccountError, Accounts, Identity, in_seconds, random};
use crate::export::desk::now;
use crate::export::store::{Document, Put, Seconds, StoreError};

/// Kind of the documents that hold tokens, each under its fingerprint.
const TOKEN: &str = "token";
/// What tokens begin with, so that scanners for leaked secrets know them.
const PREFIX: &str = "pgveil_";
/// Tokens one account may have.
const MAX_TOKENS: usize = 20;
/// How long a token may live.
pub const MAX_DAYS: u32 = 365;

#[derive(Serialize, Deserialize)]
struct Body {
    id: String,
    account: String,
    /// [`Account::epoch`] when it was made.
    epoch: u32,
    label: String,
    created: Seconds,
    expires: Seconds,
}

/// A token as it is shown once.
pub struct IssuedToken {
    /// The secret.
    pub token: String,
    pub line: TokenLine,
}

/// What can be seen of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenLine {
    /// Eight hexadecimal digits.
    pub id: String,
    pub account: String,
    pub label: String,
    pub created: Seconds,
    pub expires: Seconds,
}

impl Accounts {
    /// Makes a token of an account.
    ///
    /// # Errors
    /// There is no such account, it has too many, the time is out of range, or the store cannot be written.
    pub async fn issue(
        &self,
        name: &str,
        label: &str,
        days: u32,
    ) -> Result<IssuedToken, AccountError> {
        if !(1..=MAX_DAYS).contains(&days) {
            return Err(AccountError::Days);
        }
        let account: Account = self.get(name).await?;
        if self.tokens(&account.name).await?.len() >= MAX_TOKENS {
            return Err(AccountError::TooManyTokens(account.name));
        }
        let now = now();
        let token = format!("{PREFIX}{}", random::secret()?);
        let fingerprint = random::fingerprint(&token);
        let line = TokenLine {
            id: fingerprint.chars().take(8).collect(),
            account: account.name.clone(),
            label: label
                .chars()
                .filter(|c| !c.is_control())
                .take(100)
                .collect(),
            created: now,
            expires: now.saturating_add(in_seconds(days)),
        };
        let body = Body {
            id: line.id.clone(),
            account: line.account.clone(),
            epoch: account.epoch,
            label: line.label.clone(),
            created: line.created,
            expires: line.expires,
        };
        let document = Document {
            kind: TOKEN,
            key: fingerprint,
            revision: 0,
            label: line.account.clone(),
            claim: None,
            body: serde_json::to_string(&body).map_err(StoreError::of)?,
            expires: Some(line.expires),
        };
        match self.store.put(&document, now).await? {
            Put::Stored(_) => Ok(IssuedToken { token, line }),
            Put::Stale | Put::Claimed(_) => Err(super::busy().into()),
        }
    }

    /// Who a token acts for; `None`: it is none, or not any more.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn bearer(&self, token: &str) -> Result<Option<Identity>, StoreError> {
        if !token.starts_with(PREFIX) || token.len() > 100 {
            return Ok(None);
        }
        let key = random::fingerprint(token);
        let Some(document) = self.store.get(TOKEN, &key, now()).await? else {
            return Ok(None);
        };
        let body = parse(&document)?;
        if now() >= body.expires {
            return Ok(None);
        }
        self.identity(&body.account, body.epoch).await
    }

    /// The tokens of an account.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn tokens(&self, name: &str) -> Result<Vec<TokenLine>, StoreError> {
        let documents = self.store.list(TOKEN, &[name], "", 1000, now()).await?;
        documents
            .iter()
            .map(|document| {
                let body = parse(document)?;
                Ok(TokenLine {
                    id: body.id,
                    account: body.account,
                    label: body.label,
                    created: body.created,
                    expires: body.expires,
                })
            })
            .collect()
    }

    /// Voids a token of an account by its identifier.
    ///
    /// # Errors
    /// The account has no such token, or the store cannot be written.
    pub async fn revoke(&self, name: &str, id: &str) -> Result<(), AccountError> {
        let documents = self.store.list(TOKEN, &[name], "", 1000, now()).await?;
        for document in documents {
            if parse(&document)?.id == id {
                self.store
                    .delete(TOKEN, &document.key, document.revision)
                    .await?;
                return Ok(());
            }
        }
        Err(AccountError::UnknownToken(id.chars().take(16).collect()))
    }

    pub(super) async fn remove_tokens(&self, name: &str) -> Result<(), AccountError> {
        for document in self.store.list(TOKEN, &[name], "", 1000, now()).await? {
            self.store
                .delete(TOKEN, &document.key, document.revision)
                .await?;
        }
        Ok(())
    }
}

fn parse(document: &Document) -> Result<Body, StoreError> {
    serde_json::from_str(&document.body).map_err(|_| StoreError("a token is damaged".to_owned()))
}
