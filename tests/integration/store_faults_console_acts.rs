//! The acts by which an administrator changes and ends things in the console while the store fails at any call.

use std::time::Duration;

use actix_web::http::Method;
use serde_json::json;
use signet::clients::{Registrant, Registration};
use signet::oauth::Secret;

use crate::browser::PASSWORD;
use crate::faulty_store::House;
use crate::grants_fixture::World;
use crate::shell::hidden;
use crate::store_faults_admin::{Client, registration};
use crate::store_faults_console::Root;
use crate::store_faults_people::Person;
use crate::test_app::{Answer, RESOURCE};

const NEW: &str = "an entirely new pass phrase";

impl<T> Root<T> {
    /// Opens the page at `path` and sends its form of all that may be changed.
    async fn change(&self, world: &World, path: &str, members: &[(&str, &str)]) -> Answer {
        let page = self.browser.clone().get(&world.app, path).await;
        if page.status != 200 {
            return page;
        }
        let version = hidden(&page, "version");
        let members = [&[("act", "change"), ("version", &*version)], members].concat();
        self.post(world, path, &members).await
    }

    /// Sends one of the forms at `path`, confirmed.
    async fn order(&self, world: &World, path: &str, act: &str) -> Answer {
        self.post(world, path, &[("act", act), ("confirm", "yes")]).await
    }
}

impl Root<Client> {
    fn path(&self) -> String {
        format!("/console/clients/{}", self.about.id)
    }

    async fn rename(&self, world: &World, name: &str) -> Answer {
        let members = [
            ("client_name", name),
            ("resource", RESOURCE),
            ("scope", "read write"),
            ("client_credentials", "yes"),
        ];
        self.change(world, &self.path(), &members).await
    }
}

async fn of_client(world: &World, number: usize) -> Root<Client> {
    Root::new(world, number).await.about(Client::new(world, number).await)
}

#[actix_web::test]
async fn clients_are_changed_and_deleted_in_the_console_whatever_fails() {
    let house = House::open().await;
    house
        .hold(
            "console: change a client",
            of_client,
            async |world: &World, root: &Root<Client>| root.rename(world, "Other").await,
            (
                async |world: &World, root: &Root<Client>, _: Option<&Answer>| {
                    let shown = root.about.shown(world).await.unwrap();
                    let changed = shown["client_name"] == "Other";
                    assert_eq!(shown["scope"] == "read write", changed, "both or neither");
                    changed
                },
                async |world: &World, root: &Root<Client>, _| {
                    assert_eq!(root.rename(world, "Third").await.status, 303);
                    assert_eq!(root.about.shown(world).await.unwrap()["client_name"], "Third");
                },
            ),
        )
        .await
        .hold(
            "console: delete a client",
            of_client,
            async |world: &World, root: &Root<Client>| root.order(world, &root.path(), "delete").await,
            (
                async |world: &World, root: &Root<Client>, _: Option<&Answer>| {
                    let gone = root.about.shown(world).await.is_none();
                    assert!(!gone || !root.about.api_key_opens(world).await);
                    gone
                },
                async |world: &World, root: &Root<Client>, happened| {
                    let again = root.order(world, &root.path(), "delete").await;
                    assert_eq!(again.status, if happened { 404 } else { 303 }, "{again:?}");
                    // Another client of that name inherits nothing.
                    let same = Some(registration(&root.about.id));
                    let made = root.about.send(world, Method::POST, "/admin/clients", same).await;
                    assert_eq!(made.status, 201, "{made:?}");
                    assert!(!root.about.api_key_opens(world).await, "an API key of a deleted client");
                },
            ),
        )
        .await;
}

/// Somebody else, who is signed in.
async fn of_person(world: &World, number: usize) -> Root<Person> {
    Root::new(world, number).await.about(Person::inside(world, number, "/account").await)
}

impl Root<Person> {
    fn path(&self) -> String {
        format!("/console/users/{}", self.about.id)
    }

    async fn rename(&self, world: &World, name: &str) -> Answer {
        let email = format!("new-{}", self.about.email);
        self.change(world, &self.path(), &[("name", name), ("email", &*email)]).await
    }

    async fn set_password(&self, world: &World) -> Answer {
        self.post(world, &self.path(), &[("act", "set_password"), ("password", NEW)]).await
    }

    async fn enters_with(&self, world: &World, password: &str) -> bool {
        let (accounts, password) = (&world.services().accounts, Secret::new(password.to_owned()));
        let found = accounts.authenticate(accounts.turn().unwrap(), &self.about.email, &password).await;
        found.unwrap().is_some()
    }

    async fn has_factor(&self, world: &World) -> bool {
        world.services().second_factors.find(&self.about.id).await.unwrap().is_some()
    }

    fn applications(&self, world: &World) -> usize {
        world.services().clients.of_owner(&self.about.id).len()
    }
}

#[actix_web::test]
async fn accounts_are_changed_in_the_console_whatever_fails() {
    let house = House::open().await;
    house
        .hold(
            "console: change an account",
            of_person,
            async |world: &World, root: &Root<Person>| root.rename(world, "Grace Hopper").await,
            (
                async |world: &World, root: &Root<Person>, _: Option<&Answer>| {
                    let account = world.services().accounts.find(&root.about.id).await.unwrap().unwrap();
                    let changed = account.name == "Grace Hopper";
                    assert_eq!(account.email.as_str() != root.about.email, changed, "both or neither");
                    let old = world.services().accounts.named(&root.about.email).await.unwrap();
                    assert_eq!(old.is_none(), changed, "an account has one address");
                    changed
                },
                async |world: &World, root: &Root<Person>, _| {
                    assert_eq!(root.rename(world, "Third").await.status, 303);
                    let account = world.services().accounts.find(&root.about.id).await.unwrap().unwrap();
                    assert_eq!(account.name, "Third");
                },
            ),
        )
        .await
        .hold(
            "console: enable an account",
            async |world: &World, number| {
                let root = of_person(world, number).await;
                assert_eq!(root.order(world, &root.path(), "disable").await.status, 303);
                assert!(!root.enters_with(world, PASSWORD).await);
                root
            },
            async |world: &World, root: &Root<Person>| root.order(world, &root.path(), "enable").await,
            (
                async |world: &World, root: &Root<Person>, _: Option<&Answer>| {
                    root.enters_with(world, PASSWORD).await
                },
                async |world: &World, root: &Root<Person>, _| {
                    assert_eq!(root.order(world, &root.path(), "enable").await.status, 303);
                    assert!(root.enters_with(world, PASSWORD).await);
                },
            ),
        )
        .await
        .hold(
            "console: set a password",
            of_person,
            async |world: &World, root: &Root<Person>| root.set_password(world).await,
            (
                async |world: &World, root: &Root<Person>, told: Option<&Answer>| {
                    let (old, new) =
                        (root.enters_with(world, PASSWORD).await, root.enters_with(world, NEW).await);
                    assert!(old != new, "one of them counts");
                    assert!(told.is_none() || root.about.sessions(world).await == 0, "signed out everywhere");
                    new
                },
                async |world: &World, root: &Root<Person>, _| {
                    assert_eq!(root.set_password(world).await.status, 303);
                    assert!(root.enters_with(world, NEW).await && !root.enters_with(world, PASSWORD).await);
                    assert_eq!(root.about.sessions(world).await, 0);
                },
            ),
        )
        .await;
}

#[actix_web::test]
async fn factors_are_removed_and_accounts_deleted_in_the_console_whatever_fails() {
    let house = House::open().await;
    house
        .hold(
            "console: remove a second factor",
            async |world: &World, number| {
                let root = of_person(world, number).await;
                root.about.factor(world).await;
                root
            },
            async |world: &World, root: &Root<Person>| {
                root.order(world, &root.path(), "remove_second_factor").await
            },
            (
                async |world: &World, root: &Root<Person>, told: Option<&Answer>| {
                    let (removed, out) =
                        (!root.has_factor(world).await, root.about.sessions(world).await == 0);
                    assert!(out || !removed, "a session outlived the factor by which it was begun");
                    assert!(told.is_none() || out);
                    removed
                },
                async |world: &World, root: &Root<Person>, _| {
                    let again = root.order(world, &root.path(), "remove_second_factor").await;
                    assert_eq!(again.status, 303, "{again:?}");
                    assert!(!root.has_factor(world).await && root.about.sessions(world).await == 0);
                },
            ),
        )
        .await
        .hold(
            "console: delete an account",
            async |world: &World, number| {
                let root = of_person(world, number).await;
                let mut owned = serde_json::from_value::<Registration>(json!({
                    "client_name": "Notes", "scope": "openid read", "resources": [RESOURCE],
                    "redirect_uris": ["https://notes.example/cb"],
                }))
                .unwrap();
                owned.registrant = Registrant::Person(root.about.id.clone());
                world.services().clients.register(owned).await.unwrap();
                root
            },
            async |world: &World, root: &Root<Person>| root.order(world, &root.path(), "delete").await,
            (
                async |world: &World, root: &Root<Person>, told: Option<&Answer>| {
                    assert!(told.is_none() || root.applications(world) == 0, "its applications go with it");
                    world.services().accounts.find(&root.about.id).await.unwrap().is_none()
                },
                async |world: &World, root: &Root<Person>, _| {
                    let again = root.order(world, &root.path(), "delete").await;
                    assert!(matches!(again.status, 303 | 404), "{again:?}");
                    assert!(
                        !root.enters_with(world, PASSWORD).await && root.about.sessions(world).await == 0
                    );
                    assert_eq!(root.applications(world), 0, "an application of somebody who is deleted");
                },
            ),
        )
        .await;
}

/// Whose tokens are to be revoked, by the field that it is entered in, and one of them.
struct Whole {
    field: &'static str,
    name: String,
    access: String,
}

#[actix_web::test]
async fn all_of_somebody_is_revoked_in_the_console_whatever_fails() {
    let mut house = House::open().await;
    // What is issued up to a cut-off, as that of the trial before, is dated behind it.
    let past = Duration::from_secs(1);
    let revoke = async |world: &World, root: &Root<Whole>| {
        let members = [(root.about.field, &*root.about.name), ("confirm", "yes")];
        root.post(world, "/console/revocations", &members).await
    };
    for (flow, field) in
        [("console: revoke all of a client", "client_id"), ("console: revoke all of a subject", "sub")]
    {
        house = house
            .hold(
                flow,
                async |world: &World, number| {
                    world.app.pass(past).await;
                    let (access, _) = world.tokens().await;
                    let (client_id, sub) = (world.client.0.clone(), world.account.id.to_string());
                    let name = if field == "sub" { sub } else { client_id };
                    world.app.clock.advance(past);
                    Root::new(world, number).await.about(Whole { field, name, access })
                },
                revoke,
                (
                    async |world: &World, root: &Root<Whole>, _: Option<&Answer>| {
                        !world.is_active(&root.about.access).await
                    },
                    async |world: &World, root: &Root<Whole>, _| {
                        assert_eq!(revoke(world, root).await.status, 303);
                        assert!(!world.is_active(&root.about.access).await);
                        world.app.clock.advance(past);
                        let (access, refresh) = world.tokens().await;
                        let count = world.is_active(&access).await && world.is_active(&refresh).await;
                        assert!(count, "new ones count");
                    },
                ),
            )
            .await;
    }
}
