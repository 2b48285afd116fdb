//! Whoever follows what others commit must not wait for those who work.

use super::patience::carried_over;

tokio::task_local! {
    static FOLLOWING: ();
}

/// Does `work`, whose calls to the store count as following: where a store keeps connections for that, they take those. A node
/// that does not follow, or does not announce itself, must stop issuing; much to do must not bring that about.
pub async fn following<T>(work: impl Future<Output = T>) -> T {
    FOLLOWING.scope((), work).await
}

/// The same of `work` that is begun here and done on another thread; if it is a request's, it waits no longer than that there either.
pub fn carried<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let work = carried_over(work);
    let is_following = FOLLOWING.try_with(|()| ()).is_ok();
    move || if is_following { FOLLOWING.sync_scope((), work) } else { work() }
}

/// Whether this call is one of them.
#[cfg(feature = "postgres")]
pub(super) fn is_following() -> bool {
    FOLLOWING.try_with(|()| ()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Patience;
    use crate::store::patience::is_asked_for;

    #[tokio::test]
    async fn what_another_thread_does_for_a_request_is_that_requests() {
        let aside = || tokio::task::spawn_blocking(carried(is_asked_for));
        assert!(!aside().await.unwrap());
        assert!(Patience::of_a_request(async { aside().await.unwrap() }).await);
    }
}
