//! Whoever follows what others commit must not wait for those who work.

tokio::task_local! {
    static FOLLOWING: ();
}

/// Does `work`, whose calls to the store count as following: where a store keeps connections for that, they take those. A node
/// that does not follow, or does not announce itself, must stop issuing; much to do must not bring that about.
pub async fn following<T>(work: impl Future<Output = T>) -> T {
    FOLLOWING.scope((), work).await
}

/// The same of `work` that is begun here and done on another thread.
pub fn carried<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let is_following = FOLLOWING.try_with(|()| ()).is_ok();
    move || if is_following { FOLLOWING.sync_scope((), work) } else { work() }
}

/// Whether this call is one of them.
#[cfg(feature = "postgres")]
pub(super) fn is_following() -> bool {
    FOLLOWING.try_with(|()| ()).is_ok()
}
