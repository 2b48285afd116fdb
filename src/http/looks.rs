use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

/// Looks at something that is dear to look at, one at a time: all who ask while somebody looks share the next look. No answer is
/// older than its question.
pub(super) struct Looks<T> {
    /// How many were begun.
    begun: AtomicU64,
    /// The number of the last that ended, and what was seen.
    latest: Mutex<Option<(u64, T)>>,
}

impl<T> Default for Looks<T> {
    fn default() -> Self {
        Self { begun: AtomicU64::new(0), latest: Mutex::const_new(None) }
    }
}

impl<T: Clone> Looks<T> {
    /// What `look` sees now, or saw for somebody else since this was asked.
    pub(super) async fn ask(&self, look: impl AsyncFnOnce() -> T) -> T {
        let begun = self.begun.load(Ordering::SeqCst);
        let mut latest = self.latest.lock().await;
        if let Some((_, seen)) = latest.as_ref().filter(|(number, _)| *number > begun) {
            return seen.clone();
        }
        let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        let seen = look().await;
        *latest = Some((number, seen.clone()));
        seen
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::FutureExt as _;
    use futures_util::future::join_all;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn whoever_asks_meanwhile_shares_the_next_look_and_none_sees_what_was_before_they_asked() {
        let (looks, world, count) = (Looks::default(), Cell::new("before"), Cell::new(0));
        let (go_on, held) = oneshot::channel::<()>();
        let first = looks.ask(async || {
            count.set(count.get() + 1);
            let seen = world.get();
            held.await.unwrap();
            seen
        });
        let mut first = std::pin::pin!(first);
        assert_eq!(first.as_mut().now_or_never(), None);
        world.set("after");
        let others = (0..100).map(|_| {
            looks.ask(async || {
                count.set(count.get() + 1);
                world.get()
            })
        });
        let mut others = std::pin::pin!(join_all(others));
        assert_eq!(others.as_mut().now_or_never(), None);
        go_on.send(()).unwrap();
        assert_eq!(first.await, "before");
        assert!(others.await.iter().all(|seen| *seen == "after"));
        assert_eq!(count.get(), 2);
        world.set("later");
        assert_eq!(looks.ask(async || world.get()).await, "later");
    }

    #[tokio::test]
    async fn who_hangs_up_while_looking_keeps_nobody_waiting() {
        let looks = Looks::default();
        assert_eq!(looks.ask(async || std::future::pending::<u8>().await).now_or_never(), None);
        assert_eq!(looks.ask(async || 7).await, 7);
    }
}
