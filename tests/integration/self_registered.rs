//! Clients that no administrator vouches for: a person's own, and those that registered themselves. Nobody is sent to one
//! unasked (RFC 9700, section 4.11.2).

use actix_web::http::Method;
use serde_json::json;
use signet::clients::{GrantType, Registrant, Registration};
use signet::oauth::{ClientId, Scope};

use crate::browser::{
    Browser, CALLBACK, PASSWORD, ada, encoded, location, parameter, redeem, register, request, shop, text,
};
use crate::shell::{account, signed_in};
use crate::test_app::{Answer, RESOURCE, TestApp, basic, form};

const OOB: &str = "urn:ietf:wg:oauth:2.0:oob";

async fn service() -> TestApp {
    let app = TestApp::start().await;
    let owner = ada(&app).await.id;
    for (id, registrant) in [("notes", Registrant::Person(owner)), ("gadget", Registrant::Anybody)] {
        let registration = Registration {
            client_id: Some(ClientId::parse(id).unwrap()),
            client_name: "<b>Notes".into(),
            grant_types: Some(vec![GrantType::AuthorizationCode]),
            scope: Scope::parse("read write").unwrap(),
            registrant,
            ..shop()
        };
        register(&app, registration).await;
    }
    register(&app, shop()).await;
    app
}

/// A page that leads on by nothing but a link.
#[track_caller]
fn is_told_to_the_person(answer: &Answer, error: &str) {
    let page = text(answer);
    assert_eq!((answer.status, answer.header("location")), (400, None), "{page}");
    assert!(page.contains(&format!("<code>{error}</code>")), "{page}");
    assert!(page.contains(&format!("href=\"{CALLBACK}?error={error}&#38;")), "{page}");
    assert!(page.contains("Go on to shop.example.com") && page.contains("&#60;b&#62;Notes"), "{page}");
    assert!(!page.contains("<script") && !page.contains("http-equiv") && !page.contains("<form"), "{page}");
    assert!(!answer.header("content-security-policy").unwrap().contains("script-src"), "{answer:?}");
}

/// Everything after the scheme of an application's own URI is its own wording, a host that it does not lead to, say.
#[actix_web::test]
async fn a_link_to_an_application_on_the_device_names_no_host() {
    let app = service().await;
    let uri = "com.example.gadget://bank.example/back";
    let registration = Registration {
        client_id: Some(ClientId::parse("phisher").unwrap()),
        scope: Scope::parse("read").unwrap(),
        redirect_uris: vec![signet::oauth::RedirectUri::parse(uri).unwrap()],
        registrant: Registrant::Anybody,
        ..shop()
    };
    register(&app, registration).await;
    let query = [("client_id", "phisher"), ("redirect_uri", uri), ("response_type", "token")];
    let page = text(&Browser::default().get(&app, &format!("/oauth2/authorize?{}", encoded(&query))).await);
    assert!(page.contains("Go on to the application</a>"), "{page}");
    assert!(!page.contains("Go on to bank.example"), "{page}");
}

#[actix_web::test]
async fn what_is_wrong_with_a_request_sends_nobody_to_a_client_that_nobody_vouches_for() {
    let app = service().await;
    let mut browser = Browser::default();
    for client in ["notes", "gadget"] {
        for (member, value, error) in [
            ("response_type", "token", "unsupported_response_type"),
            ("response_mode", "fragment", "invalid_request"),
            ("scope", "signet:keys", "invalid_scope"),
            ("request", "x", "request_not_supported"),
            ("prompt", "none", "login_required"),
        ] {
            let asked = request(&[("client_id", client), ("scope", "read"), (member, value)]);
            let asked = if member == "scope" { asked.replace("scope=read&", "") } else { asked };
            is_told_to_the_person(&browser.get(&app, &asked).await, error);
            let by_form = [("client_id", client), ("scope", "openid"), ("response_mode", "form_post")];
            is_told_to_the_person(&browser.get(&app, &request(&by_form)).await, "invalid_scope");
        }
        // Signed in, and still not asked.
        let page = browser.get(&app, &request(&[])).await;
        browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
        let silent = request(&[("client_id", client), ("scope", "read"), ("prompt", "none")]);
        is_told_to_the_person(&browser.get(&app, &silent).await, "consent_required");
        // Who has seen where it leads, and says no, is sent there: that is the person's own act.
        let page = browser.get(&app, &request(&[("client_id", client), ("scope", "read")])).await;
        let answer = browser.decide(&app, &page, "deny").await;
        assert_eq!(parameter(&answer, "error").as_deref(), Some("access_denied"));
        // What was allowed before is answered without a question, silently too.
        browser.allow(&app, &request(&[("client_id", client), ("scope", "read")])).await;
        assert!(parameter(&browser.get(&app, &silent).await, "code").is_some());
        browser.cookies.clear();
    }
    // One that an administrator registered is told itself, as OpenID Connect has it.
    let answer = browser.get(&app, &request(&[("prompt", "none")])).await;
    assert!(location(&answer).starts_with(&format!("{CALLBACK}?error=login_required")));
}

#[actix_web::test]
async fn whoever_is_asked_is_told_that_nobody_has_looked_at_an_application() {
    const UNSEEN: &str = "an application that nobody here has looked at. Go on only if you know it.";
    let app = service().await;
    let link =
        |path: &str| Some(signet::oauth::WebUri::parse(&format!("https://shop.example/{path}")).unwrap());
    for client in ["notes", "gadget", "shop"] {
        let change = signet::clients::ClientChange {
            client_uri: Some(link("home")),
            policy_uri: Some(link("policy")),
            tos_uri: Some(link("terms")),
            ..Default::default()
        };
        app.app.state.services.clients.intend(client, change).await.unwrap().write().await.unwrap();
        let mut browser = Browser::default();
        let asked = request(&[("client_id", client), ("scope", "read")]);
        let sign_in = browser.get(&app, &asked).await;
        let answer = browser.sign_in(&app, &sign_in, ("ada@example.com", PASSWORD)).await;
        let consent = browser.go_on(&app, answer).await;
        assert!(text(&consent).contains("name=\"decision\""));
        for page in [text(&sign_in), text(&consent)] {
            let is_seen = client == "shop";
            assert_eq!(page.contains(UNSEEN), !is_seen, "{client}: {page}");
            for path in ["home", "policy", "terms"] {
                assert_eq!(
                    page.contains(&format!("https://shop.example/{path}")),
                    is_seen,
                    "{client}: {page}"
                );
            }
        }
    }
}

/// Whoever keeps an application may call it something else and let people come back elsewhere, after they have allowed it.
#[actix_web::test]
async fn what_was_allowed_to_an_application_is_not_allowed_to_what_it_becomes() {
    const ELSEWHERE: &str = "https://elsewhere.example/callback";
    let app = service().await;
    let mut browser = Browser::default();
    for (client, changes) in [
        ("notes", [json!({ "client_name": "Your bank" }), json!({ "redirect_uris": [CALLBACK, ELSEWHERE] })]),
        (
            "gadget",
            [json!({ "redirect_uris": [CALLBACK, ELSEWHERE] }), json!({ "client_name": "Your bank" })],
        ),
    ] {
        let asked = request(&[("client_id", client), ("scope", "read")]);
        let silent = format!("{asked}&prompt=none");
        let path = format!("/admin/clients/{client}");
        for change in changes {
            browser.allow(&app, &asked).await;
            assert!(parameter(&browser.get(&app, &silent).await, "code").is_some());
            // A new secret is nothing that people see.
            assert_eq!(app.administer(Method::POST, &format!("{path}/secret"), None).await.status, 200);
            assert!(parameter(&browser.get(&app, &silent).await, "code").is_some());
            let open = browser.get(&app, &format!("{asked}&prompt=consent")).await;
            assert_eq!(app.administer(Method::PATCH, &path, Some(change.clone())).await.status, 200);
            is_told_to_the_person_as(&browser.get(&app, &silent).await, "consent_required");
            let page = text(&browser.get(&app, &asked).await);
            assert!(page.contains("would like to") && !page.contains("already allowed"), "{change}: {page}");
            // Nor is it allowed by a form that showed what it was.
            let late = browser.decide(&app, &open, "allow").await;
            assert_eq!((late.status, late.header("location")), (400, None), "{change}");
            is_told_to_the_person_as(&browser.get(&app, &silent).await, "consent_required");
        }
        let elsewhere = request(&[("client_id", client), ("scope", "read"), ("redirect_uri", ELSEWHERE)]);
        is_told_to_the_person_as(
            &browser.get(&app, &format!("{elsewhere}&prompt=none")).await,
            "consent_required",
        );
        // Nor may anybody say that people need not be asked.
        let implied = json!({ "consent": "implied" });
        app.administer(Method::PATCH, &path, Some(implied)).await.refused(400, "invalid_request");
    }
    let log = app.audit_log();
    assert!(log.contains(r#""client_name":{"from":"<b>Notes","to":"Your bank"}"#), "{log}");
    // One that an administrator registered may be called something else as before, and the log does not tell how.
    browser.allow(&app, &request(&[])).await;
    let renamed = json!({ "client_name": "The Store", "redirect_uris": [CALLBACK, ELSEWHERE] });
    assert_eq!(app.administer(Method::PATCH, "/admin/clients/shop", Some(renamed)).await.status, 200);
    assert!(parameter(&browser.get(&app, &request(&[("prompt", "none")])).await, "code").is_some());
    assert!(!app.audit_log().contains("The Store"));
}

/// One that was written down as not to be asked about, before that was refused.
#[actix_web::test]
async fn people_are_asked_about_what_nobody_vouches_for_whatever_it_was_registered_with() {
    let app = TestApp::start().await;
    let owner = ada(&app).await.id;
    let consent = signet::clients::ConsentRule::Implied;
    register(&app, Registration { registrant: Registrant::Person(owner), consent, ..shop() }).await;
    let mut browser = signed_in(&app, "ada@example.com", "/account").await;
    is_told_to_the_person_as(&browser.get(&app, &request(&[("prompt", "none")])).await, "consent_required");
    assert!(text(&browser.get(&app, &request(&[])).await).contains("name=\"decision\""));
}

#[actix_web::test]
async fn a_form_that_is_late_sends_nobody_there_either() {
    let app = service().await;
    let mut browser = Browser::default();
    let page = browser.get(&app, &request(&[("client_id", "notes"), ("scope", "read")])).await;
    // Meanwhile the application may have less.
    let change = json!({ "scope": "write", "default_scope": "write" });
    assert_eq!(app.administer(Method::PATCH, "/admin/clients/notes", Some(change)).await.status, 200);
    let answer = browser.sign_in(&app, &page, ("ada@example.com", PASSWORD)).await;
    is_told_to_the_person(&answer, "invalid_scope");
}

#[actix_web::test]
async fn the_applications_of_a_disabled_person_get_nothing() {
    let app = TestApp::start().await;
    let owner = ada(&app).await.id;
    account(&app, ("Bob", "bob@example.com"), false).await;
    // An administrator has let it act on its own behalf, too.
    let notes = Registration { registrant: Registrant::Person(owner.clone()), ..shop() };
    let client = register(&app, notes).await;
    let credentials = ("shop", client.client_secret.as_ref().unwrap().expose());
    let key = json!({ "name": "k", "client_id": "shop", "scope": "read", "resources": [RESOURCE] });
    let key = app.administer(Method::POST, "/admin/api-keys", Some(key)).await.json();
    let key = key["api_key"].as_str().unwrap();
    let mut bob = signed_in(&app, "bob@example.com", "/account").await;
    let asked = request(&[("scope", "openid offline_access read")]);
    let code = async |bob: &mut Browser| parameter(&bob.allow(&app, &asked).await, "code").expect("a code");
    let first = code(&mut bob).await;
    let tokens = redeem(&app, &client, &first).await;
    let later = code(&mut bob).await;
    let page = bob.get(&app, &request(&[("prompt", "consent")])).await;
    let present = |body: String| app.send(form("/oauth2/token", &body).insert_header(basic(credentials)));
    let refresh =
        format!("grant_type=refresh_token&refresh_token={}", tokens["refresh_token"].as_str().unwrap());
    let redeem_later = encoded(&[
        ("grant_type", "authorization_code"),
        ("code", &later),
        ("redirect_uri", CALLBACK),
        ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
    ]);
    let exchange = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token={key}\
         &subject_token_type=urn:signet:params:oauth:token-type:api_key"
    );
    app.token(credentials, "scope=read").await.access_token();
    let disable = async |disabled: bool| {
        let path = format!("/admin/users/{owner}");
        let change = Some(json!({ "disabled": disabled }));
        assert_eq!(app.administer(Method::PATCH, &path, change).await.status, 200);
    };
    disable(true).await;
    app.token(credentials, "scope=read").await.refused(401, "invalid_client");
    present(refresh.clone()).await.refused(401, "invalid_client");
    present(redeem_later).await.refused(401, "invalid_client");
    app.send(form("/oauth2/token", &exchange)).await.refused(400, "invalid_request");
    assert!(!app.is_active(tokens["access_token"].as_str().unwrap()).await);
    for answer in [bob.get(&app, &asked).await, bob.decide(&app, &page, "allow").await] {
        assert_eq!((answer.status, answer.header("location")), (400, None), "{}", text(&answer));
        assert!(text(&answer).contains("not in use at present"));
    }
    disable(false).await;
    app.token(credentials, "scope=read").await.access_token();
    app.send(form("/oauth2/token", &exchange)).await.access_token();
    present(refresh).await.refused(400, "invalid_grant");
    app.pass(std::time::Duration::from_secs(2)).await;
    let again = code(&mut bob).await;
    redeem(&app, &client, &again).await;
}

#[actix_web::test]
async fn applications_register_themselves_within_bounds() {
    let app = TestApp::start_with(|config| {
        config.dialects.apps = true;
        config.dialects.most_apps = 2;
        config.resources[0].scope = Scope::parse("read write follow push admin:write").unwrap();
    })
    .await;
    let apply = |scopes: &str| {
        app.send(form("/api/v1/apps", &format!("client_name=Gadget&redirect_uris={OOB}&scopes={scopes}")))
    };
    let refused = apply("read+admin:write").await;
    refused.refused(400, "invalid_request");
    let why = refused.json()["error_description"].as_str().unwrap().to_owned();
    assert!(why.contains("admin:write") && why.contains("dialects.apps_scope"), "{why}");
    let first = apply("read+write+follow+push").await;
    assert_eq!(first.status, 200, "{first:?}");
    assert_eq!(apply("read").await.status, 200);
    apply("read").await.refused(409, "conflict");
    // Neither administrators nor the clients that they register count.
    register(&app, shop()).await;
    let shown = app.administer(Method::GET, "/admin/clients", None).await.json();
    let by = |name: &str| {
        let clients = shown["clients"].as_array().unwrap().iter();
        clients.filter(|client| client["registered_by"] == name).count()
    };
    assert_eq!((by("anybody"), by("administrator"), by("person")), (2, 3, 0));
    let path = format!("/admin/clients/{}", first.json()["client_id"].as_str().unwrap());
    assert_eq!(app.administer(Method::DELETE, &path, None).await.status, 204);
    assert_eq!(apply("read").await.status, 200, "there is room again");
}

#[actix_web::test]
async fn however_many_register_at_once_there_are_no_more_than_may_be() {
    let app = TestApp::start_with(|config| {
        config.dialects.most_apps = 3;
    })
    .await;
    let mut tries = tokio::task::JoinSet::new();
    for number in 0..20 {
        let services = app.app.state.services.clone();
        let client_id = Some(ClientId::parse(&format!("gadget-{number}")).unwrap());
        let scope = Scope::parse("read").unwrap();
        let gadget = Registration { client_id, scope, registrant: Registrant::Anybody, ..shop() };
        tries.spawn(async move { services.clients.register(gadget).await.is_ok() });
    }
    assert_eq!(tries.join_all().await.into_iter().filter(|done| *done).count(), 3);
}

#[actix_web::test]
async fn what_applications_may_no_longer_register_for_those_that_did_get_no_more() {
    let app = TestApp::start_with(|config| config.dialects.apps = true).await;
    ada(&app).await;
    let body = format!("client_name=Gadget&redirect_uris={CALLBACK}&scopes=read+write");
    let gadget = app.send(form("/api/v1/apps", &body)).await.json();
    let member = |name: &str| gadget[name].as_str().unwrap().to_owned();
    let (id, secret) = (member("client_id"), member("client_secret"));
    let credentials = (id.as_str(), secret.as_str());
    let mut ada = signed_in(&app, "ada@example.com", "/account").await;
    let asked = |scope| request(&[("client_id", &*id), ("scope", scope)]);
    let code = parameter(&ada.allow(&app, &asked("read write")).await, "code").unwrap();
    assert_eq!(app.token(credentials, "").await.json()["scope"], "read write");
    let app = app.restart(|config| config.dialects.apps_scope = Scope::parse("read").unwrap()).await;
    // On its own behalf, in a grant that was given before, and in one to come.
    assert_eq!(app.token(credentials, "").await.json()["scope"], "read");
    app.token(credentials, "scope=write").await.refused(400, "invalid_scope");
    let redeemed = encoded(&[
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
    ]);
    let tokens = app.send(form("/oauth2/token", &redeemed).insert_header(basic(credentials))).await.json();
    assert_eq!(tokens["scope"], "read");
    is_told_to_the_person_as(&ada.get(&app, &asked("read write")).await, "invalid_scope");
    // Nobody can give it more than that, but it can be called something else.
    let path = format!("/admin/clients/{id}");
    let wider = json!({ "scope": "read write" });
    app.administer(Method::PATCH, &path, Some(wider)).await.refused(400, "invalid_request");
    let renamed = json!({ "client_name": "Gadget 2" });
    assert_eq!(app.administer(Method::PATCH, &path, Some(renamed)).await.status, 200);
}

#[track_caller]
fn is_told_to_the_person_as(answer: &Answer, error: &str) {
    assert_eq!((answer.status, answer.header("location")), (400, None), "{}", text(answer));
    assert!(text(answer).contains(&format!("<code>{error}</code>")), "{}", text(answer));
}

/// What each resource lets people open bounds what nobody vouches for on its own behalf, too.
#[actix_web::test]
async fn of_its_own_an_application_gets_what_every_resource_lets_people_open() {
    const OTHER: &str = "https://other.example.com";
    let app = TestApp::start_with(|config| {
        let mut other = config.resources[0].clone();
        other.uri = signet::oauth::Resource::parse(OTHER).unwrap();
        config.resources[0].people_scope = Scope::parse("read write").unwrap();
        other.people_scope = Scope::parse("write").unwrap();
        config.resources.push(other);
    })
    .await;
    let resources = [RESOURCE, OTHER].map(|uri| signet::oauth::Resource::parse(uri).unwrap()).to_vec();
    let both = format!("resource={RESOURCE}&resource={OTHER}");
    for (registrant, scope) in [(Registrant::Anybody, "write"), (Registrant::Administrator, "read write")] {
        let new = Registration {
            client_id: Some(ClientId::parse(registrant.as_str()).unwrap()),
            scope: Scope::parse("read write").unwrap(),
            default_scope: Some(Scope::parse("read write").unwrap()),
            resources: resources.clone(),
            grant_types: Some(vec![GrantType::ClientCredentials]),
            registrant: registrant.clone(),
            ..shop()
        };
        let client = register(&app, new).await;
        let credentials = (client.client.client_id.as_str(), client.client_secret.as_ref().unwrap().expose());
        assert_eq!(app.token(credentials, &both).await.json()["scope"], scope);
        assert_eq!(
            app.token(credentials, &format!("resource={RESOURCE}")).await.json()["scope"],
            "read write"
        );
        let asked = app.token(credentials, &format!("resource={OTHER}&scope=read")).await;
        if registrant == Registrant::Anybody {
            asked.refused(400, "invalid_scope");
        } else {
            asked.access_token();
        }
    }
}
