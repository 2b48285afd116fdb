//! What comes twice while the store fails at any call: no replay is refused as one unless what it was spent for is over.

use serde_json::json;
use signet::oauth::FamilyId;

use crate::faulty_store::{House, as_answer};
use crate::grants_fixture::{World, pair};
use crate::test_app::Answer;

/// What came of a spent code or token that is presented again. That it is refused as such says that its family has ended
/// (RFC 6749, section 4.1.2; RFC 9700, section 4.14.2); it is asked for again as anything else is.
fn ended(refusal: Answer) -> Answer {
    let is_replay = refusal.status == 400 && refusal.json()["error"] == json!("invalid_grant");
    if is_replay { as_answer(&Ok::<(), ()>(())) } else { refusal }
}

/// A family that was spent from twice: what is presented again, and what still counts of it.
struct Family {
    /// Its name, where that is known.
    name: Option<FamilyId>,
    spent: String,
    access: String,
    refresh: String,
}

impl Family {
    async fn of_code(world: &World, _: usize) -> Self {
        let spent = world.code().await;
        let (access, refresh) = pair(&world.redeem(&spent).await);
        Self { name: None, spent, access, refresh }
    }

    /// The token that comes again is not the last one spent, which may.
    async fn of_refresh_token(world: &World, _: usize) -> Self {
        let (_, spent) = world.tokens().await;
        let (_, second) = pair(&world.refresh(&spent).await);
        let (access, refresh) = pair(&world.refresh(&second).await);
        let opened = world.services().refresh_tokens.open(&spent).await.expect("keys").expect("a token");
        Self { name: Some(opened.family), spent, access, refresh }
    }

    async fn has_ended(&self, world: &World) -> bool {
        let (access, refresh) = (world.is_active(&self.access).await, world.is_active(&self.refresh).await);
        // Its access tokens are revoked when no more can come, so that whoever goes on finds none that was left out.
        assert!(access || !refresh, "an access token ended before what it can be had anew by");
        !access && !refresh
    }
}

#[actix_web::test]
async fn what_comes_twice_ends_its_family_whatever_fails() {
    let house = House::open().await;
    house
        .hold(
            "a spent code comes again",
            Family::of_code,
            async |world: &World, family: &Family| ended(world.redeem(&family.spent).await),
            (
                async |world: &World, family: &Family, _: Option<&Answer>| family.has_ended(world).await,
                async |world: &World, family: &Family, _| {
                    world.redeem(&family.spent).await.refused(400, "invalid_grant");
                    assert!(family.has_ended(world).await);
                },
            ),
        )
        .await
        .hold(
            "a used refresh token comes again",
            Family::of_refresh_token,
            async |world: &World, family: &Family| ended(world.refresh(&family.spent).await),
            (
                async |world: &World, family: &Family, _: Option<&Answer>| family.has_ended(world).await,
                async |world: &World, family: &Family, _| {
                    world.refresh(&family.spent).await.refused(400, "invalid_grant");
                    assert!(family.has_ended(world).await);
                    // Also where it was revoked by the request that failed: to this one it is merely dead.
                    let (log, name) = (world.app.audit_log(), family.name.as_ref().expect("a name").as_str());
                    let is_told =
                        |line: &str| line.contains("\"refresh_token.reused\"") && line.contains(name);
                    assert!(log.lines().any(is_told), "{name} is not on record");
                },
            ),
        )
        .await;
}
