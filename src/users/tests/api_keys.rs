use std::pin::pin;
use std::task::Poll;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::*;
use crate::oauth::{Resource, Scope};
use crate::store::{Batch, Changes, Committed, Cursor, Row, SharedFrozen, Store, StoreError, Table};

/// Whoever revokes a key that seems never to have been used leaves no cut-off behind: a use at the same time must come
/// before the revocation, and be seen by it, or come too late.
#[tokio::test]
async fn a_first_use_comes_before_the_revocation_or_too_late() {
    let mut outcomes = Vec::new();
    for ahead in 0..6 {
        let ground = Ground::new();
        let keys = ApiKeys::new(ground.store.clone(), ground.clock(), ground.entropy.clone());
        let made = keys.create(new_key()).await.unwrap();
        let mut used = pin!(keys.authenticate(made.secret.expose()));
        let mut early = None;
        for _ in 0..ahead {
            if early.is_none() {
                early = std::future::poll_fn(|context| {
                    Poll::Ready(match used.as_mut().poll(context) {
                        Poll::Ready(done) => Some(done),
                        Poll::Pending => None,
                    })
                })
                .await;
            }
        }
        let revoked = keys.revoke(made.key.id.as_str());
        let (used, revoked) =
            if let Some(used) = early { (used, revoked.await) } else { tokio::join!(used, revoked) };
        let (used, seen) = (used.unwrap().is_some(), revoked.unwrap().last_used_at.is_some());
        assert_eq!(used, seen, "{ahead} steps ahead");
        outcomes.push(used);
    }
    assert!(outcomes.contains(&true) && outcomes.contains(&false), "{outcomes:?}");
}

/// The same, in the one order that matters: the key is used for the first time between the look of whoever revokes it and
/// the revocation.
#[tokio::test]
async fn a_first_use_within_a_revocation_is_seen_by_it() {
    let ground = Ground::new();
    let slow = Arc::new(SlowReader { store: ground.store.clone(), after_a_read: Mutex::default() });
    let keys = ApiKeys::new(ground.store.clone(), ground.clock(), ground.entropy.clone());
    let revoking = ApiKeys::new(slow.clone(), ground.clock(), ground.entropy.clone());
    let made = keys.create(new_key()).await.unwrap();
    let secret = made.secret.expose().to_owned();
    *slow.after_a_read.lock().unwrap() = Some(Box::pin(async move {
        assert!(keys.authenticate(&secret).await.unwrap().is_some(), "it is not revoked yet");
    }));
    let revoked = revoking.revoke(made.key.id.as_str()).await.unwrap();
    assert!(revoked.last_used_at.is_some(), "what was issued by that use is cut off");
}

fn new_key() -> NewApiKey {
    NewApiKey {
        name: "ci".into(),
        owner: ApiKeyOwner::User(user("alice")),
        scope: Scope::parse("read").unwrap(),
        resources: vec![Resource::parse("https://api.example.com").unwrap()],
        expires_at: None,
    }
}

/// Lets something else happen once between a read and whatever its reader does next.
struct SlowReader {
    store: Arc<dyn Store>,
    after_a_read: Mutex<Option<std::pin::Pin<Box<dyn Future<Output = ()> + Send>>>>,
}

#[async_trait]
impl Store for SlowReader {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Row>, StoreError> {
        let row = self.store.get(table, key).await;
        let meanwhile = self.after_a_read.lock().unwrap().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile.await;
        }
        row
    }

    async fn scan(
        &self,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Row)>, StoreError> {
        self.store.scan(table, after, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, StoreError> {
        self.store.commit(batch).await
    }

    async fn changes(&self, after: Cursor) -> Result<Changes, StoreError> {
        self.store.changes(after).await
    }

    async fn sweep(&self, now: DateTime<Utc>, limit: usize) -> Result<usize, StoreError> {
        self.store.sweep(now, limit).await
    }

    async fn freeze(&self) -> Result<SharedFrozen, StoreError> {
        self.store.freeze().await
    }
}
