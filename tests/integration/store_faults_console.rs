//! What an administrator does in the console while the store fails at any call: the pages tell what the admin API would.

use serde_json::json;
use signet::oauth::{KeyId, Secret};

use crate::browser::{Browser, PASSWORD};
use crate::faulty_store::House;
use crate::grants_fixture::{World, register};
use crate::shell::{account, done, form_token, hidden, shown_secrets, signed_in};
use crate::store_faults::{kid, signs};
use crate::store_faults_portal::is_known;
use crate::test_app::{Answer, RESOURCE};

/// An administrator who is signed in, and what a trial is about.
pub(crate) struct Root<T> {
    pub(crate) browser: Browser,
    form_token: String,
    pub(crate) about: T,
}

impl Root<()> {
    pub(crate) async fn new(world: &World, number: usize) -> Self {
        let email = format!("root-{number}@example.com");
        account(&world.app, ("Root", &email), true).await;
        let mut browser = signed_in(&world.app, &email, "/console").await;
        let form_token = form_token(&browser.get(&world.app, "/account").await);
        Self { browser, form_token, about: () }
    }

    pub(crate) fn about<T>(self, about: T) -> Root<T> {
        Root { browser: self.browser, form_token: self.form_token, about }
    }
}

impl<T> Root<T> {
    pub(crate) async fn post(&self, world: &World, path: &str, members: &[(&str, &str)]) -> Answer {
        let members = [&[("form_token", &*self.form_token)], members].concat();
        self.browser.clone().post(&world.app, path, &members).await
    }

    /// Confirms what `page` shows that would be done.
    async fn confirm(&self, world: &World, page: &str, path: &str) -> Answer {
        let shown = self.browser.clone().get(&world.app, page).await;
        if shown.status != 200 {
            return shown;
        }
        let members = [("force", "yes"), ("plan", &*hidden(&shown, "plan")), ("confirm", "yes")];
        self.post(world, path, &members).await
    }

    async fn shown(&self, world: &World, answer: &Answer) -> String {
        let mut browser = self.browser.clone();
        let notice = answer.headers.get_all("set-cookie").find_map(|cookie| {
            let (_, rest) = cookie.to_str().unwrap().split_once("signet-notice=")?;
            rest.split(';').next().map(str::to_owned)
        });
        browser.cookies.insert("signet-notice".into(), notice.expect("a notice"));
        shown_secrets(&done(&mut browser, &world.app, answer).await).remove(0)
    }
}

const ROTATE: &str = "/console/keys/rotate";

async fn rotate(world: &World, root: &Root<String>) -> Answer {
    root.confirm(world, "/console/keys/rotate?force=yes", ROTATE).await
}

async fn condemn(world: &World, root: &Root<String>) -> Answer {
    let path = format!("/console/keys/{}/compromise", root.about);
    root.confirm(world, &path, &path).await
}

#[actix_web::test]
async fn keys_are_kept_in_the_console_whatever_fails() {
    let house = House::open().await;
    house
        .hold(
            "console: rotate the keys",
            async |world: &World, number| Root::new(world, number).await.about(world.app.demo_token().await),
            rotate,
            (
                async |world: &World, root: &Root<String>, _: Option<&Answer>| {
                    assert!(world.app.is_active(&root.about).await, "its key goes on being published");
                    signs(world).await != kid(&root.about)
                },
                async |world: &World, root: &Root<String>, _| {
                    world.app.app.rotate().await.unwrap();
                    assert_eq!(rotate(world, root).await.status, 303);
                    assert!(signs(world).await != kid(&root.about) && world.app.is_active(&root.about).await);
                },
            ),
        )
        .await
        .hold(
            "console: declare a key compromised",
            async |world: &World, number| Root::new(world, number).await.about(signs(world).await),
            condemn,
            (
                async |world: &World, root: &Root<String>, _: Option<&Answer>| {
                    let kid = KeyId::parse(&root.about).unwrap();
                    let compromised = world.services().keys.compromised().contains(&kid);
                    assert!(!compromised || signs(world).await != kid.as_str());
                    compromised
                },
                async |world: &World, root: &Root<String>, happened| {
                    let again = condemn(world, root).await;
                    assert_eq!(again.status, if happened { 409 } else { 303 }, "{again:?}");
                    assert_ne!(signs(world).await, root.about);
                },
            ),
        )
        .await;
}

/// What the form of a new client sends.
async fn register_client(world: &World, root: &Root<String>) -> Answer {
    let members = [
        ("client_name", &*root.about),
        ("resource", RESOURCE),
        ("scope", "read"),
        ("client_credentials", "yes"),
    ];
    root.post(world, "/console/new-client", &members).await
}

fn named(world: &World, name: &str) -> Vec<String> {
    let clients = world.services().clients.list(None, usize::MAX);
    let named = clients.iter().filter(|client| client.client_name == name);
    named.map(|client| client.client_id.to_string()).collect()
}

async fn rotate_secret(world: &World, root: &Root<(String, String)>) -> Answer {
    let path = format!("/console/clients/{}", root.about.0);
    root.post(world, &path, &[("act", "rotate_secret")]).await
}

#[actix_web::test]
async fn clients_are_kept_in_the_console_whatever_fails() {
    let house = House::open().await;
    house
        .hold(
            "console: register a client",
            async |world: &World, number| Root::new(world, number).await.about(format!("Client {number}")),
            register_client,
            (
                async |world: &World, root: &Root<String>, told: Option<&Answer>| {
                    let found = named(world, &root.about);
                    if let Some(told) = told {
                        let secret = root.shown(world, told).await;
                        assert_eq!(world.app.token((&found[0], &secret), "").await.status, 200);
                    }
                    found.len() == 1
                },
                async |world: &World, root: &Root<String>, happened| {
                    assert_eq!(register_client(world, root).await.status, 303);
                    assert_eq!(named(world, &root.about).len(), 1 + usize::from(happened));
                },
            ),
        )
        .await
        .hold(
            "console: rotate a client's secret",
            async |world: &World, number| {
                let client = register(&world.app, json!({ "client_name": "Shop" })).await;
                Root::new(world, number).await.about(client)
            },
            rotate_secret,
            (
                async |world: &World, root: &Root<(String, String)>, told: Option<&Answer>| {
                    let (id, old) = &root.about;
                    let counts = async |secret: &str| is_known(world, (id, secret)).await;
                    if let Some(told) = told {
                        assert!(counts(&root.shown(world, told).await).await);
                    }
                    !counts(old).await
                },
                async |world: &World, root: &Root<(String, String)>, _| {
                    let answer = rotate_secret(world, root).await;
                    let (id, old) = &root.about;
                    assert!(is_known(world, (id, &root.shown(world, &answer).await)).await);
                    assert!(!is_known(world, (id, old)).await);
                },
            ),
        )
        .await;
}

async fn make_account(world: &World, root: &Root<String>) -> Answer {
    let members = [("name", "Eve"), ("email", &*root.about), ("password", PASSWORD)];
    root.post(world, "/console/new-user", &members).await
}

/// The account of an address, by where the console has it.
async fn disable(world: &World, root: &Root<(String, String)>) -> Answer {
    root.post(world, &root.about.1, &[("act", "disable")]).await
}

async fn signs_in(world: &World, email: &str) -> bool {
    let (accounts, password) = (&world.services().accounts, Secret::new(PASSWORD.to_owned()));
    accounts.authenticate(accounts.turn().unwrap(), email, &password).await.unwrap().is_some()
}

#[actix_web::test]
async fn accounts_are_kept_in_the_console_whatever_fails() {
    let house = House::open().await;
    house
        .hold(
            "console: make an account",
            async |world: &World, number| {
                Root::new(world, number).await.about(format!("eve-{number}@example.com"))
            },
            make_account,
            (
                async |world: &World, root: &Root<String>, _: Option<&Answer>| {
                    signs_in(world, &root.about).await
                },
                async |world: &World, root: &Root<String>, happened| {
                    // The page says what is wrong, where the address is taken.
                    let again = make_account(world, root).await;
                    assert_eq!(again.status, if happened { 400 } else { 303 }, "{again:?}");
                },
            ),
        )
        .await
        .hold(
            "console: disable an account",
            async |world: &World, number| {
                let email = format!("eve-{number}@example.com");
                let id = account(&world.app, ("Eve", &email), false).await.id;
                signed_in(&world.app, &email, "/account").await;
                Root::new(world, number).await.about((email, format!("/console/users/{id}")))
            },
            disable,
            (
                async |world: &World, root: &Root<(String, String)>, _: Option<&Answer>| {
                    !signs_in(world, &root.about.0).await
                },
                async |world: &World, root: &Root<(String, String)>, _| {
                    assert_eq!(disable(world, root).await.status, 303);
                    assert!(!signs_in(world, &root.about.0).await);
                },
            ),
        )
        .await;
}

#[actix_web::test]
async fn tokens_are_revoked_in_the_console_whatever_fails() {
    let revoke = async |world: &World, root: &Root<String>| {
        root.post(world, "/console/revocations", &[("token", &*root.about), ("confirm", "yes")]).await
    };
    let house = House::open().await;
    house
        .hold(
            "console: revoke a token",
            async |world: &World, number| Root::new(world, number).await.about(world.app.demo_token().await),
            revoke,
            (
                async |world: &World, root: &Root<String>, _: Option<&Answer>| {
                    !world.app.is_active(&root.about).await
                },
                async |world: &World, root: &Root<String>, happened| {
                    // What is revoked already is no token to revoke.
                    let again = revoke(world, root).await;
                    assert!(again.status == 303 || happened && again.status == 400, "{again:?}");
                    assert!(!world.app.is_active(&root.about).await);
                },
            ),
        )
        .await;
}
