//! How many requests wait for signatures, and how long: for those who look after approvers.
use super::Desk;
use crate::export::request::State;
use crate::export::store::StoreError;

/// Requests that wait for signatures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    pub count: u64,
    /// Seconds since the oldest was made; 0 where there is none.
    pub oldest: u64,
}

impl Desk {
    /// What waits for signatures in the whole store.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn waiting(&self) -> Result<Waiting, StoreError> {
        let pending: Vec<State> = State::ALL
            .into_iter()
            .filter(|state| state.is_pending())
            .collect();
        let requests = self.list(&pending).await?;
        let now = self.now();
        let waits = requests.iter().map(|request| now - request.opened).max();
        Ok(Waiting {
            count: requests.len() as u64,
            oldest: waits
                .and_then(|waits| u64::try_from(waits).ok())
                .unwrap_or(0),
        })
    }
}
