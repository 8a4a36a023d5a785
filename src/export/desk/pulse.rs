//! Whether the store takes what is to be kept, tried before somebody needs it to: a disk that is full can still be read.
use super::Desk;
use crate::export::store::{Document, StoreError};

/// Kind of the one document that is written for nothing else.
const PULSE: &str = "pulse";
const KEY: &str = "desk";

impl Desk {
    /// # Errors
    /// The store cannot be read or written.
    pub(super) async fn pulse(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        let found = self.store.get(PULSE, KEY, now).await?;
        let document = Document {
            kind: PULSE,
            key: KEY.to_owned(),
            revision: found.map_or(0, |found| found.revision),
            label: String::new(),
            claim: None,
            body: now.to_string(),
            expires: None,
        };
        // Where another proxy has written it meanwhile, it can be written.
        self.store.put(&document, now).await.map(drop)
    }
}
