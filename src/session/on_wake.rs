//! Futures that share a task and are polled only where they were woken themselves.
//!
//! Whatever wakes a task has all of it polled. A session waits for its client, for its server, and for what hardly ever
//! comes: another policy, the end of the process. To look at all of that for every message costs more than the message.
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// A future that is polled once, and from then on when it was woken.
#[derive(Debug)]
pub struct OnWake<F> {
    future: F,
    bell: Arc<Bell>,
    /// Rings the bell.
    waker: Waker,
}

#[derive(Debug)]
struct Bell {
    rung: AtomicBool,
    /// The task around it.
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Before the task is told: it looks at the bell when it comes.
        self.rung.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<F: Future + Unpin> OnWake<F> {
    pub fn new(future: F) -> Self {
        let bell = Arc::new(Bell {
            rung: AtomicBool::new(true),
            task: AtomicWaker::new(),
        });
        OnWake {
            future,
            waker: Waker::from(Arc::clone(&bell)),
            bell,
        }
    }
}

impl<F: Future + Unpin> Future for OnWake<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.get_mut();
        // Before the bell is looked at: who rings it afterwards finds the task.
        this.bell.task.register(context.waker());
        if !this.bell.rung.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        // Before the future is polled: what wakes it meanwhile has it polled again.
        this.bell.rung.swap(false, Ordering::AcqRel);
        Pin::new(&mut this.future).poll(&mut Context::from_waker(&this.waker))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use tokio::sync::{Notify, oneshot};

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn it_is_polled_when_it_was_woken_and_not_for_others() {
        let polls = Cell::new(0);
        let inner = Cell::new(None);
        let mut future = OnWake::new(poll_fn(|context| {
            polls.set(polls.get() + 1);
            inner.set(Some(context.waker().clone()));
            match polls.get() {
                3 => Poll::Ready("done"),
                _ => Poll::Pending,
            }
        }));
        let counter = Arc::new(Counter::default());
        let waker = Waker::from(Arc::clone(&counter));
        let mut poll = || Pin::new(&mut future).poll(&mut Context::from_waker(&waker));
        for _ in 0..3 {
            assert_eq!(poll(), Poll::Pending);
        }
        assert_eq!(polls.get(), 1);
        for (woken, outcome) in [(1, Poll::Pending), (2, Poll::Ready("done"))] {
            inner.take().expect("it was polled").wake();
            assert_eq!(counter.0.load(Ordering::Relaxed), woken);
            assert_eq!(poll(), outcome);
        }
        assert_eq!(polls.get(), 3);
    }

    #[test]
    fn what_wakes_it_while_it_is_polled_has_it_polled_again() {
        let mut woken = false;
        let mut future = OnWake::new(poll_fn(|context| {
            if std::mem::replace(&mut woken, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        }));
        let mut context = Context::from_waker(Waker::noop());
        assert_eq!(Pin::new(&mut future).poll(&mut context), Poll::Pending);
        assert_eq!(Pin::new(&mut future).poll(&mut context), Poll::Ready(()));
    }

    /// Threads ring while the task polls and moves between workers: no ring may be lost.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_ring_is_lost() {
        const ROUNDS: usize = 20_000;
        let (one, other) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (done, is_done) = oneshot::channel();
        let (ours, theirs) = (Arc::clone(&one), Arc::clone(&other));
        let ringing = tokio::spawn(async move {
            for _ in 0..ROUNDS {
                ours.notify_one();
                theirs.notified().await;
            }
            done.send(()).expect("somebody waits");
        });
        let mut answering = OnWake::new(Box::pin(async move {
            loop {
                one.notified().await;
                other.notify_one();
            }
        }));
        let mut is_done = OnWake::new(is_done);
        let all = async {
            tokio::select! {
                () = &mut answering => {}
                told = &mut is_done => told.expect("the other task is done"),
            }
        };
        tokio::time::timeout(Duration::from_secs(60), all)
            .await
            .expect("no ring is lost");
        ringing.await.expect("the other task ends");
    }
}
