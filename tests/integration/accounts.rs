//! Accounts through the admin API, and what ends with them.

use std::rc::Rc;
use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::{Value, json};
use signet::oauth::{ClientId, Resource, Scope, Secret, Subject, UserId};
use signet::protocol::users::{Entry, sign_in};
use signet::users::{Account, Asker, Authentication, NewSession};

use crate::browser::text;
use crate::shell::{account, act, signed_in};
use crate::test_app::{ISSUER, RESOURCE, TestApp, bearer};

const PASSWORD: &str = "correct horse battery";

async fn add(app: &TestApp, members: Value) -> UserId {
    let answer = app.administer(Method::POST, "/admin/users", Some(members)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    UserId::parse(answer.json()["id"].as_str().unwrap()).unwrap()
}

async fn alice(app: &TestApp) -> UserId {
    add(app, json!({ "name": "Alice", "email": "alice@example.com", "password": PASSWORD })).await
}

async fn authenticate(app: &TestApp, name: &str, password: &str) -> Option<Account> {
    let accounts = &app.app.state.services.accounts;
    let password = Secret::new(password.to_owned());
    accounts.authenticate(accounts.turn().unwrap(), name, &password).await.unwrap()
}

fn session(user: &UserId, now: i64) -> NewSession {
    let authentication = Authentication { auth_time: now, amr: vec!["pwd".into()] };
    NewSession { user: user.clone(), authentication, user_agent: None, address: None }
}

#[actix_web::test]
async fn an_account_is_made_shown_changed_and_deleted() {
    let app = TestApp::start().await;
    let members = json!({
        "name": "Alice Wonderland",
        "email": "alice@example.com",
        "email_verified": true,
        "preferred_username": "alice",
        "password": PASSWORD,
        "profile": { "given_name": "Alice", "address": { "country": "UK" } },
        "administrator": true,
    });
    let made = app.administer(Method::POST, "/admin/users", Some(members)).await;
    let id = made.json()["id"].as_str().unwrap().to_owned();
    let mut account = json!({
        "id": id,
        "name": "Alice Wonderland",
        "email": "alice@example.com",
        "email_verified": true,
        "preferred_username": "alice",
        "profile": { "given_name": "Alice", "address": { "country": "UK" } },
        "administrator": true,
        "disabled": false,
        "created_at": "2027-01-15T08:00:00Z",
        "updated_at": null,
    });
    assert_eq!((made.status, made.json()), (201, account.clone()));
    let path = format!("/admin/users/{id}");
    assert_eq!(app.administer(Method::GET, &path, None).await.json(), account);
    app.pass(Duration::from_mins(1)).await;
    let another = json!({ "name": "Root", "email": "root@example.com", "administrator": true });
    assert_eq!(app.administer(Method::POST, "/admin/users", Some(another)).await.status, 201, "one stays");
    let change = json!({ "preferred_username": null, "email": "al@example.com", "profile": {}, "administrator": false });
    let changed = app.administer(Method::PATCH, &path, Some(change)).await;
    account["preferred_username"] = Value::Null;
    account["email"] = json!("al@example.com");
    account["email_verified"] = json!(false);
    account["profile"] = json!({});
    account["administrator"] = json!(false);
    account["updated_at"] = json!("2027-01-15T08:01:00Z");
    assert_eq!((changed.status, changed.json()), (200, account.clone()));
    let listed = app.administer(Method::GET, "/admin/users?limit=1", None).await;
    assert_eq!(listed.json(), json!({ "users": [account] }));
    assert_eq!(app.administer(Method::DELETE, &path, None).await.status, 204);
    for (method, body) in [(Method::GET, None), (Method::PATCH, Some(json!({}))), (Method::DELETE, None)] {
        app.administer(method, &path, body).await.refused(404, "not_found");
    }
    let unknown = json!({ "name": "A", "email": "a@example.com", "role": "admin" });
    app.administer(Method::POST, "/admin/users", Some(unknown)).await.refused(400, "invalid_request");
}

#[actix_web::test]
async fn only_who_holds_every_admin_scope_touches_administrators() {
    let app = TestApp::start().await;
    let root = add(&app, json!({ "name": "Root", "email": "root@example.com", "administrator": true })).await;
    let user = alice(&app).await;
    let token = app.token(app.admin(), "scope=signet:users").await.access_token();
    let send = |method: Method, path: String, body: Value| {
        app.send(TestRequest::with_uri(&path).method(method).insert_header(bearer(&token)).set_json(body))
    };
    let (root, user) = (format!("/admin/users/{root}"), format!("/admin/users/{user}"));
    let made = json!({ "name": "Eve", "email": "eve@example.com", "administrator": true });
    send(Method::POST, "/admin/users".into(), made).await.refused(403, "insufficient_scope");
    for (path, change) in [
        (&root, json!({ "password": "the attacker's password" })),
        (&root, json!({ "email": "eve@example.com" })),
        (&root, json!({ "administrator": false })),
        (&user, json!({ "administrator": true })),
    ] {
        send(Method::PATCH, path.clone(), change).await.refused(403, "insufficient_scope");
    }
    send(Method::DELETE, root.clone(), json!({})).await.refused(403, "insufficient_scope");
    assert_eq!(send(Method::PATCH, user, json!({ "name": "Al" })).await.status, 200);
    assert_eq!(app.administer(Method::PATCH, &root, Some(json!({ "name": "R." }))).await.status, 200);
}

#[actix_web::test]
async fn a_new_password_disabling_and_deleting_end_all_that_the_person_is_signed_in_to() {
    for (change, may_sign_in) in [
        (Some(json!({ "password": "another long password" })), true),
        (Some(json!({ "disabled": true })), false),
        (None, false),
    ] {
        let app = TestApp::start().await;
        let services = &app.app.state.services;
        let id = alice(&app).await;
        let account = authenticate(&app, "alice@example.com", PASSWORD).await.unwrap();
        let started =
            sign_in(services, &account, Entry::New(session(&id, app.now()))).await.unwrap().unwrap();
        let shop = ClientId::parse("shop").unwrap();
        let scope = Scope::parse("read").unwrap();
        let registered_at = signet::clock::Clock::now(app.clock.as_ref());
        let asker = Asker { client_id: &shop, registered_at, shown_as: None };
        let resource = [Resource::parse(RESOURCE).unwrap()];
        services.consents.allow(&id, asker, (&resource, &scope)).await.unwrap();
        let path = format!("/admin/users/{id}");
        let renamed = app.administer(Method::PATCH, &path, Some(json!({ "name": "Al" }))).await;
        assert_eq!(renamed.status, 200);
        assert!(services.sessions.find(&started.cookie).await.unwrap().is_some(), "a new name ends nothing");
        assert_eq!(services.revocations.cutoff(&shop, &Subject::from(&id)), None);

        app.pass(Duration::from_secs(10)).await;
        let deletes = change.is_none();
        let method = if deletes { Method::DELETE } else { Method::PATCH };
        assert!(app.administer(method, &path, change).await.status < 300);
        assert_eq!(services.sessions.find(&started.cookie).await.unwrap(), None);
        let cutoff = services.revocations.cutoff(&shop, &Subject::from(&id)).expect("a cut-off");
        assert!(cutoff >= app.now(), "{cutoff}");
        assert_eq!(services.consents.of_user(&id).await.unwrap().is_empty(), deletes);
        // Who had proved it before, and comes only now, does not get in any more.
        let proof = session(&id, app.now());
        assert!(sign_in(services, &account, Entry::New(proof.clone())).await.unwrap().is_none());
        let meanwhile = services.sessions.start(proof.clone()).await.unwrap();
        let anew = Entry::Anew(meanwhile.cookie, proof.authentication);
        assert!(sign_in(services, &account, anew).await.unwrap().is_none());
        assert_eq!(services.sessions.of_user(&id).await.unwrap(), [meanwhile.session], "none but this one");
        assert_eq!(authenticate(&app, "alice@example.com", PASSWORD).await, None);
        let anew = authenticate(&app, "alice@example.com", "another long password").await;
        assert_eq!(anew.is_some(), may_sign_in);
        if let Some(anew) = anew {
            assert!(sign_in(services, &anew, Entry::New(session(&id, app.now()))).await.unwrap().is_some());
        }
        // All of it survives a restart.
        let app = app.restart(|_| {}).await;
        let services = &app.app.state.services;
        assert_eq!(services.sessions.find(&started.cookie).await.unwrap(), None);
        assert_eq!(services.revocations.cutoff(&shop, &Subject::from(&id)), Some(cutoff));
    }
}

#[actix_web::test]
async fn a_password_that_is_refused_signs_nobody_out() {
    let app = TestApp::start().await;
    let services = &app.app.state.services;
    let id = alice(&app).await;
    let account = authenticate(&app, "alice@example.com", PASSWORD).await.unwrap();
    let started = sign_in(services, &account, Entry::New(session(&id, app.now()))).await.unwrap().unwrap();
    let weak = Some(json!({ "password": "password1" }));
    app.administer(Method::PATCH, &format!("/admin/users/{id}"), weak).await.refused(400, "invalid_request");
    let anew = Entry::Anew(started.cookie, started.session.authentication);
    let renewed = sign_in(services, &account, anew).await;
    let renewed = renewed.unwrap().expect("nothing has ended");
    assert!(services.sessions.find(&renewed.cookie).await.unwrap().is_some());
}

#[actix_web::test]
async fn sessions_and_second_factors_survive_a_restart() {
    let app = TestApp::start().await;
    let services = &app.app.state.services;
    let id = alice(&app).await;
    let account = services.accounts.find(&id).await.unwrap().unwrap();
    let started = sign_in(services, &account, Entry::New(session(&id, app.now()))).await.unwrap().unwrap();
    let waiting = services.second_factors.enroll(&id, "alice@example.com").await.unwrap();
    let app = app.restart(|_| {}).await;
    let services = &app.app.state.services;
    assert_eq!(services.sessions.find(&started.cookie).await.unwrap(), Some(started.session));
    // What was sealed before is understood: a wrong code is refused, not an error.
    assert!(services.second_factors.confirm(&id, "000000").await.unwrap().is_none());
    assert!(waiting.uri.expose().starts_with("otpauth://totp/127.0.0.1:alice%40example.com?"));
}

#[actix_web::test]
async fn of_many_registrations_at_once_of_one_address_exactly_one_is_made() {
    let app = Rc::new(TestApp::start().await);
    let token = app.admin_token().await;
    let tries = (0..64_u32).map(|number| {
        let (app, token) = (app.clone(), token.clone());
        let local: String = ('a'..='f')
            .enumerate()
            .map(|(at, letter)| if number >> at & 1 == 1 { letter.to_ascii_uppercase() } else { letter })
            .collect();
        actix_web::rt::spawn(async move {
            let body = json!({ "name": "Racer", "email": format!("{local}@example.com") });
            let request = TestRequest::post().uri("/admin/users").insert_header(bearer(&token));
            app.send(request.set_json(body)).await
        })
    });
    let mut made = 0;
    for each in tries.collect::<Vec<_>>() {
        let answer = each.await.unwrap();
        match answer.status {
            201 => made += 1,
            _ => answer.refused(409, "conflict"),
        }
    }
    assert_eq!(made, 1);
    let listed = app.administer(Method::GET, "/admin/users", None).await;
    assert_eq!(listed.json()["users"].as_array().unwrap().len(), 1);
}

#[actix_web::test]
async fn a_client_can_not_be_called_as_an_account() {
    let app = TestApp::start().await;
    let id = alice(&app).await;
    for client_id in [id.as_str(), "user_x"] {
        let registration = json!({
            "client_id": client_id,
            "client_name": "Impostor",
            "scope": "users:read",
            "resources": [format!("{ISSUER}/users")],
        });
        let answer = app.administer(Method::POST, "/admin/clients", Some(registration)).await;
        answer.refused(400, "invalid_request");
    }
}

/// Browsers send the second form when somebody types the first.
#[actix_web::test]
async fn an_address_is_one_accounts_whichever_way_its_domain_is_written() {
    const FORMS: [&str; 3] = ["x@bücher.example", "x@xn--bcher-kva.example", "X@BÜCHER.Example"];
    for (own, others) in [(FORMS[0], [FORMS[1], FORMS[2]]), (FORMS[1], [FORMS[0], FORMS[2]])] {
        let app = TestApp::start_with(|config| config.people.change_email = true).await;
        account(&app, ("Root", "root@example.com"), true).await;
        let path = format!("/admin/users/{}", account(&app, ("Ximena", own), false).await.id);
        let bob = account(&app, ("Bob", "bob@example.com"), false).await;
        let mut root = signed_in(&app, "root@example.com", "/console/users").await;
        let mut bobs = signed_in(&app, "bob@example.com", "/account/email").await;
        for other in others {
            let body = json!({ "name": "Eve", "email": other, "password": PASSWORD });
            app.administer(Method::POST, "/admin/users", Some(body.clone())).await.refused(409, "conflict");
            let token = users_token(&app).await;
            let request = TestRequest::post().uri("/users").insert_header(bearer(&token)).set_json(body);
            assert_eq!(app.send(request).await.status, 409);
            let change = Some(json!({ "email": other }));
            let taken = app.administer(Method::PATCH, &format!("/admin/users/{}", bob.id), change).await;
            taken.refused(409, "conflict");
            let members = [("name", "Eve"), ("email", other), ("password", PASSWORD)];
            let refused = act(&mut root, &app, "/console/new-user", &members).await;
            assert!(refused.status == 400 && text(&refused).contains("The email is taken."), "{other}");
            let refused = act(&mut bobs, &app, "/account/email", &[("email", other)]).await;
            assert!(refused.status == 400 && text(&refused).contains("The email is taken."), "{other}");
            // Whoever is meant gets in by every form.
            signed_in(&app, other, "/account").await;
            let change = Some(json!({ "email": other, "email_verified": true }));
            assert_eq!(app.administer(Method::PATCH, &path, change).await.status, 200, "it is their own");
            let change = Some(json!({ "email": own }));
            let back = app.administer(Method::PATCH, &path, change).await.json();
            assert_eq!((&back["email"], &back["email_verified"]), (&json!(own), &json!(true)));
            let mut hers = signed_in(&app, own, "/account/email").await;
            let refused = act(&mut hers, &app, "/account/email", &[("email", other)]).await;
            assert!(text(&refused).contains("This is your e-mail address already."), "{other}");
        }
        // Given up, it is free in every form.
        let change = Some(json!({ "email": "ximena@example.com" }));
        assert_eq!(app.administer(Method::PATCH, &path, change).await.status, 200);
        add(&app, json!({ "name": "Eve", "email": others[0] })).await;
    }
}

/// A token for the users API.
async fn users_token(app: &TestApp) -> String {
    let registration = json!({
        "client_name": "Directory", "scope": "users:write", "resources": [format!("{ISSUER}/users")],
    });
    let made = app.administer(Method::POST, "/admin/clients", Some(registration)).await.json();
    let client = (made["client_id"].as_str().unwrap(), made["client_secret"].as_str().unwrap());
    app.token(client, "").await.access_token()
}
