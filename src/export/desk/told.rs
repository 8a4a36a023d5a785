//! What approvers were told, for whoever tells them ([`crate::export::notify`]).
use super::document::{Left, label};
use super::{ATTEMPTS, Desk, busy};
use crate::export::request::{Request, State};
use crate::export::store::{Put, StoreError};

impl Desk {
    /// Requests with steps that approvers have not been told of, the oldest first; of very many, some.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn untold(&self, limit: usize) -> Result<Vec<Request>, StoreError> {
        let wanted = State::ALL
            .into_iter()
            .flat_map(|state| [Left::Untold, Left::Unrecorded].map(|left| label(state, left)));
        let mut requests = self.labelled(&wanted.collect::<Vec<_>>(), limit).await?;
        requests.retain(|request| request.notified < request.history.len());
        requests.sort_by(|one, other| (one.opened, &one.id).cmp(&(other.opened, &other.id)));
        Ok(requests)
    }

    /// Approvers have been told of the first `steps` of a request's history.
    ///
    /// # Errors
    /// The store cannot be written.
    pub async fn told(&self, id: &str, steps: usize) -> Result<(), StoreError> {
        for _ in 0..ATTEMPTS {
            let Some((mut request, revision)) = self.read(id).await? else {
                return Ok(());
            };
            if request.notified >= steps {
                return Ok(());
            }
            request.notified = steps;
            let document = self.document(&request, revision, None)?;
            if let Put::Stored(_) = self.store.put(&document, self.clock.now()).await? {
                return Ok(());
            }
        }
        Err(busy())
    }
}
