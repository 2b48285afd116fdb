//! People signing in and out, allowing clients, and keeping their own things while the store fails at any call.

use std::time::Duration;

use signet::clients::{ConsentRule, Registration};
use signet::oauth::{ClientId, UserId};
use signet::users::ApiKeyOwner;

use crate::browser::{Browser, PASSWORD, parameter, redeem, register, request, shop, state, text};
use crate::faulty_store::House;
use crate::grants_fixture::World;
use crate::portal::totp_code;
use crate::shell::{account, done, form_token, hidden, shown_secrets, signed_in};
use crate::test_app::Answer;

/// Somebody with an account of their own for a trial, and the browser in front of them.
pub(crate) struct Person {
    pub(crate) id: UserId,
    pub(crate) email: String,
    pub(crate) browser: Browser,
    pub(crate) page: Answer,
}

impl Person {
    /// Before the page that asks who one is.
    async fn at_the_door(world: &World, number: usize) -> Self {
        account(&world.app, ("Grace", &format!("person-{number}@example.com")), false).await;
        Self::who_is_known(world, number).await
    }

    /// The same, of somebody who has an account.
    pub(crate) async fn who_is_known(world: &World, number: usize) -> Self {
        let email = format!("person-{number}@example.com");
        let id = world.services().accounts.named(&email).await.unwrap().expect("an account");
        let mut browser = Browser::default();
        let page = browser.get(&world.app, "/account").await;
        Self { id, email, browser, page }
    }

    /// Signed in, with the page at `path` open.
    pub(crate) async fn inside(world: &World, number: usize, path: &str) -> Self {
        let email = format!("person-{number}@example.com");
        let id = account(&world.app, ("Grace", &email), false).await.id;
        let mut browser = signed_in(&world.app, &email, "/account").await;
        let page = browser.get(&world.app, path).await;
        Self { id, email, browser, page }
    }

    pub(crate) async fn sign_in(&self, world: &World) -> Answer {
        self.browser.clone().sign_in(&world.app, &self.page, (&self.email, PASSWORD)).await
    }

    /// Sends the form of the open page.
    pub(crate) async fn act(&self, world: &World, path: &str, members: &[(&str, &str)]) -> Answer {
        let token = form_token(&self.page);
        let members = [&[("form_token", &*token)], members].concat();
        self.browser.clone().post(&world.app, path, &members).await
    }

    pub(crate) async fn sessions(&self, world: &World) -> usize {
        world.services().sessions.of_user(&self.id).await.unwrap().len()
    }

    /// The browser that got this answer.
    fn browser_with(&self, answer: &Answer) -> Browser {
        let mut browser = self.browser.clone();
        for cookie in answer.headers.get_all("set-cookie") {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            browser.cookies.insert(name.to_owned(), rest.split(';').next().unwrap().to_owned());
        }
        browser
    }

    /// Whether that browser is signed in.
    pub(crate) async fn is_in(&self, world: &World, answer: &Answer) -> bool {
        text(&self.browser_with(answer).get(&world.app, "/account").await).contains("Your profile")
    }

    /// Whether there is a session; whoever was told so is in.
    pub(crate) async fn has_signed_in(&self, world: &World, told: Option<&Answer>) -> bool {
        if let Some(told) = told {
            assert!(self.is_in(world, told).await);
        }
        self.sessions(world).await == 1
    }

    pub(crate) async fn can_sign_in(&self, world: &World) {
        let answer = self.sign_in(world).await;
        assert!(answer.status == 303 && self.is_in(world, &answer).await, "{answer:?}");
    }

    /// The secrets that it is shown next.
    pub(crate) async fn shown(&self, world: &World, answer: &Answer) -> Vec<String> {
        shown_secrets(&done(&mut self.browser_with(answer), &world.app, answer).await)
    }

    pub(crate) async fn factor(&self, world: &World) -> (String, Vec<String>) {
        let factors = &world.services().second_factors;
        let secret = factors.enroll(&self.id, "Grace").await.unwrap().secret.expose().to_owned();
        let codes = factors.confirm(&self.id, &totp_code(&world.app, &secret)).await.unwrap().unwrap();
        world.app.pass(Duration::from_secs(31)).await;
        (secret, codes.iter().map(|code| code.expose().to_owned()).collect())
    }
}

#[actix_web::test]
async fn people_sign_in_and_out_whatever_fails() {
    let house = House::open().await;
    house
        .hold(
            "sign in",
            Person::at_the_door,
            async |world: &World, person: &Person| person.sign_in(world).await,
            (
                async |world: &World, person: &Person, told: Option<&Answer>| {
                    person.has_signed_in(world, told).await
                },
                async |world: &World, person: &Person, _| person.can_sign_in(world).await,
            ),
        )
        .await
        .hold(
            "sign out",
            async |world: &World, number| {
                let mut person = Person::inside(world, number, "/account").await;
                person.page = person.browser.get(&world.app, "/oauth2/logout").await;
                person
            },
            sign_out,
            (
                async |world: &World, person: &Person, _: Option<&Answer>| person.sessions(world).await == 0,
                async |world: &World, person: &Person, _| {
                    assert_eq!(sign_out(world, person).await.status, 200);
                    assert_eq!(person.sessions(world).await, 0);
                },
            ),
        )
        .await;
}

async fn sign_out(world: &World, person: &Person) -> Answer {
    let members = [("state", &*state(&person.page)), ("decision", "sign-out")];
    person.browser.clone().post(&world.app, "/oauth2/sign-out", &members).await
}

/// Somebody whose password was right, with what a second factor takes.
struct Halfway {
    person: Person,
    secret: String,
    code: String,
    recovery: String,
}

impl Halfway {
    async fn new(world: &World, number: usize) -> Self {
        let mut person = Person::at_the_door(world, number).await;
        let (secret, mut codes) = person.factor(world).await;
        person.page = person.browser.sign_in(&world.app, &person.page, (&person.email, PASSWORD)).await;
        let code = totp_code(&world.app, &secret);
        Self { person, secret, code, recovery: codes.remove(0) }
    }

    async fn send(&self, world: &World, code: &str) -> Answer {
        let members = [("state", &*state(&self.person.page)), ("code", code)];
        self.person.browser.clone().post(&world.app, "/oauth2/second-factor", &members).await
    }
}

#[actix_web::test]
async fn a_second_factor_counts_once_whatever_fails() {
    let house = House::open().await;
    house
        .hold(
            "sign in by a code of an app",
            Halfway::new,
            async |world: &World, half: &Halfway| half.send(world, &half.code).await,
            (
                async |world: &World, half: &Halfway, told: Option<&Answer>| {
                    if let Some(told) = told {
                        assert!(half.person.is_in(world, told).await);
                        assert_eq!(half.send(world, &half.code).await.status, 400, "a code counts once");
                    }
                    half.person.sessions(world).await == 1
                },
                async |world: &World, half: &Halfway, _| {
                    world.app.pass(Duration::from_secs(31)).await;
                    let answer = half.send(world, &totp_code(&world.app, &half.secret)).await;
                    assert!(answer.status == 303 && half.person.is_in(world, &answer).await, "{answer:?}");
                },
            ),
        )
        .await
        .hold(
            "sign in by a recovery code",
            Halfway::new,
            async |world: &World, half: &Halfway| half.send(world, &half.recovery).await,
            (
                async |world: &World, half: &Halfway, _: Option<&Answer>| {
                    half.person.sessions(world).await == 1
                },
                async |world: &World, half: &Halfway, happened| {
                    // It may be spent without a session; it never counts twice.
                    let second = half.send(world, &half.recovery).await.status == 303;
                    assert!(!(happened && second));
                    assert_eq!(half.send(world, &half.recovery).await.status, 400);
                },
            ),
        )
        .await
        .hold(
            "set up a second factor",
            async |world: &World, number| {
                let person = Person::inside(world, number, "/account/second-factor").await;
                let page = person.act(world, "/account/second-factor", &[("act", "enroll")]).await;
                let shown = text(&page);
                let secret =
                    shown.split("<code class=\"secret\">").nth(1).unwrap().split('<').next().unwrap();
                let members = (hidden(&page, "enrollment"), totp_code(&world.app, secret));
                (person, members)
            },
            confirm,
            (
                async |world: &World, (person, _): &(Person, (String, String)), _: Option<&Answer>| {
                    world.services().second_factors.find(&person.id).await.unwrap().is_some()
                },
                async |world: &World, case: &(Person, (String, String)), happened| {
                    // Whose recovery codes were never shown makes new ones.
                    if happened {
                        let members = [("act", "new_recovery_codes")];
                        assert_eq!(case.0.act(world, "/account/second-factor", &members).await.status, 303);
                    } else {
                        assert_eq!(confirm(world, case).await.status, 303);
                    }
                },
            ),
        )
        .await
        .hold(
            "remove one's second factor",
            async |world: &World, number| {
                let mut person = Person::inside(world, number, "/account/second-factor").await;
                person.factor(world).await;
                person.page = person.browser.get(&world.app, "/account/second-factor").await;
                person
            },
            remove_factor,
            (
                async |world: &World, person: &Person, _: Option<&Answer>| {
                    world.services().second_factors.find(&person.id).await.unwrap().is_none()
                },
                async |world: &World, person: &Person, _| {
                    // Also where there is none any more.
                    assert_eq!(remove_factor(world, person).await.status, 303);
                    assert!(world.services().second_factors.find(&person.id).await.unwrap().is_none());
                },
            ),
        )
        .await;
}

async fn remove_factor(world: &World, person: &Person) -> Answer {
    person.act(world, "/account/second-factor", &[("act", "remove"), ("confirm", "yes")]).await
}

async fn confirm(world: &World, (person, (enrollment, code)): &(Person, (String, String))) -> Answer {
    let members = [("act", "confirm"), ("code", &**code), ("enrollment", &**enrollment)];
    person.act(world, "/account/second-factor", &members).await
}

#[actix_web::test]
async fn people_allow_clients_and_take_it_back_whatever_fails() {
    let mut house = House::open().await;
    let asking = register(&house.world.app, shop()).await;
    let trusted = Registration {
        client_id: Some(ClientId::parse("trusted").unwrap()),
        consent: ConsentRule::Implied,
        ..shop()
    };
    let trusted = register(&house.world.app, trusted).await;
    let (asked, quiet) = (request(&[]), request(&[("client_id", "trusted")]));
    house = house
        .hold(
            "authorize: a code is issued",
            async |world: &World, number| Person::inside(world, number, "/account").await,
            async |world: &World, person: &Person| person.browser.clone().get(&world.app, &quiet).await,
            (
                async |_: &World, _: &Person, told: Option<&Answer>| {
                    told.is_some_and(|answer| parameter(answer, "code").is_some())
                },
                async |world: &World, person: &Person, _| {
                    let answer = person.browser.clone().get(&world.app, &quiet).await;
                    redeem(&world.app, &trusted, &parameter(&answer, "code").unwrap()).await;
                },
            ),
        )
        .await
        // Once a minute the request is written down with the session.
        .hold(
            "authorize: a code is issued, seen two minutes ago",
            async |world: &World, number| {
                let person = Person::inside(world, number, "/account").await;
                world.app.pass(Duration::from_mins(2)).await;
                person
            },
            async |world: &World, person: &Person| person.browser.clone().get(&world.app, &quiet).await,
            (
                async |world: &World, person: &Person, told: Option<&Answer>| {
                    let session = world.services().sessions.of_user(&person.id).await.unwrap().remove(0);
                    let age = world.app.now() - session.last_seen.timestamp();
                    let code = told.is_some_and(|answer| parameter(answer, "code").is_some());
                    assert!(
                        !code || age < 60,
                        "a code for a session of which it is not noted that it was used"
                    );
                    code
                },
                async |world: &World, person: &Person, _| {
                    let answer = person.browser.clone().get(&world.app, &quiet).await;
                    redeem(&world.app, &trusted, &parameter(&answer, "code").unwrap()).await;
                },
            ),
        )
        .await
        .hold(
            "consent: a code is issued",
            async |world: &World, number| {
                let mut person = Person::inside(world, number, "/account").await;
                person.page = person.browser.get(&world.app, &asked).await;
                person
            },
            async |world: &World, person: &Person| {
                person.browser.clone().decide(&world.app, &person.page, "allow").await
            },
            (
                async |world: &World, person: &Person, told: Option<&Answer>| {
                    let consents = world.services().consents.of_user(&person.id).await.unwrap();
                    assert!(told.is_none_or(|answer| parameter(answer, "code").is_some()));
                    !consents.is_empty()
                },
                async |world: &World, person: &Person, _| {
                    let answer = person.browser.clone().allow(&world.app, &asked).await;
                    redeem(&world.app, &asking, &parameter(&answer, "code").unwrap()).await;
                },
            ),
        )
        .await;
    house
        .hold(
            "withdraw a consent",
            async |world: &World, number| {
                let mut person = Person::inside(world, number, "/account/consents").await;
                let answer = person.browser.clone().allow(&world.app, &asked).await;
                let tokens = redeem(&world.app, &asking, &parameter(&answer, "code").unwrap()).await;
                world.app.clock.advance(Duration::from_secs(1));
                person.page = person.browser.get(&world.app, "/account/consents").await;
                (person, tokens["access_token"].as_str().unwrap().to_owned())
            },
            withdraw,
            (
                async |world: &World, (person, token): &(Person, String), told: Option<&Answer>| {
                    assert!(told.is_none() || !world.app.is_active(token).await);
                    world.services().consents.of_user(&person.id).await.unwrap().is_empty()
                },
                async |world: &World, case: &(Person, String), _| {
                    // Also where it is gone: what was being issued meanwhile may not be revoked yet.
                    let answer = withdraw(world, case).await;
                    assert_eq!(answer.status, 303, "{answer:?}");
                    assert!(!world.app.is_active(&case.1).await);
                },
            ),
        )
        .await;
}

async fn withdraw(world: &World, (person, _): &(Person, String)) -> Answer {
    person.act(world, "/account/consents", &[("client_id", "shop")]).await
}

const NEW: &str = "an entirely new pass phrase";

#[actix_web::test]
async fn people_keep_their_own_things_whatever_fails() {
    let mut house = House::open().await;
    house = house
        .hold(
            "change one's password",
            async |world: &World, number| Person::inside(world, number, "/account/password").await,
            change_password,
            (
                async |world: &World, person: &Person, told: Option<&Answer>| {
                    if let Some(told) = told {
                        assert!(person.is_in(world, told).await && person.sessions(world).await == 1);
                    }
                    let counts = async |password: &str| {
                        let password = signet::oauth::Secret::new(password.to_owned());
                        let accounts = &world.services().accounts;
                        let turn = accounts.turn().unwrap();
                        accounts.authenticate(turn, &person.email, &password).await.unwrap().is_some()
                    };
                    let (old, new) = (counts(PASSWORD).await, counts(NEW).await);
                    assert!(old != new, "one of them counts");
                    new
                },
                async |world: &World, person: &Person, happened| {
                    let password = if happened { NEW } else { PASSWORD };
                    let mut browser = Browser::default();
                    let page = browser.get(&world.app, "/account").await;
                    let answer = browser.sign_in(&world.app, &page, (&person.email, password)).await;
                    assert_eq!(answer.status, 303, "{answer:?}");
                },
            ),
        )
        .await
        .hold(
            "change one's profile",
            async |world: &World, number| Person::inside(world, number, "/account").await,
            change_profile,
            (
                async |world: &World, person: &Person, _: Option<&Answer>| {
                    let account = world.services().accounts.find(&person.id).await.unwrap().unwrap();
                    let changed = account.name == "Grace Hopper";
                    assert_eq!(account.profile.nickname.is_some(), changed, "both or neither");
                    changed
                },
                async |world: &World, person: &Person, _| {
                    assert_eq!(change_profile(world, person).await.status, 303);
                    let account = world.services().accounts.find(&person.id).await.unwrap().unwrap();
                    assert_eq!(account.name, "Grace Hopper");
                },
            ),
        )
        .await
        .hold(
            "change one's e-mail address",
            async |world: &World, number| Person::inside(world, number, "/account/email").await,
            async |world: &World, person: &Person| {
                person.act(world, "/account/email", &[("email", &*format!("new-{}", person.email))]).await
            },
            (
                async |world: &World, person: &Person, _: Option<&Answer>| {
                    let named =
                        async |email: &str| world.services().accounts.named(email).await.unwrap().is_some();
                    let (old, new) =
                        (named(&person.email).await, named(&format!("new-{}", person.email)).await);
                    assert!(old != new, "an account has one address");
                    new
                },
                async |world: &World, person: &Person, _| {
                    let members = [("email", &*format!("third-{}", person.email))];
                    assert_eq!(person.act(world, "/account/email", &members).await.status, 303);
                },
            ),
        )
        .await;
    house
        .hold(
            "end one's other sessions",
            async |world: &World, number| {
                let mut person = Person::inside(world, number, "/account").await;
                signed_in(&world.app, &person.email, "/account").await;
                signed_in(&world.app, &person.email, "/account").await;
                person.page = person.browser.get(&world.app, "/account/sessions").await;
                person
            },
            async |world: &World, person: &Person| {
                person.act(world, "/account/sessions", &[("act", "end_others")]).await
            },
            (
                async |world: &World, person: &Person, _: Option<&Answer>| person.sessions(world).await == 1,
                async |world: &World, person: &Person, _| {
                    let answer = person.act(world, "/account/sessions", &[("act", "end_others")]).await;
                    assert_eq!((answer.status, person.sessions(world).await), (303, 1));
                },
            ),
        )
        .await
        .hold(
            "make an API key for oneself",
            async |world: &World, number| Person::inside(world, number, "/account/api-keys").await,
            make_key,
            (
                async |world: &World, person: &Person, _: Option<&Answer>| keys(world, person).await == 1,
                async |world: &World, person: &Person, happened| {
                    assert_eq!(make_key(world, person).await.status, 303);
                    assert_eq!(keys(world, person).await, 1 + usize::from(happened));
                },
            ),
        )
        .await
        .hold(
            "register an application of one's own",
            async |world: &World, number| Person::inside(world, number, "/account/applications").await,
            make_application,
            (
                async |world: &World, person: &Person, _: Option<&Answer>| applications(world, person) == 1,
                async |world: &World, person: &Person, happened| {
                    assert_eq!(make_application(world, person).await.status, 303);
                    assert_eq!(applications(world, person), 1 + usize::from(happened));
                },
            ),
        )
        .await
        .hold(
            "change an application of one's own",
            with_application,
            rename_application,
            (
                async |world: &World, (person, _): &(Person, String), _: Option<&Answer>| {
                    let application = world.services().clients.of_owner(&person.id).remove(0);
                    let changed = application.client_name == "Other";
                    let uri = application.redirect_uris[0].as_str();
                    assert_eq!(uri, if changed { OTHER_URI } else { URI }, "both or neither");
                    changed
                },
                async |world: &World, case: &(Person, String), _| {
                    assert_eq!(rename_application(world, case).await.status, 303);
                    assert_eq!(world.services().clients.of_owner(&case.0.id).remove(0).client_name, "Other");
                },
            ),
        )
        .await
        .hold(
            "delete an application of one's own",
            with_application,
            async |world: &World, (person, path): &(Person, String)| {
                person.act(world, path, &[("act", "delete"), ("confirm", "yes")]).await
            },
            (
                async |world: &World, (person, _): &(Person, String), _: Option<&Answer>| {
                    applications(world, person) == 0
                },
                async |world: &World, (person, path): &(Person, String), happened| {
                    let answer = person.act(world, path, &[("act", "delete"), ("confirm", "yes")]).await;
                    assert_eq!(answer.status, if happened { 404 } else { 303 }, "{answer:?}");
                    assert_eq!(applications(world, person), 0);
                },
            ),
        )
        .await;
}

async fn change_password(world: &World, person: &Person) -> Answer {
    let members = [("current_password", PASSWORD), ("new_password", NEW), ("repeated_password", NEW)];
    person.act(world, "/account/password", &members).await
}

async fn change_profile(world: &World, person: &Person) -> Answer {
    person.act(world, "/account", &[("name", "Grace Hopper"), ("nickname", "Amazing Grace")]).await
}

pub(crate) async fn make_key(world: &World, person: &Person) -> Answer {
    let members = [("name", "backup"), ("scope:read", "yes"), ("days", "90")];
    person.act(world, "/account/api-keys", &members).await
}

pub(crate) async fn keys(world: &World, person: &Person) -> usize {
    let owner = ApiKeyOwner::User(person.id.clone());
    world.services().api_keys.of_owner(&owner).await.unwrap().len()
}

const URI: &str = "https://notes.example/cb";
const OTHER_URI: &str = "https://other.example/cb";

pub(crate) async fn make_application(world: &World, person: &Person) -> Answer {
    let members = [("client_name", "Notes"), ("redirect_uris", URI), ("scope:read", "yes")];
    person.act(world, "/account/applications", &members).await
}

/// Somebody with an application, and its page.
async fn with_application(world: &World, number: usize) -> (Person, String) {
    let mut person = Person::inside(world, number, "/account/applications").await;
    assert_eq!(make_application(world, &person).await.status, 303);
    person.page = person.browser.get(&world.app, "/account/applications").await;
    let id = world.services().clients.of_owner(&person.id).remove(0).client_id.clone();
    (person, format!("/account/applications/{id}"))
}

async fn rename_application(world: &World, (person, path): &(Person, String)) -> Answer {
    let members = [("act", "change"), ("client_name", "Other"), ("redirect_uris", OTHER_URI)];
    person.act(world, path, &members).await
}

fn applications(world: &World, person: &Person) -> usize {
    world.services().clients.of_owner(&person.id).len()
}
