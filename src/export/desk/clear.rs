//! Grants that take masks off.
use std::collections::BTreeSet;
use std::sync::Arc;

use super::document::claim;
use super::{ATTEMPTS, Desk, DeskError, busy};
use crate::export::request::{Asked, Request, State};
use crate::export::store::StoreError;

impl Desk {
    /// Whether anybody has a grant that takes masks off, as far as is known here.
    pub fn has_clear(&self) -> bool {
        !self.clear.load().is_empty()
    }

    /// Classes that a grant of the person takes the masks off, for statements of this fingerprint. `None`: there is no such
    /// grant, as far as is known here: what other proxies have granted is known after the next [`Desk::catch_up`].
    pub fn clear_for(
        &self,
        person: &str,
        role: &str,
        database: &str,
        fingerprint: &str,
    ) -> Option<BTreeSet<String>> {
        let clear = self.clear.load();
        let found = clear.iter().find(|request| {
            let asked = &request.asked;
            asked.person == person
                && asked.role == role
                && asked.database == database
                && asked.fingerprint == fingerprint
        })?;
        Some(found.granted().clear)
    }

    /// The same of a grant for exactly this: with these values, under this policy.
    pub fn clear_for_exactly(&self, asked: &Asked) -> Option<BTreeSet<String>> {
        let (clear, wanted) = (self.clear.load(), claim(asked));
        let found = clear
            .iter()
            .find(|request| claim(&request.asked) == wanted)?;
        Some(found.granted().clear)
    }

    /// Uses a grant, if there is one for exactly this that takes the masks of these classes off.
    ///
    /// # Errors
    /// The store or the record cannot be written.
    pub async fn redeem(
        &self,
        asked: &Asked,
        clear: &BTreeSet<String>,
    ) -> Result<Option<Request>, DeskError> {
        let wanted = claim(asked);
        for _ in 0..ATTEMPTS {
            let now = self.clock.now();
            let Some((found, revision)) = self.holder(&wanted, now).await? else {
                return Ok(None);
            };
            // What was signed for other values says nothing of these.
            if found.granted().clear != *clear {
                return Ok(None);
            }
            let Ok(used) = found.spend(asked, now) else {
                return Ok(None);
            };
            if let Some(request) = self.replace(used, revision).await? {
                return Ok(Some(request));
            }
        }
        Err(busy().into())
    }

    pub(super) async fn look_for_clear(&self) -> Result<(), StoreError> {
        let mut granted = self.list(&[State::Granted]).await?;
        granted.retain(|request| !request.granted().clear.is_empty());
        self.clear.store(Arc::new(granted));
        Ok(())
    }
}
