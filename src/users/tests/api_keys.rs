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
        let (used, seen) = (used.unwrap().is_some(), revoked.unwrap() == Revoked::Used);
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
    let slow = Yielding::over(ground.store.clone());
    let keys = ApiKeys::new(ground.store.clone(), ground.clock(), ground.entropy.clone());
    let revoking = ApiKeys::new(slow.clone(), ground.clock(), ground.entropy.clone());
    let made = keys.create(new_key()).await.unwrap();
    let secret = made.secret.expose().to_owned();
    *slow.after_a_read.lock().unwrap() = Some(Box::pin(async move {
        assert!(keys.authenticate(&secret).await.unwrap().is_some(), "it is not revoked yet");
    }));
    let revoked = revoking.revoke(made.key.id.as_str()).await.unwrap();
    assert_eq!(revoked, Revoked::Used, "what was issued by that use is cut off");
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
