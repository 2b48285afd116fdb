use super::*;
use crate::oauth::{ClientId, Resource, Scope};
use crate::store::{Batch, Committed};
use crate::users::Asker;

fn at(uri: &str) -> [Resource; 1] {
    [Resource::parse(uri).unwrap()]
}

fn asker(client_id: &ClientId, registered_at: chrono::DateTime<chrono::Utc>) -> Asker<'_> {
    Asker { client_id, registered_at, shown_as: None }
}

const API: &str = "https://api.example.com";

#[tokio::test]
async fn consents_add_up_until_they_are_withdrawn() {
    let ground = Ground::new();
    let consents = Consents::new(ground.store.clone(), ground.clock());
    let (alice, shop) = (user("alice"), ClientId::parse("shop").unwrap());
    let registered = ground.clock.now();
    let scope = |text| Scope::parse(text).unwrap();
    assert_eq!(consents.granted(&alice, asker(&shop, registered)).await.unwrap(), None);
    consents.allow(&alice, asker(&shop, registered), (&at(API), &scope("openid read"))).await.unwrap();
    ground.pass(10);
    let both =
        consents.allow(&alice, asker(&shop, registered), (&at(API), &scope("write read"))).await.unwrap();
    assert_eq!(both.resources[&at(API)[0]], scope("openid read write"));
    assert_eq!((both.allowed_at, both.last_allowed_at), (registered, ground.clock.now()));
    assert_eq!(consents.granted(&alice, asker(&shop, registered)).await.unwrap(), Some(both.clone()));
    assert_eq!(consents.granted(&user("ali"), asker(&shop, registered)).await.unwrap(), None);
    let other = ClientId::parse("other").unwrap();
    consents.allow(&alice, asker(&other, registered), (&at(API), &scope("read"))).await.unwrap();
    let clients: Vec<_> =
        consents.of_user(&alice).await.unwrap().into_iter().map(|each| each.client_id).collect();
    assert_eq!(clients, [other.clone(), shop.clone()]);
    for _ in 0..2 {
        let withdrawn = Consents::withdrawing(Batch::new(), &alice, &shop);
        assert_eq!(ground.store.commit(withdrawn).await.unwrap(), Committed::Applied);
    }
    assert_eq!(consents.granted(&alice, asker(&shop, registered)).await.unwrap(), None);
    consents.withdraw_all(&alice).await.unwrap();
    assert_eq!(consents.of_user(&alice).await.unwrap(), []);
}

#[tokio::test]
async fn a_consent_is_not_inherited_by_a_later_client_of_the_same_name() {
    let ground = Ground::new();
    let consents = Consents::new(ground.store.clone(), ground.clock());
    let (alice, shop) = (user("alice"), ClientId::parse("shop").unwrap());
    let scope = |text| Scope::parse(text).unwrap();
    consents.allow(&alice, asker(&shop, ground.clock.now()), (&at(API), &scope("read write"))).await.unwrap();
    ground.pass(60);
    let later = ground.clock.now();
    assert_eq!(consents.granted(&alice, asker(&shop, later)).await.unwrap(), None);
    let anew = consents.allow(&alice, asker(&shop, later), (&at(API), &scope("read"))).await.unwrap();
    assert_eq!((&anew.resources[&at(API)[0]], anew.allowed_at), (&scope("read"), later));
}

#[tokio::test]
async fn a_scope_that_grows_too_long_is_still_readable() {
    let ground = Ground::new();
    let consents = Consents::new(ground.store.clone(), ground.clock());
    let (alice, shop) = (user("alice"), ClientId::parse("shop").unwrap());
    let now = ground.clock.now();
    let long = |letter: &str| Scope::parse(&letter.repeat(2000)).unwrap();
    consents.allow(&alice, asker(&shop, now), (&at(API), &long("a"))).await.unwrap();
    consents.allow(&alice, asker(&shop, now), (&at(API), &long("b"))).await.unwrap();
    assert_eq!(
        consents.granted(&alice, asker(&shop, now)).await.unwrap().unwrap().resources[&at(API)[0]],
        long("b")
    );
}

#[tokio::test]
async fn what_is_allowed_at_one_resource_is_not_allowed_at_another() {
    let ground = Ground::new();
    let consents = Consents::new(ground.store.clone(), ground.clock());
    let (alice, shop, now) = (user("alice"), ClientId::parse("shop").unwrap(), ground.clock.now());
    let scope = |text| Scope::parse(text).unwrap();
    let both = [API, "https://other.example.com"].map(|uri| Resource::parse(uri).unwrap());
    consents.allow(&alice, asker(&shop, now), (&both[..1], &scope("read"))).await.unwrap();
    let consent =
        consents.allow(&alice, asker(&shop, now), (&both[1..], &scope("write openid"))).await.unwrap();
    let covers = |resources: &[Resource], text| consent.covers(resources, &scope(text));
    assert!(covers(&both[..1], "read") && covers(&both[1..], "openid write"));
    for (resources, text) in [(&both[..1], "write"), (&both[1..], "read"), (&both[..], "read")] {
        assert!(!covers(resources, text) && !consent.allows(resources, text), "{resources:?} {text}");
    }
    assert!(consent.allows(&both[1..], "openid") && !consent.allows(&both, "openid"));
}

#[tokio::test]
async fn what_was_allowed_to_one_guise_is_not_allowed_to_another() {
    let ground = Ground::new();
    let consents = Consents::new(ground.store.clone(), ground.clock());
    let (alice, shop) = (user("alice"), ClientId::parse("shop").unwrap());
    let scope = |text| Scope::parse(text).unwrap();
    let as_whom = |shown_as| Asker { shown_as, ..asker(&shop, ground.clock.now()) };
    consents.allow(&alice, as_whom(Some("a")), (&at(API), &scope("read write"))).await.unwrap();
    assert_eq!(consents.granted(&alice, as_whom(Some("b"))).await.unwrap(), None);
    let anew = consents.allow(&alice, as_whom(Some("b")), (&at(API), &scope("read"))).await.unwrap();
    assert_eq!(anew.resources[&at(API)[0]], scope("read"), "nothing comes along");
    assert_eq!(consents.granted(&alice, as_whom(Some("a"))).await.unwrap(), None);
    // One that was written down before anybody asked as what.
    consents.allow(&alice, as_whom(None), (&at(API), &scope("read"))).await.unwrap();
    assert_eq!(consents.granted(&alice, as_whom(Some("a"))).await.unwrap(), None);
    assert!(consents.granted(&alice, as_whom(None)).await.unwrap().is_some());
}
