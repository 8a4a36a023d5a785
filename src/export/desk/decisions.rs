//! What people do to a request: sign it, refuse it, take it back, say why.
use super::{ATTEMPTS, Desk, DeskError, busy};
use crate::export::request::{Approver, Objection, Request, Terms};
use crate::export::store::Seconds;

impl Desk {
    /// Signs for a group.
    ///
    /// # Errors
    /// The person may not sign, or not on these terms; the store or the record cannot be written.
    pub async fn approve(
        &self,
        id: &str,
        approver: &Approver,
        group: Option<&str>,
        terms: &Terms,
        comment: Option<&str>,
    ) -> Result<Request, DeskError> {
        self.change(id, |request, now| {
            request.approve(approver, group, terms, comment.map(str::to_owned), now)
        })
        .await
    }

    /// Refuses a request for good.
    ///
    /// # Errors
    /// As [`Request::reject`]; the store or the record cannot be written.
    pub async fn reject(
        &self,
        id: &str,
        approver: &Approver,
        comment: Option<&str>,
    ) -> Result<Request, DeskError> {
        self.change(id, |request, now| {
            request.reject(approver, comment.map(str::to_owned), now)
        })
        .await
    }

    /// Takes a request back, for the person who asked.
    ///
    /// # Errors
    /// As [`Request::withdraw`]; the store or the record cannot be written.
    pub async fn withdraw(&self, id: &str, person: &str) -> Result<Request, DeskError> {
        self.change(id, |request, now| request.withdraw(person, now))
            .await
    }

    /// Gives a request its reason, for the person who asked.
    ///
    /// # Errors
    /// As [`Request::explain`]; the store or the record cannot be written.
    pub async fn explain(
        &self,
        id: &str,
        person: &str,
        reason: &str,
    ) -> Result<Request, DeskError> {
        self.change(id, |request, now| {
            request.explain(person, reason.to_owned(), now)
        })
        .await
    }

    async fn change(
        &self,
        id: &str,
        change: impl Fn(&Request, Seconds) -> Result<Request, Objection>,
    ) -> Result<Request, DeskError> {
        for _ in 0..ATTEMPTS {
            let now = self.clock.now();
            let (found, revision) = self
                .read(id)
                .await?
                .ok_or_else(|| DeskError::Unknown(id.to_owned()))?;
            if let Some(lapsed) = found.lapse(Some(self.policy.load().as_str()), now) {
                self.replace(lapsed, revision).await?;
                continue;
            }
            let next = change(&found, now)?;
            if let Some(request) = self.replace(next, revision).await? {
                return Ok(request);
            }
        }
        Err(busy().into())
    }
}
