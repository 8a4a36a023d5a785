//! Connections that do not go on: a client that reads nothing holds a place that others need.
use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::time::timeout;

/// Serves a connection for so long; then it is told to end with the answer under way (`last`), and for that it has `grace`.
/// `None`: it had not ended by then.
pub async fn within<C: Future>(
    served: C,
    life: Duration,
    grace: Duration,
    last: impl FnOnce(Pin<&mut C>),
) -> Option<C::Output> {
    let mut served = pin!(served);
    if let Ok(ended) = timeout(life, served.as_mut()).await {
        return Some(ended);
    }
    last(served.as_mut());
    timeout(grace, served).await.ok()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn what_does_not_go_on_ends() {
        let short = Duration::from_millis(10);
        let told = Cell::new(false);
        let ended = within(std::future::pending::<()>(), short, short, |_| {
            told.set(true)
        })
        .await;
        assert_eq!((ended, told.get()), (None, true));
        let ended = within(std::future::ready(7), short, short, |_| {}).await;
        assert_eq!(ended, Some(7));
    }
}
