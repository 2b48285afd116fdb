//! The rest of what people do with their own things while the store fails at any call: what they make in the portal and take back
//! there, a no to a client, and a sign-in by which a password is hashed anew.

use std::sync::Arc;
use std::time::Duration;

use signet::config::HashingCost;
use signet::entropy::SeededEntropy;
use signet::oauth::Secret;
use signet::store::{Store as _, Table};
use signet::users::{Accounts, ApiKeyOwner, Email, NewAccount, PasswordHasher};

use crate::browser::{PASSWORD, parameter, redeem, register, request, shop, text};
use crate::faulty_store::{Fault, House, WAYS, as_answer};
use crate::grants_fixture::World;
use crate::portal::totp_code;
use crate::shell::signed_in;
use crate::store_faults_admin::exchange;
use crate::store_faults_people::{Person, keys, make_application, make_key};
use crate::test_app::{Answer, basic, form};

const FACTOR: &str = "/account/second-factor";

/// The secret of an app that is to be set up, as the page shows it.
fn secret_of(page: &Answer) -> String {
    let shown = text(page);
    shown.split("<code class=\"secret\">").nth(1).unwrap().split('<').next().unwrap().to_owned()
}

async fn enroll(world: &World, person: &Person) -> Answer {
    person.act(world, FACTOR, &[("act", "enroll")]).await
}

async fn renew_codes(world: &World, person: &Person) -> Answer {
    person.act(world, FACTOR, &[("act", "new_recovery_codes")]).await
}

/// Whether any of them counts; the first that does is spent by that.
async fn any_counts(world: &World, person: &Person, codes: &[String]) -> bool {
    for code in codes {
        if world.services().second_factors.check(&person.id, code).await.unwrap().is_some() {
            return true;
        }
    }
    false
}

#[actix_web::test]
async fn an_app_is_set_up_and_codes_are_renewed_whatever_fails() {
    let house = House::open().await;
    let store = house.store.clone();
    let waits = async |person: &Person| {
        let rows = Table::plain("second_factor_enrollments");
        store.get(rows, person.id.as_str().as_bytes()).await.unwrap().is_some()
    };
    house
        .hold(
            "begin with a second factor",
            async |world: &World, number| Person::inside(world, number, FACTOR).await,
            enroll,
            (
                async |world: &World, person: &Person, told: Option<&Answer>| {
                    let factors = &world.services().second_factors;
                    if let Some(page) = told {
                        let code = totp_code(&world.app, &secret_of(page));
                        assert!(factors.would_confirm(&person.id, &code).await.unwrap());
                    }
                    assert!(factors.find(&person.id).await.unwrap().is_none(), "it is not in use yet");
                    waits(person).await
                },
                async |world: &World, person: &Person, _| {
                    let code = totp_code(&world.app, &secret_of(&enroll(world, person).await));
                    let members = [("act", "confirm"), ("code", &*code)];
                    assert_eq!(person.act(world, FACTOR, &members).await.status, 303);
                },
            ),
        )
        .await
        .hold(
            "renew one's recovery codes",
            async |world: &World, number| {
                let mut person = Person::inside(world, number, "/account").await;
                let (_, codes) = person.factor(world).await;
                person.page = person.browser.get(&world.app, FACTOR).await;
                (person, codes)
            },
            async |world: &World, (person, _): &(Person, Vec<String>)| renew_codes(world, person).await,
            (
                async |world: &World, (person, old): &(Person, Vec<String>), told: Option<&Answer>| {
                    if let Some(told) = told {
                        assert!(any_counts(world, person, &person.shown(world, told).await).await);
                    }
                    !any_counts(world, person, old).await
                },
                async |world: &World, (person, old): &(Person, Vec<String>), _| {
                    let answer = renew_codes(world, person).await;
                    let new = person.shown(world, &answer).await;
                    assert!(any_counts(world, person, &new).await && !any_counts(world, person, old).await);
                },
            ),
        )
        .await;
}

/// Somebody signed in twice, and what the other session is called and has given a client.
struct Elsewhere {
    person: Person,
    sid: String,
    token: String,
}

#[actix_web::test]
async fn people_end_one_session_whatever_fails() {
    let house = House::open().await;
    let client = register(&house.world.app, shop()).await;
    let asked = request(&[]);
    let end = async |world: &World, elsewhere: &Elsewhere| {
        let members = [("act", "end"), ("sid", &*elsewhere.sid)];
        elsewhere.person.act(world, "/account/sessions", &members).await
    };
    house
        .hold(
            "end one session of one's own",
            async |world: &World, number| {
                let mut person = Person::inside(world, number, "/account").await;
                let sessions = async || world.services().sessions.of_user(&person.id).await.unwrap();
                let own = sessions().await.remove(0).sid;
                let mut other = signed_in(&world.app, &person.email, "/account").await;
                let code = parameter(&other.allow(&world.app, &asked).await, "code").unwrap();
                let tokens = redeem(&world.app, &client, &code).await;
                let sid = sessions().await.into_iter().find(|each| each.sid != own).unwrap().sid.to_string();
                person.page = person.browser.get(&world.app, "/account/sessions").await;
                Elsewhere { person, sid, token: tokens["access_token"].as_str().unwrap().to_owned() }
            },
            end,
            (
                async |world: &World, elsewhere: &Elsewhere, _: Option<&Answer>| {
                    elsewhere.person.sessions(world).await == 1
                },
                async |world: &World, elsewhere: &Elsewhere, happened| {
                    let again = end(world, elsewhere).await;
                    assert_eq!(again.status, if happened { 404 } else { 303 }, "{again:?}");
                    assert_eq!(elsewhere.person.sessions(world).await, 1);
                    // What could not be revoked then, housekeeping has revoked.
                    world.app.pass(Duration::from_secs(1)).await;
                    assert!(!world.app.is_active(&elsewhere.token).await, "a token of an ended session");
                },
            ),
        )
        .await;
}

/// A client may ask for it in the name of whoever it sends along, and nobody is asked.
#[actix_web::test]
async fn people_sign_out_by_a_hint_whatever_fails() {
    let house = House::open().await;
    let client = register(&house.world.app, shop()).await;
    let asked = request(&[]);
    house
        .hold(
            "sign out by a hint",
            async |world: &World, number| {
                let person = Person::inside(world, number, "/account").await;
                let code =
                    parameter(&person.browser.clone().allow(&world.app, &asked).await, "code").unwrap();
                let tokens = redeem(&world.app, &client, &code).await;
                (person, format!("/oauth2/logout?id_token_hint={}", tokens["id_token"].as_str().unwrap()))
            },
            async |world: &World, (person, hinted): &(Person, String)| {
                person.browser.clone().get(&world.app, hinted).await
            },
            (
                async |world: &World, (person, _): &(Person, String), _: Option<&Answer>| {
                    person.sessions(world).await == 0
                },
                async |world: &World, (person, hinted): &(Person, String), _| {
                    assert_eq!(person.browser.clone().get(&world.app, hinted).await.status, 200);
                    assert_eq!(person.sessions(world).await, 0);
                },
            ),
        )
        .await;
}

/// Somebody with an API key: its identifier, itself, and what it was exchanged for.
struct Keyed {
    person: Person,
    id: String,
    key: String,
    token: String,
}

impl Keyed {
    async fn new(world: &World, number: usize) -> Self {
        let person = Person::inside(world, number, "/account/api-keys").await;
        let made = make_key(world, &person).await;
        let key = person.shown(world, &made).await.remove(0);
        let owner = ApiKeyOwner::User(person.id.clone());
        let id = world.services().api_keys.of_owner(&owner).await.unwrap().remove(0).id.to_string();
        let token = exchange(world, &key).await.access_token();
        Self { person, id, key, token }
    }

    async fn revoke(&self, world: &World) -> Answer {
        self.person.act(world, "/account/api-keys", &[("revoke", &*self.id)]).await
    }

    async fn opens(&self, world: &World) -> bool {
        exchange(world, &self.key).await.status == 200
    }
}

/// Somebody with an application: where its page is, and its name and secret.
struct Owner {
    person: Person,
    path: String,
    id: String,
    secret: String,
}

impl Owner {
    async fn new(world: &World, number: usize) -> Self {
        let mut person = Person::inside(world, number, "/account/applications").await;
        let made = make_application(world, &person).await;
        let secret = person.shown(world, &made).await.remove(0);
        let id = world.services().clients.of_owner(&person.id).remove(0).client_id.to_string();
        let path = format!("/account/applications/{id}");
        person.page = person.browser.get(&world.app, &path).await;
        Self { person, path, id, secret }
    }

    async fn rotate(&self, world: &World) -> Answer {
        self.person.act(world, &self.path, &[("act", "rotate_secret")]).await
    }

    async fn counts(&self, world: &World, secret: &str) -> bool {
        is_known(world, (&self.id, secret)).await
    }
}

/// Whether the client is known by that secret.
pub(crate) async fn is_known(world: &World, client: (&str, &str)) -> bool {
    world.app.send(form("/oauth2/introspect", "token=x").insert_header(basic(client))).await.status == 200
}

#[actix_web::test]
async fn people_take_back_keys_and_secrets_whatever_fails() {
    let house = House::open().await;
    house
        .hold(
            "revoke an API key of one's own",
            Keyed::new,
            async |world: &World, keyed: &Keyed| keyed.revoke(world).await,
            (
                async |world: &World, keyed: &Keyed, told: Option<&Answer>| {
                    let counts = world.app.is_active(&keyed.token).await;
                    assert!(told.is_none() || !counts, "its tokens end with it");
                    let opens = keyed.opens(world).await;
                    assert!(
                        counts || !opens,
                        "a key that goes on making tokens after its tokens were cut off"
                    );
                    !opens
                },
                async |world: &World, keyed: &Keyed, _| {
                    let again = keyed.revoke(world).await;
                    assert!(matches!(again.status, 303 | 404), "{again:?}");
                    assert!(!keyed.opens(world).await && keys(world, &keyed.person).await == 0);
                    assert!(!world.app.is_active(&keyed.token).await, "its tokens end with it");
                },
            ),
        )
        .await
        .hold(
            "rotate the secret of an application of one's own",
            Owner::new,
            async |world: &World, owner: &Owner| owner.rotate(world).await,
            (
                async |world: &World, owner: &Owner, told: Option<&Answer>| {
                    if let Some(told) = told {
                        let new = owner.person.shown(world, told).await;
                        assert!(owner.counts(world, &new[0]).await);
                    }
                    !owner.counts(world, &owner.secret).await
                },
                async |world: &World, owner: &Owner, _| {
                    let answer = owner.rotate(world).await;
                    let new = owner.person.shown(world, &answer).await;
                    assert!(owner.counts(world, &new[0]).await && !owner.counts(world, &owner.secret).await);
                },
            ),
        )
        .await;
}

/// A no, too, counts once, and only if it is on record.
#[actix_web::test]
async fn people_refuse_clients_whatever_fails() {
    let house = House::open().await;
    register(&house.world.app, shop()).await;
    let (store, asked) = (house.store.clone(), request(&[]));
    let answered = async || {
        let rows = store.scan(Table::plain("answered_consent_forms"), None, usize::MAX).await.unwrap();
        rows.len()
    };
    let refusals = |world: &World| world.app.audit_log().matches("\"consent.given\"").count();
    // The client is told of the no: that is what was asked for.
    let told = |answer: Answer| {
        let is_no = answer.header("location").is_some_and(|to| to.contains("error=access_denied"));
        if is_no { as_answer(&Ok::<(), ()>(())) } else { answer }
    };
    house
        .hold(
            "consent: a no",
            async |world: &World, number| {
                let mut person = Person::inside(world, number, "/account").await;
                person.page = person.browser.get(&world.app, &asked).await;
                (person, answered().await, refusals(world))
            },
            async |world: &World, (person, ..): &(Person, usize, usize)| {
                told(person.browser.clone().decide(&world.app, &person.page, "deny").await)
            },
            (
                async |world: &World,
                       (person, forms, recorded): &(Person, usize, usize),
                       told: Option<&Answer>| {
                    let is_recorded = refusals(world) > *recorded;
                    assert!(told.is_none() || is_recorded, "a no that is not on record");
                    assert!(world.services().consents.of_user(&person.id).await.unwrap().is_empty());
                    answered().await > *forms
                },
                async |world: &World, (person, ..): &(Person, usize, usize), happened| {
                    // A form that was answered leads back to the question.
                    let mut browser = person.browser.clone();
                    let again = browser.decide(&world.app, &person.page, "deny").await;
                    assert_eq!(
                        again.header("location").is_some_and(|to| to.contains("error=access_denied")),
                        !happened
                    );
                    let question = browser.get(&world.app, &asked).await;
                    assert!(is_done_by(&told(browser.decide(&world.app, &question, "deny").await)));
                },
            ),
        )
        .await;
}

fn is_done_by(answer: &Answer) -> bool {
    answer.status == 204
}

/// The accounts of the house, with passwords hashed as before an upgrade.
fn former_accounts(house: &House) -> Accounts {
    let sources = (house.world.app.clock.clone() as Arc<_>, Arc::new(SeededEntropy::new(99)) as Arc<_>);
    let cost = HashingCost { passes: HashingCost::LEAST.passes + 1, ..HashingCost::LEAST };
    let hasher = PasswordHasher::new(cost, 1, sources.clone());
    Accounts::new(house.store.clone(), sources.0, sources.1, hasher)
}

async fn hashed_before(accounts: &Accounts, email: &str) {
    let new = NewAccount {
        password: Some(Secret::new(PASSWORD.to_owned())),
        ..NewAccount::new("Grace", Email::parse(email).unwrap())
    };
    accounts.register(new).await.unwrap();
}

#[actix_web::test]
async fn people_whose_passwords_are_hashed_anew_sign_in_whatever_fails() {
    let house = House::open().await;
    let former = former_accounts(&house);
    house
        .hold(
            "sign in by a password that is hashed anew",
            async |world: &World, number| {
                hashed_before(&former, &format!("person-{number}@example.com")).await;
                Person::who_is_known(world, number).await
            },
            async |world: &World, person: &Person| person.sign_in(world).await,
            (
                async |world: &World, person: &Person, told: Option<&Answer>| {
                    person.has_signed_in(world, told).await
                },
                async |world: &World, person: &Person, _| person.can_sign_in(world).await,
            ),
        )
        .await;
}

/// That it could not be hashed anew is no reason to refuse it: it is right, and the next time does it.
#[actix_web::test]
async fn a_right_password_counts_also_where_it_can_not_be_hashed_anew() {
    let house = House::open().await;
    let former = former_accounts(&house);
    let House { world, store, .. } = house;
    let accounts = &world.services().accounts;
    let password = Secret::new(PASSWORD.to_owned());
    for (number, way) in WAYS.into_iter().enumerate() {
        let email = format!("grace-{number}@example.com");
        hashed_before(&former, &email).await;
        let ask = async || {
            store.written.lock().unwrap().commits = 0;
            let counts = accounts.authenticate(accounts.turn().unwrap(), &email, &password).await;
            let commits = store.written.lock().unwrap().commits;
            (counts.unwrap().is_some(), commits)
        };
        // Its name and its account are read, and then it is written down.
        store.fail(3, way);
        let met = ask().await;
        assert!(store.heal());
        let is_written = usize::from(way.0 == Fault::AnswerLost);
        assert_eq!(met, (true, is_written), "{way:?}");
        assert_eq!(ask().await, (true, 1 - is_written), "{way:?}");
        assert_eq!(ask().await, (true, 0), "{way:?}");
    }
}
