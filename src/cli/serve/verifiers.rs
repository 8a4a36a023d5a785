//! The server's own verifiers as the source for `auth: { method: scram }`.
use std::sync::Arc;

use crate::auth::VerifierSource;
use crate::auth::verifier::{Verifier, VerifierFuture};
use crate::catalog::CatalogStore;

/// Reads `pg_authid` over the catalog user's connection.
pub struct StoredVerifiers(pub Arc<CatalogStore>);

impl VerifierSource for StoredVerifiers {
    fn verifier<'a>(&'a self, user: &'a str) -> VerifierFuture<'a> {
        Box::pin(async move {
            let stored = self.0.verifier(user).await?;
            Ok(stored.map(|stored| Verifier {
                secret: stored.secret,
                valid_until: stored.valid_until,
            }))
        })
    }
}
