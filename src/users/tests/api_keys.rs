use std::pin::pin;
use std::task::Poll;

use super::*;
use crate::oauth::{Resource, Scope};

/// Whoever revokes a key that seems never to have been used leaves no cut-off behind: a use at the same time must come
/// before the revocation, and be seen by it, or come too late.
#[tokio::test]
async fn a_first_use_comes_before_the_revocation_or_too_late() {
    let mut outcomes = Vec::new();
    for ahead in 0..6 {
        let ground = Ground::new();
        let keys = ApiKeys::new(ground.store.clone(), ground.clock(), ground.entropy.clone());
        let new = NewApiKey {
            name: "ci".into(),
            owner: ApiKeyOwner::User(user("alice")),
            scope: Scope::parse("read").unwrap(),
            resources: vec![Resource::parse("https://api.example.com").unwrap()],
            expires_at: None,
        };
        let made = keys.create(new).await.unwrap();
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
        let (used, revoked) = match early {
            Some(used) => (used, revoked.await),
            None => tokio::join!(used, revoked),
        };
        let (used, seen) = (used.unwrap().is_some(), revoked.unwrap().last_used_at.is_some());
        assert_eq!(used, seen, "{ahead} steps ahead");
        outcomes.push(used);
    }
    assert!(outcomes.contains(&true) && outcomes.contains(&false), "{outcomes:?}");
}
