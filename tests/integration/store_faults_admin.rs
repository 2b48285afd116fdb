//! Clients, accounts and API keys, kept by an administrator while the store fails at any call.

use actix_web::http::Method;
use serde_json::{Value, json};
use signet::oauth::{ClientId, UserId};
use signet::users::ApiKeyOwner;

use crate::faulty_store::House;
use crate::grants_fixture::World;
use crate::store_faults::admin;
use crate::test_app::{Answer, RESOURCE, form};

pub(crate) fn registration(id: &str) -> Value {
    json!({ "client_id": id, "client_name": "Shop", "scope": "read", "resources": [RESOURCE] })
}

/// A client that was registered for a trial, with an API key.
pub(crate) struct Client {
    token: String,
    pub(crate) id: String,
    secret: String,
    api_key: String,
}

impl Client {
    pub(crate) async fn new(world: &World, number: usize) -> Self {
        let token = world.app.admin_token().await;
        let id = format!("client-{number}");
        let answer = admin(world, &token, (Method::POST, "/admin/clients"), Some(registration(&id))).await;
        let secret = answer.json()["client_secret"].as_str().unwrap().to_owned();
        let key = json!({ "name": "k", "client_id": id, "scope": "read", "resources": [RESOURCE] });
        let answer = admin(world, &token, (Method::POST, "/admin/api-keys"), Some(key)).await;
        let api_key = answer.json()["api_key"].as_str().unwrap().to_owned();
        Self { token, id, secret, api_key }
    }

    fn path(&self) -> String {
        format!("/admin/clients/{}", self.id)
    }

    pub(crate) async fn send(
        &self,
        world: &World,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        admin(world, &self.token, (method, path), body).await
    }

    pub(crate) async fn shown(&self, world: &World) -> Option<Value> {
        let answer = self.send(world, Method::GET, &self.path(), None).await;
        (answer.status == 200).then(|| answer.json())
    }

    pub(crate) async fn api_key_opens(&self, world: &World) -> bool {
        exchange(world, &self.api_key).await.status == 200
    }
}

/// What an API key is exchanged for.
pub(crate) async fn exchange(world: &World, key: &str) -> Answer {
    let body = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={key}\
         &subject_token_type=urn:signet:params:oauth:token-type:api_key&resource={RESOURCE}"
    );
    world.app.send(form("/oauth2/token", &body).peer_addr("192.0.2.9:1".parse().unwrap())).await
}

#[actix_web::test]
async fn clients_are_kept_whatever_fails() {
    let house = House::open().await;
    let house = house
        .hold(
            "register a client",
            async |world: &World, number| (world.app.admin_token().await, format!("new-{number}")),
            async |world: &World, (token, id): &(String, String)| {
                admin(world, token, (Method::POST, "/admin/clients"), Some(registration(id))).await
            },
            (
                async |world: &World, (_, id): &(String, String), told: Option<&Answer>| {
                    if let Some(told) = told {
                        let secret = told.json()["client_secret"].as_str().unwrap().to_owned();
                        assert_eq!(world.app.token((id, &secret), "").await.status, 200);
                    }
                    world.services().clients.find(id).is_some()
                },
                async |world: &World, (token, id): &(String, String), happened| {
                    let answer =
                        admin(world, token, (Method::POST, "/admin/clients"), Some(registration(id))).await;
                    assert_eq!(answer.status, if happened { 409 } else { 201 }, "{answer:?}");
                    // Nobody has its secret: there is a way to another.
                    let path = format!("/admin/clients/{id}/secret");
                    let answer = admin(world, token, (Method::POST, &*path), Some(json!({}))).await;
                    let secret = answer.json()["client_secret"].as_str().unwrap().to_owned();
                    assert_eq!(world.app.token((id, &secret), "").await.status, 200);
                },
            ),
        )
        .await
        .hold(
            "change a client",
            Client::new,
            async |world: &World, client: &Client| {
                client
                    .send(world, Method::PATCH, &client.path(), Some(json!({ "client_name": "Other" })))
                    .await
            },
            (
                async |world: &World, client: &Client, _: Option<&Answer>| {
                    client.shown(world).await.unwrap()["client_name"] == "Other"
                },
                async |world: &World, client: &Client, _| {
                    let change = Some(json!({ "client_name": "Third" }));
                    assert_eq!(client.send(world, Method::PATCH, &client.path(), change).await.status, 200);
                    assert_eq!(client.shown(world).await.unwrap()["client_name"], "Third");
                },
            ),
        )
        .await;
    house
        .hold(
            "rotate a client's secret",
            Client::new,
            async |world: &World, client: &Client| {
                let path = format!("{}/secret", client.path());
                client.send(world, Method::POST, &path, Some(json!({}))).await
            },
            (
                async |world: &World, client: &Client, told: Option<&Answer>| {
                    if let Some(told) = told {
                        let secret = told.json()["client_secret"].as_str().unwrap().to_owned();
                        assert_eq!(world.app.token((&client.id, &secret), "").await.status, 200);
                    }
                    world.app.token((&client.id, &client.secret), "").await.status != 200
                },
                async |world: &World, client: &Client, _| {
                    let path = format!("{}/secret", client.path());
                    let answer = client.send(world, Method::POST, &path, Some(json!({}))).await;
                    let secret = answer.json()["client_secret"].as_str().unwrap().to_owned();
                    assert_eq!(world.app.token((&client.id, &secret), "").await.status, 200);
                    assert_ne!(world.app.token((&client.id, &client.secret), "").await.status, 200);
                },
            ),
        )
        .await
        .hold(
            "delete a client",
            Client::new,
            async |world: &World, client: &Client| {
                client.send(world, Method::DELETE, &client.path(), None).await
            },
            (
                async |world: &World, client: &Client, _: Option<&Answer>| {
                    let gone = client.shown(world).await.is_none();
                    assert!(!gone || !client.api_key_opens(world).await);
                    gone
                },
                async |world: &World, client: &Client, _| {
                    let answer = client.send(world, Method::DELETE, &client.path(), None).await;
                    assert!(matches!(answer.status, 204 | 404), "{answer:?}");
                    // Another client of that name inherits nothing.
                    let again = Some(registration(&client.id));
                    assert_eq!(client.send(world, Method::POST, "/admin/clients", again).await.status, 201);
                    assert!(!client.api_key_opens(world).await, "an API key of a client that was deleted");
                },
            ),
        )
        .await;
}

#[actix_web::test]
async fn api_keys_are_kept_whatever_fails() {
    let house = House::open().await;
    house
        .hold(
            "make an API key",
            Client::new,
            async |world: &World, client: &Client| {
                let key = json!({ "name": "second", "client_id": client.id, "scope": "read", "resources": [RESOURCE] });
                client.send(world, Method::POST, "/admin/api-keys", Some(key)).await
            },
            (
                async |world: &World, client: &Client, told: Option<&Answer>| {
                    if let Some(told) = told {
                        let key = told.json()["api_key"].as_str().unwrap().to_owned();
                        assert_eq!(exchange(world, &key).await.status, 200);
                    }
                    let owner = ApiKeyOwner::Client(ClientId::parse(&client.id).unwrap());
                    world.services().api_keys.of_owner(&owner).await.unwrap().len() == 2
                },
                async |world: &World, client: &Client, _| {
                    let key = json!({ "name": "third", "client_id": client.id, "scope": "read", "resources": [RESOURCE] });
                    let answer = client.send(world, Method::POST, "/admin/api-keys", Some(key)).await;
                    let key = answer.json()["api_key"].as_str().unwrap().to_owned();
                    assert_eq!(exchange(world, &key).await.status, 200);
                },
            ),
        )
        .await
        .hold(
            "exchange an API key for a token",
            Client::new,
            async |world: &World, client: &Client| exchange(world, &client.api_key).await,
            (
                async |_: &World, _: &Client, told: Option<&Answer>| {
                    told.is_some_and(|answer| !answer.access_token().is_empty())
                },
                async |world: &World, client: &Client, _| assert!(client.api_key_opens(world).await),
            ),
        )
        .await
        .hold(
            "revoke an API key",
            async |world: &World, number| {
                let client = Client::new(world, number).await;
                let owner = ApiKeyOwner::Client(ClientId::parse(&client.id).unwrap());
                let id = world.services().api_keys.of_owner(&owner).await.unwrap().remove(0).id;
                let token = exchange(world, &client.api_key).await.access_token();
                (client, format!("/admin/api-keys/{id}"), token)
            },
            async |world: &World, (client, path, _): &(Client, String, String)| {
                client.send(world, Method::DELETE, path, None).await
            },
            (
                async |world: &World, (client, _, token): &(Client, String, String), told: Option<&Answer>| {
                    let counts = world.app.is_active(token).await;
                    assert!(told.is_none() || !counts, "its tokens end with it");
                    let opens = client.api_key_opens(world).await;
                    assert!(counts || !opens, "a key that goes on making tokens after its tokens were cut off");
                    !opens
                },
                async |world: &World, (client, path, token): &(Client, String, String), _| {
                    let answer = client.send(world, Method::DELETE, path, None).await;
                    assert!(matches!(answer.status, 204 | 404), "{answer:?}");
                    assert!(!client.api_key_opens(world).await);
                    assert!(!world.app.is_active(token).await, "its tokens end with it");
                },
            ),
        )
        .await;
}

/// An account that was made for a trial.
struct Person {
    token: String,
    id: UserId,
    email: String,
}

impl Person {
    async fn new(world: &World, number: usize) -> Self {
        let token = world.app.admin_token().await;
        let email = format!("person-{number}@example.com");
        let answer = admin(world, &token, (Method::POST, "/admin/users"), Some(account(&email))).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let id = UserId::parse(answer.json()["id"].as_str().unwrap()).unwrap();
        Self { token, id, email }
    }

    async fn send(&self, world: &World, method: Method, body: Option<Value>) -> Answer {
        admin(world, &self.token, (method, &*format!("/admin/users/{}", self.id)), body).await
    }

    async fn signs_in_with(&self, world: &World, password: &str) -> bool {
        let secret = signet::oauth::Secret::new(password.to_owned());
        let accounts = &world.services().accounts;
        accounts.authenticate(accounts.turn().unwrap(), &self.email, &secret).await.unwrap().is_some()
    }
}

const PASSWORD: &str = "correct horse battery staple";
const OTHER: &str = "an entirely different phrase";

fn account(email: &str) -> Value {
    json!({ "name": "Grace", "email": email, "password": PASSWORD })
}

#[actix_web::test]
async fn accounts_are_kept_whatever_fails() {
    let house = House::open().await;
    let house = house
        .hold(
            "make an account",
            async |world: &World, number| {
                (world.app.admin_token().await, format!("new-{number}@example.com"))
            },
            async |world: &World, (token, email): &(String, String)| {
                admin(world, token, (Method::POST, "/admin/users"), Some(account(email))).await
            },
            (
                async |world: &World, (_, email): &(String, String), _: Option<&Answer>| {
                    let password = signet::oauth::Secret::new(PASSWORD.into());
                    let accounts = &world.services().accounts;
                    let turn = accounts.turn().unwrap();
                    let found = accounts.authenticate(turn, email, &password).await.unwrap();
                    assert_eq!(
                        found.is_some(),
                        world.services().accounts.named(email).await.unwrap().is_some()
                    );
                    found.is_some()
                },
                async |world: &World, (token, email): &(String, String), happened| {
                    let answer =
                        admin(world, token, (Method::POST, "/admin/users"), Some(account(email))).await;
                    assert_eq!(answer.status, if happened { 409 } else { 201 }, "{answer:?}");
                },
            ),
        )
        .await
        .hold(
            "set a password",
            Person::new,
            async |world: &World, person: &Person| {
                person.send(world, Method::PATCH, Some(json!({ "password": OTHER }))).await
            },
            (
                async |world: &World, person: &Person, _: Option<&Answer>| {
                    let (old, new) = (
                        person.signs_in_with(world, PASSWORD).await,
                        person.signs_in_with(world, OTHER).await,
                    );
                    assert!(old != new, "one of them counts");
                    new
                },
                async |world: &World, person: &Person, _| {
                    let change = Some(json!({ "password": OTHER }));
                    assert_eq!(person.send(world, Method::PATCH, change).await.status, 200);
                    assert!(
                        person.signs_in_with(world, OTHER).await
                            && !person.signs_in_with(world, PASSWORD).await
                    );
                },
            ),
        )
        .await;
    house
        .hold(
            "change an e-mail address",
            Person::new,
            async |world: &World, person: &Person| {
                let email = format!("other-{}", person.email);
                person.send(world, Method::PATCH, Some(json!({ "email": email }))).await
            },
            (
                async |world: &World, person: &Person, _: Option<&Answer>| {
                    let named = async |email: &str| world.services().accounts.named(email).await.unwrap();
                    let (old, new) =
                        (named(&person.email).await, named(&format!("other-{}", person.email)).await);
                    assert!(old.is_some() != new.is_some(), "an account has one address");
                    new.is_some()
                },
                async |world: &World, person: &Person, _| {
                    let change = json!({ "email": format!("third-{}", person.email) });
                    assert_eq!(person.send(world, Method::PATCH, Some(change)).await.status, 200);
                },
            ),
        )
        .await
        .hold(
            "disable an account",
            async |world: &World, number| (Person::new(world, number).await, world.tokens().await.0),
            async |world: &World, (person, _): &(Person, String)| {
                person.send(world, Method::PATCH, Some(json!({ "disabled": true }))).await
            },
            (
                async |world: &World, (person, _): &(Person, String), _: Option<&Answer>| {
                    !person.signs_in_with(world, PASSWORD).await
                },
                async |world: &World, (person, _): &(Person, String), _| {
                    let change = Some(json!({ "disabled": true }));
                    assert_eq!(person.send(world, Method::PATCH, change).await.status, 200);
                    assert!(!person.signs_in_with(world, PASSWORD).await);
                },
            ),
        )
        .await
        .hold(
            "delete an account with all it has",
            async |world: &World, number| {
                let person = Person::new(world, number).await;
                let mut owned = serde_json::from_value::<signet::clients::Registration>(json!({
                    "client_name": "Notes", "scope": "openid read", "resources": [RESOURCE],
                    "redirect_uris": ["https://notes.example/cb"],
                }))
                .unwrap();
                owned.registrant = signet::clients::Registrant::Person(person.id.clone());
                world.services().clients.register(owned).await.unwrap();
                person
            },
            async |world: &World, person: &Person| person.send(world, Method::DELETE, None).await,
            (
                async |world: &World, person: &Person, told: Option<&Answer>| {
                    let left = world.services().clients.of_owner(&person.id).len();
                    assert!(told.is_none() || left == 0, "its applications go with it");
                    person.send(world, Method::GET, None).await.status == 404
                },
                async |world: &World, person: &Person, _| {
                    let answer = person.send(world, Method::DELETE, None).await;
                    assert!(matches!(answer.status, 204 | 404), "{answer:?}");
                    assert!(!person.signs_in_with(world, PASSWORD).await);
                    let left = world.services().clients.of_owner(&person.id).len();
                    assert_eq!(left, 0, "an application of somebody who is deleted");
                    // The address is free again.
                    let answer = admin(
                        world,
                        &person.token,
                        (Method::POST, "/admin/users"),
                        Some(account(&person.email)),
                    );
                    assert_eq!(answer.await.status, 201);
                },
            ),
        )
        .await;
}
