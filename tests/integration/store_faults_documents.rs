//! What the older documents' clients ask for while the store fails at any call: accounts at `/users`, applications that register
//! themselves at `/api/v1/apps`.

use actix_web::http::Method;
use serde_json::{Value, json};
use signet::oauth::Secret;

use crate::faulty_store::House;
use crate::grants_fixture::World;
use crate::store_faults::admin;
use crate::test_app::{Answer, ISSUER, form};

const PASSWORD: &str = "securepassword123";

/// A token of a client that keeps accounts, and one of them.
struct Keeper {
    token: String,
    email: String,
    /// Where the account is, if there is one yet.
    path: String,
}

impl Keeper {
    async fn new(world: &World, number: usize) -> Self {
        let body = json!({
            "client_id": format!("keeper-{number}"), "client_name": "Keeper", "scope": "users:read users:write",
            "resources": [format!("{ISSUER}/users")],
        });
        let registered = world.app.administer(Method::POST, "/admin/clients", Some(body)).await.json();
        let member = |name: &str| registered[name].as_str().unwrap().to_owned();
        let (id, secret) = (member("client_id"), member("client_secret"));
        let token = world.app.token((&id, &secret), "").await.access_token();
        Self { token, email: format!("user-{number}@example.com"), path: String::new() }
    }

    async fn with_account(world: &World, number: usize) -> Self {
        let mut keeper = Self::new(world, number).await;
        let made = keeper.make(world).await;
        assert_eq!(made.status, 201, "{made:?}");
        keeper.path = format!("/users/{}", made.json()["id"].as_str().unwrap());
        keeper
    }

    async fn ask(&self, world: &World, method: Method, path: &str, body: Option<Value>) -> Answer {
        admin(world, &self.token, (method, path), body).await
    }

    async fn make(&self, world: &World) -> Answer {
        let body = json!({ "name": "Charlie", "email": self.email, "password": PASSWORD });
        self.ask(world, Method::POST, "/users", Some(body)).await
    }

    async fn rename(&self, world: &World) -> Answer {
        let body = json!({ "name": "Alice", "email": format!("new-{}", self.email) });
        self.ask(world, Method::PUT, &self.path, Some(body)).await
    }

    async fn show(&self, world: &World) -> Answer {
        self.ask(world, Method::GET, &self.path, None).await
    }

    async fn delete(&self, world: &World) -> Answer {
        self.ask(world, Method::DELETE, &self.path, None).await
    }

    async fn signs_in_as(&self, world: &World, email: &str) -> bool {
        let accounts = &world.services().accounts;
        let password = Secret::new(PASSWORD.to_owned());
        accounts.authenticate(accounts.turn().unwrap(), email, &password).await.unwrap().is_some()
    }
}

#[actix_web::test]
async fn the_users_api_keeps_accounts_whatever_fails() {
    let house = House::open().await;
    house
        .hold(
            "/users: make an account",
            Keeper::new,
            async |world: &World, keeper: &Keeper| keeper.make(world).await,
            (
                async |world: &World, keeper: &Keeper, _: Option<&Answer>| {
                    keeper.signs_in_as(world, &keeper.email).await
                },
                async |world: &World, keeper: &Keeper, happened| {
                    let again = keeper.make(world).await;
                    assert_eq!(again.status, if happened { 409 } else { 201 }, "{again:?}");
                },
            ),
        )
        .await
        .hold(
            "/users: change an account",
            Keeper::with_account,
            async |world: &World, keeper: &Keeper| keeper.rename(world).await,
            (
                async |world: &World, keeper: &Keeper, _: Option<&Answer>| {
                    let shown = keeper.show(world).await.json();
                    let changed = shown["name"] == "Alice";
                    let email = if changed { format!("new-{}", keeper.email) } else { keeper.email.clone() };
                    assert_eq!(shown["email"], json!(email), "both or neither");
                    assert!(keeper.signs_in_as(world, &email).await);
                    changed
                },
                async |world: &World, keeper: &Keeper, _| {
                    let again = keeper.rename(world).await;
                    assert_eq!((again.status, &again.json()["name"]), (200, &json!("Alice")), "{again:?}");
                    assert!(!keeper.signs_in_as(world, &keeper.email).await, "by the old address");
                },
            ),
        )
        .await
        .hold(
            "/users: show an account",
            Keeper::with_account,
            async |world: &World, keeper: &Keeper| keeper.show(world).await,
            (
                async |_: &World, keeper: &Keeper, told: Option<&Answer>| {
                    told.is_some_and(|answer| answer.json()["email"] == json!(keeper.email))
                },
                async |world: &World, keeper: &Keeper, _| assert_eq!(keeper.show(world).await.status, 200),
            ),
        )
        .await
        .hold(
            "/users: delete an account",
            Keeper::with_account,
            async |world: &World, keeper: &Keeper| keeper.delete(world).await,
            (
                async |world: &World, keeper: &Keeper, _: Option<&Answer>| {
                    let gone = keeper.show(world).await.status == 404;
                    assert!(!gone || !keeper.signs_in_as(world, &keeper.email).await);
                    gone
                },
                async |world: &World, keeper: &Keeper, _| {
                    let again = keeper.delete(world).await;
                    assert!(matches!(again.status, 204 | 404), "{again:?}");
                    assert!(!keeper.signs_in_as(world, &keeper.email).await);
                    assert_eq!(keeper.make(world).await.status, 201, "the address is free again");
                },
            ),
        )
        .await;
}

/// An application has no name of its own before it is told one: what nobody was told stays behind, and opens nothing.
#[actix_web::test]
async fn applications_register_themselves_whatever_fails() {
    let house = House::open().await;
    let named = |world: &World, name: &str| {
        let clients = world.services().clients.list(None, usize::MAX);
        clients.iter().filter(|client| client.client_name == name).count()
    };
    let register = async |world: &World, name: &str| {
        let body = format!("client_name={name}&redirect_uris=urn:ietf:wg:oauth:2.0:oob");
        world.app.send(form("/api/v1/apps", &body)).await
    };
    house
        .hold(
            "/api/v1/apps: register",
            async |_: &World, number| format!("app-{number}"),
            async |world: &World, name: &String| register(world, name).await,
            (
                async |world: &World, name: &String, told: Option<&Answer>| {
                    if let Some(told) = told.map(Answer::json) {
                        let member = |name: &str| told[name].as_str().unwrap().to_owned();
                        let (id, secret) = (member("client_id"), member("client_secret"));
                        assert_eq!(world.app.token((&id, &secret), "").await.status, 200);
                    }
                    named(world, name) == 1
                },
                async |world: &World, name: &String, happened| {
                    assert_eq!(register(world, name).await.status, 200);
                    assert_eq!(named(world, name), 1 + usize::from(happened));
                },
            ),
        )
        .await;
}
