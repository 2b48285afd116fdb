//! What each act of people's clients writes: how many commits, rows and bytes. The model in `docs/scale.md` rests on it.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde_json::json;
use signet::clock::ManualClock;
use signet::store::{
    Action, Batch, Changes, Committed, Cursor, MemoryStore, Row, SharedFrozen, Store, StoreError, Table,
};

use crate::grants_fixture::{World, pair};
use crate::test_app::{START, TestApp, form};

/// What was committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Written {
    commits: usize,
    /// Rows that were written or deleted; what a commit only looks at does not count.
    rows: usize,
    /// Their keys and values.
    bytes: usize,
}

/// A store in memory that counts.
struct Counting {
    inner: Arc<MemoryStore>,
    written: Mutex<Written>,
}

impl Counting {
    /// What was committed since this was asked last.
    fn take(&self) -> Written {
        std::mem::take(&mut self.written.lock().unwrap())
    }
}

#[async_trait]
impl Store for Counting {
    async fn get(&self, table: Table, key: &[u8]) -> Result<Option<Row>, StoreError> {
        self.inner.get(table, key).await
    }

    async fn scan(
        &self,
        table: Table,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Row)>, StoreError> {
        self.inner.scan(table, after, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<Committed, StoreError> {
        let sizes: Vec<usize> = batch
            .writes
            .iter()
            .filter_map(|write| match &write.action {
                Action::Put { value, .. } => Some(write.key.len() + value.len()),
                Action::Delete => Some(write.key.len()),
                Action::Check => None,
            })
            .collect();
        let committed = self.inner.commit(batch).await?;
        if committed == Committed::Applied {
            let mut written = self.written.lock().unwrap();
            written.commits += 1;
            written.rows += sizes.len();
            written.bytes += sizes.iter().sum::<usize>();
        }
        Ok(committed)
    }

    async fn changes(&self, after: Cursor) -> Result<Changes, StoreError> {
        self.inner.changes(after).await
    }

    async fn freeze(&self) -> Result<SharedFrozen, StoreError> {
        self.inner.freeze().await
    }

    async fn sweep(&self, now: DateTime<Utc>, limit: usize) -> Result<usize, StoreError> {
        self.inner.sweep(now, limit).await
    }
}

#[actix_web::test]
async fn what_is_written_for_each_act_of_a_client() {
    let clock = Arc::new(ManualClock::at(START));
    let store = Arc::new(Counting { inner: MemoryStore::new(clock.clone()), written: Mutex::default() });
    let world = World::on(TestApp::start_on(store.clone(), clock, |_| {}).await, json!({})).await;
    let told = |act: &str, commits: usize| {
        let Written { commits: made, rows, bytes } = store.take();
        println!("{act}: {made} commits, {rows} rows, {bytes} bytes of keys and values");
        assert_eq!(made, commits, "{act}");
        assert!(bytes < 2048, "{act}: {bytes}");
    };
    store.take();
    world.app.demo_token().await;
    told("access token by client credentials", 0);
    let code = world.code().await;
    told("code issued", 1);
    let (access, refresh) = pair(&world.redeem(&code).await);
    told("code exchanged", 1);
    let (_, refresh) = pair(&world.refresh(&refresh).await);
    told("first refresh", 1);
    pair(&world.refresh(&refresh).await);
    told("refresh", 1);
    let revoke = world.as_client(form("/oauth2/revoke", &format!("token={access}")));
    assert_eq!(world.app.send(revoke).await.status, 200);
    told("revocation of one token", 1);
}
