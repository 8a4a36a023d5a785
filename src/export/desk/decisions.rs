//! What people do to a request: sign it, refuse it, take it back, say why.
use super::{ATTEMPTS, Desk, DeskError, busy};
use crate::export::request::{Approver, Objection, Request, Terms};
use crate::export::store::Seconds;

impl Desk {
    /// Signs for a group what the approver has read: `seen` steps of the request's history.
    ///
    /// # Errors
    /// The request has changed since; the person may not sign, or not on these terms; the store or the record cannot be written.
    pub async fn approve(
        &self,
        id: &str,
        approver: &Approver,
        group: Option<&str>,
        terms: &Terms,
        comment: Option<&str>,
        seen: usize,
    ) -> Result<Request, DeskError> {
        self.change(id, Some(seen), |request, now| {
            request.approve(approver, group, terms, comment.map(str::to_owned), now)
        })
        .await
    }

    /// Refuses a request for good; as it was read, if `seen` says how many steps of its history that were.
    ///
    /// # Errors
    /// As [`Request::reject`], or the request has changed since; the store or the record cannot be written.
    pub async fn reject(
        &self,
        id: &str,
        approver: &Approver,
        comment: Option<&str>,
        seen: Option<usize>,
    ) -> Result<Request, DeskError> {
        self.change(id, seen, |request, now| {
            request.reject(approver, comment.map(str::to_owned), now)
        })
        .await
    }

    /// Takes a request back, for the person who asked.
    ///
    /// # Errors
    /// As [`Request::withdraw`]; the store or the record cannot be written.
    pub async fn withdraw(&self, id: &str, person: &str) -> Result<Request, DeskError> {
        self.change(id, None, |request, now| request.withdraw(person, now))
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
        self.change(id, None, |request, now| {
            request.explain(person, reason.to_owned(), now)
        })
        .await
    }

    async fn change(
        &self,
        id: &str,
        seen: Option<usize>,
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
            // Within the revision that is replaced: nobody changes it between this and the signature.
            let steps = found.history.len();
            if let Some(seen) = seen.filter(|seen| *seen != steps && !found.state.has_ended()) {
                return Err(Objection::Changed { seen, steps }.into());
            }
            let next = change(&found, now)?;
            if let Some(request) = self.replace(next, revision).await? {
                return Ok(request);
            }
        }
        Err(busy().into())
    }
}
