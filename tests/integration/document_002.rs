//! The older document that speaks of `/auth/token`, `/users` and `/products`: its own examples as requests, word for word
//! but for host, id and secret. What it says of API keys and their limit is in `api_keys`.

use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use serde_json::{Value, json};
use signet::oauth::{Algorithm, ClientId, Resource, Subject};
use signet::tokens::Authorized;

use crate::resource_server_fixture::ResourceServer;
use crate::test_app::{Answer, ISSUER, RESOURCE, TestApp, bearer, form, part};

/// Where the accounts are served.
const PATHS: [&str; 2] = ["/users", "/v1/users"];

/// A client that may keep accounts and nothing else, registered as an operator would; its id and secret.
async fn keeper(app: &TestApp, scope: &str) -> (String, String) {
    client_of(app, scope, &[&format!("{ISSUER}/users")]).await
}

/// A token as the document says to get it.
async fn token(app: &TestApp, (client_id, client_secret): &(String, String)) -> String {
    let body = format!("grant_type=client_credentials&client_id={client_id}&client_secret={client_secret}");
    let answer = app.send(form("/auth/token", &body)).await;
    assert_eq!(answer.json()["token_type"], "bearer");
    answer.access_token()
}

/// Both samples send the same form.
#[actix_web::test]
async fn a_token_is_obtained_as_documented() {
    let app = TestApp::start().await;
    let (client_id, client_secret) = app.demo();
    let body = format!("grant_type=client_credentials&client_id={client_id}&client_secret={client_secret}");
    let answer = app.send(form("/auth/token", &body)).await;
    let token = answer.access_token();
    assert_eq!(
        answer.json(),
        json!({ "access_token": token, "token_type": "bearer", "expires_in": 3600, "scope": "read write" })
    );
    // "The request was invalid or malformed" and "Authentication failed", each "with an error and message field".
    for (body, status, error) in [
        (body.replace("grant_type=client_credentials&", ""), 400, "invalid_request"),
        (body.replace("client_credentials", "password"), 400, "unsupported_grant_type"),
        (format!("{body}&scope=admin"), 400, "invalid_scope"),
        (format!("{body}x"), 401, "invalid_client"),
        ("grant_type=client_credentials".to_owned(), 401, "invalid_client"),
    ] {
        let answer = app.send(form("/auth/token", &body)).await;
        answer.refused(status, error);
        let Value::Object(members) = answer.json() else { panic!("{answer:?}") };
        assert_eq!(members.keys().collect::<Vec<_>>(), ["error", "message"]);
    }
}

/// `/products` is a resource: the example resource server serves it, and verifies offline.
#[actix_web::test]
async fn products_are_listed_by_category_and_by_what_is_searched_for() {
    let app = TestApp::start().await;
    let api = ResourceServer::beside(&app);
    let demo = (app.demo().0.to_owned(), app.demo().1.to_owned());
    let token = token(&app, &demo).await;
    let products = |query: &str| {
        api.send(TestRequest::get().uri(&format!("/products{query}")).insert_header(bearer(&token)))
    };
    let gadget = json!({
        "id": "prod_xyz789",
        "name": "Gadget Pro",
        "description": "The latest and greatest gadget.",
        "price": 99.99,
        "category": "Electronics",
    });
    let shirt = json!({
        "id": "prod_abc111",
        "name": "Stylish T-Shirt",
        "description": "Comfortable cotton t-shirt.",
        "price": 19.99,
        "category": "Apparel",
    });
    for (query, expected) in [
        ("", json!([gadget, shirt])),
        ("?category=Apparel", json!([shirt])),
        ("?search=gadget", json!([gadget])),
        ("?search=cotton", json!([shirt])),
        ("?category=Electronics&search=cotton", json!([])),
    ] {
        let answer = products(query).await;
        assert_eq!((answer.status, answer.json()), (200, expected), "{query}");
    }
    let answer = api.send(TestRequest::get().uri("/products")).await;
    assert_eq!(answer.status, 401);
    assert!(answer.json()["error"].is_string() && answer.json()["message"].is_string());
    // "with an error and message field", whatever the error is.
    let unknown = api.send(TestRequest::get().uri("/orders")).await;
    for (answer, status, error) in [
        (products("?category=Apparel&category=Electronics").await, 400, "invalid_request"),
        (unknown, 404, "not_found"),
    ] {
        assert_eq!((answer.status, &answer.json()["error"]), (status, &json!(error)), "{answer:?}");
        let Value::Object(members) = answer.json() else { panic!("{answer:?}") };
        assert_eq!(members.keys().collect::<Vec<_>>(), ["error", "message"]);
        assert!(members["message"].is_string());
    }
}

/// A client that is registered for all of these, in that order; its id and secret.
async fn client_of(app: &TestApp, scope: &str, resources: &[&str]) -> (String, String) {
    let registration = json!({ "client_name": "Shop", "scope": scope, "resources": resources });
    let answer = app.administer(Method::POST, "/admin/clients", Some(registration)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let member = |name: &str| answer.json()[name].as_str().expect(name).to_owned();
    (member("client_id"), member("client_secret"))
}

/// The document has one host, one client and one token: what its example gets opens the accounts and the products alike.
#[actix_web::test]
async fn one_token_opens_everything_that_the_document_describes() {
    let app = TestApp::start().await;
    let api = ResourceServer::beside(&app);
    let users = format!("{ISSUER}/users");
    let scope = "read write users:read users:write";
    for resources in [[RESOURCE, users.as_str()], [users.as_str(), RESOURCE]] {
        let shop = client_of(&app, scope, &resources).await;
        let token = token(&app, &shop).await;
        assert_eq!((&part(&token, 1)["aud"], &part(&token, 1)["scope"]), (&json!(resources), &json!(scope)));
        let user = json!({ "name": "Charlie Chaplin", "email": "charlie@example.com", "password": "securepassword123" });
        let request = TestRequest::post().uri("/users").insert_header(bearer(&token)).set_json(user);
        let created = app.send(request).await;
        assert_eq!(created.status, 201, "{created:?}");
        let listed = app.send(TestRequest::get().uri("/users").insert_header(bearer(&token))).await;
        assert_eq!((listed.status, &listed.json()[0]), (200, &created.json()));
        let products = api.products(&token).await;
        assert_eq!((products.status, &products.json()[0]["id"]), (200, &json!("prod_xyz789")));
        let path = format!("/users/{}", created.json()["id"].as_str().unwrap());
        let deleted = app.send(TestRequest::delete().uri(&path).insert_header(bearer(&token))).await;
        assert_eq!(deleted.status, 204);
    }
}

/// What counts is what the token would be signed with, not how the settings put it.
#[actix_web::test]
async fn one_token_is_for_all_that_would_be_signed_alike() {
    const OTHER: &str = "https://other.example";
    let app = TestApp::start_with(|config| {
        config.keys.algorithms = vec![Algorithm::ES256, Algorithm::EdDSA];
        config.resources[0].algorithm = Some(Algorithm::ES256);
        let mut other = config.resources[0].clone();
        other.uri = Resource::parse(OTHER).unwrap();
        other.algorithm = Some(Algorithm::EdDSA);
        config.resources.push(other);
    })
    .await;
    let users = format!("{ISSUER}/users");
    let shop = client_of(&app, "read users:read", &[RESOURCE, users.as_str(), OTHER]).await;
    assert_eq!(part(&token(&app, &shop).await, 1)["aud"], json!([RESOURCE, users]));
    // The client's own, which is for all; and once it is in use no more, as if it had none.
    let path = format!("/admin/clients/{}", shop.0);
    let change = json!({ "access_token_signing_alg": "EdDSA" });
    assert_eq!(app.administer(Method::PATCH, &path, Some(change)).await.status, 200);
    assert_eq!(part(&token(&app, &shop).await, 1)["aud"], json!([RESOURCE, users, OTHER]));
    let app = app.restart(|config| config.keys.algorithms = vec![Algorithm::RS256, Algorithm::ES256]).await;
    for _ in 0..3 {
        app.pass(Duration::from_hours(25)).await;
    }
    assert_eq!(part(&token(&app, &shop).await, 1)["aud"], RESOURCE, "RS256 signs for /users");
}

/// Nobody gets by this dialect what the standard way would refuse; and who names a resource gets that one.
#[actix_web::test]
async fn one_token_for_everything_is_for_nothing_that_keeps_to_itself() {
    const OTHER: &str = "https://other.example";
    let app = TestApp::start_with(|config| {
        let mut other = config.resources[0].clone();
        other.uri = Resource::parse(OTHER).unwrap();
        other.algorithm = Some(Algorithm::EdDSA);
        config.keys.algorithms = vec![Algorithm::ES256, Algorithm::EdDSA];
        config.resources.push(other);
    })
    .await;
    let (admin, users) = (format!("{ISSUER}/admin"), format!("{ISSUER}/users"));
    for (resources, parameters, aud, granted) in [
        // The admin API shares no token, wherever it stands.
        (vec![RESOURCE, &users, &admin], "", json!([RESOURCE, users]), "read users:read"),
        (vec![&admin, &users, RESOURCE], "", json!([users, RESOURCE]), "read users:read"),
        (vec![&admin, &users], "", json!(users), "users:read"),
        (vec![&admin], "", json!(admin), "signet:users"),
        // One signature can't be two.
        (vec![RESOURCE, OTHER, &users], "", json!([RESOURCE, users]), "read users:read"),
        (vec![OTHER, RESOURCE], "", json!(OTHER), "read"),
        // Who names resources gets those.
        (vec![RESOURCE, &users], &format!("&resource={users}"), json!(users), "users:read"),
        (vec![&users, RESOURCE], &format!("&resource={RESOURCE}"), json!(RESOURCE), "read"),
        (vec![RESOURCE, &users], "&scope=read", json!([RESOURCE, users]), "read"),
    ] {
        // All that any of them knows.
        let known = [(RESOURCE, "read"), (OTHER, "read"), (&*users, "users:read"), (&*admin, "signet:users")];
        let known: Vec<&str> =
            known.iter().filter(|(uri, _)| resources.contains(uri)).map(|(_, token)| *token).collect();
        let (id, secret) = client_of(&app, &known.join(" "), &resources).await;
        let body = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}{parameters}");
        let token = app.send(form("/auth/token", &body)).await.access_token();
        let claims = part(&token, 1);
        assert_eq!((&claims["aud"], &claims["scope"]), (&aud, &json!(granted)), "{resources:?} {parameters}");
        // The standard way has one audience unless several are named.
        let token = app.send(form("/oauth2/token", &body)).await.access_token();
        assert!(part(&token, 1)["aud"].is_string());
    }
    let (id, secret) = client_of(&app, "read users:read signet:users", &[RESOURCE, &users, &admin]).await;
    let body = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    for (path, refused) in [("/auth/token", "scope=signet:users"), ("/auth/token", "scope=orders")] {
        app.send(form(path, &format!("{body}&{refused}"))).await.refused(400, "invalid_scope");
    }
    let both = format!("{body}&resource={users}&resource={admin}");
    app.send(form("/auth/token", &both)).await.refused(400, "invalid_target");
}

struct Directory {
    app: TestApp,
    keeper: (String, String),
}

impl Directory {
    async fn open() -> Self {
        let app = TestApp::start().await;
        let keeper = keeper(&app, "users:read users:write").await;
        Self { app, keeper }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let token = token(&self.app, &self.keeper).await;
        let mut request = TestRequest::with_uri(path).method(method).insert_header(bearer(&token));
        if let Some(body) = body {
            request = request.set_json(body);
        }
        self.app.send(request).await
    }

    async fn add(&self, name: &str, email: &str) -> String {
        let body = json!({ "name": name, "email": email, "password": "securepassword123" });
        let answer = self.call(Method::POST, "/users", Some(body)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.json()["id"].as_str().expect("an id").to_owned()
    }
}

#[actix_web::test]
async fn a_user_is_created_shown_changed_and_deleted_as_documented() {
    for path in PATHS {
        let directory = Directory::open().await;
        // The clock stands at 2027-01-15T08:00:00Z.
        let body = json!({ "name": "Charlie Chaplin", "email": "charlie@example.com", "password": "securepassword123" });
        let created = directory.call(Method::POST, path, Some(body)).await;
        assert_eq!(created.status, 201);
        let id = created.json()["id"].as_str().unwrap().to_owned();
        assert!(id.starts_with("user_") && id.len() == 31, "{id}");
        let charlie = json!({
            "id": id,
            "name": "Charlie Chaplin",
            "email": "charlie@example.com",
            "created_at": "2027-01-15T08:00:00Z",
        });
        assert_eq!(created.json(), charlie);
        assert_eq!(created.header("location"), Some(format!("{path}/{id}").as_str()));

        let shown = directory.call(Method::GET, &format!("{path}/{id}"), None).await;
        assert_eq!((shown.status, shown.json()), (200, charlie));

        directory.app.pass(Duration::from_mins(90)).await;
        let body = json!({ "name": "Alice W.", "email": "alice.w@example.com" });
        let changed = directory.call(Method::PUT, &format!("{path}/{id}"), Some(body)).await;
        let alice = json!({
            "id": id,
            "name": "Alice W.",
            "email": "alice.w@example.com",
            "created_at": "2027-01-15T08:00:00Z",
            "updated_at": "2027-01-15T09:30:00Z",
        });
        assert_eq!((changed.status, changed.json()), (200, alice));

        let deleted = directory.call(Method::DELETE, &format!("{path}/{id}"), None).await;
        assert_eq!((deleted.status, deleted.body.len()), (204, 0));
        let not_found =
            json!({ "error": "User not found", "message": "The specified user ID does not exist." });
        for (method, body) in
            [(Method::GET, None), (Method::PUT, Some(json!({ "name": "Nobody" }))), (Method::DELETE, None)]
        {
            let answer = directory.call(method, &format!("{path}/{id}"), body).await;
            assert_eq!((answer.status, answer.json()), (404, not_found.clone()));
        }
        // What can't be an identifier is not there either.
        let answer = directory.call(Method::GET, &format!("{path}/1"), None).await;
        assert_eq!((answer.status, answer.json()), (404, not_found));
    }
}

#[actix_web::test]
async fn users_are_listed_in_the_order_in_which_they_were_made() {
    let directory = Directory::open().await;
    for number in 0..25 {
        directory.app.clock.advance(Duration::from_secs(1));
        directory.add(&format!("Person {number}"), &format!("p{number}@example.com")).await;
    }
    let numbers = |answer: &Answer| -> Vec<usize> {
        let json = answer.json();
        let users = json.as_array().expect("an array");
        users.iter().map(|user| user["name"].as_str().unwrap()[7..].parse().unwrap()).collect()
    };
    for (query, expected) in [
        ("", (0..20).collect::<Vec<_>>()),
        ("?limit=2", vec![0, 1]),
        // "Maximum number of users to return" is all that the document says: none is a number too.
        ("?limit=0", vec![]),
        ("?limit=200", (0..25).collect()),
        ("?limit=3&offset=4", vec![4, 5, 6]),
        ("?offset=20", (20..25).collect()),
        ("?offset=24&limit=100", vec![24]),
        ("?offset=25", vec![]),
        ("?offset=18446744073709551615", vec![]),
        ("?unheard_of=1&limit=1", vec![0]),
    ] {
        for path in PATHS {
            let answer = directory.call(Method::GET, &format!("{path}{query}"), None).await;
            assert_eq!(answer.status, 200, "{query}");
            assert_eq!(numbers(&answer), expected, "{query}");
        }
    }
    for query in
        ["limit=%2B1", "limit=1.0", "limit=-1", "limit=x", "offset=-1", "offset=x", "limit=1&limit=2"]
    {
        let answer = directory.call(Method::GET, &format!("/users?{query}"), None).await;
        answer.refused(400, "invalid_request");
        assert!(answer.json()["message"].is_string(), "{query}");
    }
}

#[actix_web::test]
async fn a_page_has_what_was_asked_for_or_is_refused() {
    let directory = Directory::open().await;
    for number in 0..102 {
        directory.add(&format!("Person {number}"), &format!("p{number}@example.com")).await;
    }
    for (limit, count) in [("99", 99), ("101", 101), ("1000", 102)] {
        let answer = directory.call(Method::GET, &format!("/users?limit={limit}"), None).await;
        assert_eq!(answer.json().as_array().unwrap().len(), count, "{limit}");
    }
    // Whoever got fewer, and went on behind as many as they asked for, would miss people.
    for limit in ["1001", "99999999999999999999999"] {
        for path in PATHS {
            let answer = directory.call(Method::GET, &format!("{path}?limit={limit}"), None).await;
            answer.refused(400, "invalid_request");
            assert_eq!(answer.json()["message"], "limit must be at most 1000");
        }
    }
}

#[actix_web::test]
async fn what_was_shown_may_come_back_with_a_change_in_it() {
    let directory = Directory::open().await;
    let id = directory.add("Alice", "alice@example.com").await;
    let path = format!("/users/{id}");
    let mut shown = directory.call(Method::GET, &path, None).await.json();
    shown["name"] = json!("Alice Wonderland");
    let changed = directory.call(Method::PUT, &path, Some(shown.clone())).await;
    assert_eq!((changed.status, &changed.json()["name"]), (200, &json!("Alice Wonderland")));
    // The answer to a change has one member more.
    let mut shown = changed.json();
    assert!(shown["updated_at"].is_string());
    shown["email"] = json!("wonderland@example.com");
    // What nobody can change is not changed.
    (shown["id"], shown["created_at"]) = (json!("user_abc123"), json!(7));
    let changed = directory.call(Method::PUT, &path, Some(shown)).await.json();
    assert_eq!((&changed["id"], &changed["email"]), (&json!(id), &json!("wonderland@example.com")));
    assert_eq!(changed["created_at"], directory.call(Method::GET, &path, None).await.json()["created_at"]);
    let only = directory.call(Method::PUT, &path, Some(json!({ "id": id }))).await;
    only.refused(400, "invalid_request");
    let unknown = directory.call(Method::PUT, &path, Some(json!({ "name": "A", "role": "x" }))).await;
    assert!(unknown.json()["message"].as_str().unwrap().contains("unknown field `role`"));
}

#[actix_web::test]
async fn whether_there_is_such_a_user_is_said_before_what_is_wrong_with_the_change() {
    let directory = Directory::open().await;
    for body in
        [json!({}), json!({ "role": "x" }), json!([]), json!({ "email": "x" }), json!({ "name": "A" })]
    {
        let answer = directory.call(Method::PUT, "/users/user_0000000000000000000000000", Some(body)).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (404, Some("User not found")));
    }
}

#[actix_web::test]
async fn what_a_user_can_not_be_is_refused_with_the_reason() {
    let directory = Directory::open().await;
    let good =
        json!({ "name": "Alice Wonderland", "email": "alice@example.com", "password": "securepassword123" });
    for (member, value, reason) in [
        ("name", json!(""), "name must be 1 to 120 characters"),
        ("name", json!("a\u{0}b"), "name must be 1 to 120 characters"),
        ("email", json!("alice"), "email must be an address"),
        ("email", json!(7), "wrong type"),
        ("password", json!("short12"), "at least 8 characters; 15 or more are advised"),
        ("password", json!("x".repeat(129)), "at most 128 characters"),
        ("password", json!("Password1"), "one of the commonest"),
        ("password", json!("alice@example.com"), "must not be your name"),
        ("password", json!("Wonderland1985!"), "must not be your name"),
        ("password", json!("Signet2027"), "must not be your name"),
        ("administrator", json!(true), "unknown field `administrator`"),
        ("id", json!("user_abc123"), "unknown field `id`"),
    ] {
        let mut body = good.clone();
        body[member] = value;
        let answer = directory.call(Method::POST, "/users", Some(body)).await;
        answer.refused(400, "invalid_request");
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(reason), "{member}: {message}");
    }
    let token = token(&directory.app, &directory.keeper).await;
    for body in ["", "{", "[]", "null", r#"{"name":"A"}"#] {
        let request = TestRequest::post().uri("/users").insert_header(bearer(&token));
        directory.app.send(request.set_payload(body)).await.refused(400, "invalid_request");
    }
    let id = directory.add("Alice Wonderland", "alice@example.com").await;
    for body in [json!({}), json!({ "disabled": true }), json!({ "email": "x" }), json!({ "password": "1" })]
    {
        let answer = directory.call(Method::PUT, &format!("/users/{id}"), Some(body)).await;
        answer.refused(400, "invalid_request");
    }
    // Eight characters of several bytes are enough; composition does not matter.
    let body = json!({ "name": "李", "email": "li@example.com", "password": "山川異域風月同天" });
    assert_eq!(directory.call(Method::POST, "/users", Some(body)).await.status, 201);
}

#[actix_web::test]
async fn an_email_is_one_users_in_any_letter_case_until_it_is_free() {
    let directory = Directory::open().await;
    let alice = directory.add("Alice", "alice@example.com").await;
    let bob = directory.add("Bob", "bob@example.com").await;
    let taken = |email: &str| json!({ "name": "Eve", "email": email, "password": "securepassword123" });
    let answer = directory.call(Method::POST, "/users", Some(taken("ALICE@Example.com"))).await;
    assert_eq!(answer.json(), json!({ "error": "conflict", "message": "the email is taken" }));
    assert_eq!(answer.status, 409);
    let change = |email: &str| Some(json!({ "email": email }));
    let path = format!("/users/{bob}");
    assert_eq!(directory.call(Method::PUT, &path, change("Alice@example.com")).await.status, 409);
    // One's own address in other letters is no conflict.
    assert_eq!(directory.call(Method::PUT, &path, change("BOB@example.com")).await.status, 200);
    assert_eq!(directory.call(Method::PUT, &path, change("robert@example.com")).await.status, 200);
    assert_eq!(directory.call(Method::POST, "/users", Some(taken("bob@example.com"))).await.status, 201);
    assert_eq!(directory.call(Method::DELETE, &format!("/users/{alice}"), None).await.status, 204);
    assert_eq!(directory.call(Method::POST, "/users", Some(taken("alice@example.com"))).await.status, 201);
}

#[actix_web::test]
async fn nobody_gets_at_users_without_exactly_the_scope() {
    let directory = Directory::open().await;
    let id = directory.add("Alice", "alice@example.com").await;
    let app = &directory.app;
    let (reader, writer) = (keeper(app, "users:read").await, keeper(app, "users:write").await);
    let (reads, writes) = (token(app, &reader).await, token(app, &writer).await);
    let (demo, admin) = (app.demo_token().await, app.admin_token().await);
    let table = signet::http::served();
    let routes: Vec<_> =
        table.iter().filter(|each| PATHS.iter().any(|path| each.path.starts_with(path))).collect();
    assert_eq!(routes.len(), 10);
    for route in routes {
        let path = route.path.replace("{id}", &id);
        let request = || TestRequest::with_uri(&path).method(route.method.clone());
        let anonymous = app.send(request()).await;
        anonymous.refused(401, "invalid_token");
        assert_eq!(anonymous.header("www-authenticate"), Some("Bearer realm=\"signet\""));
        for token in ["nonsense", &demo, &admin] {
            let answer = app.send(request().insert_header(bearer(token))).await;
            answer.refused(401, "invalid_token");
            assert!(answer.header("www-authenticate").unwrap().contains("error=\"invalid_token\""));
        }
        let (wrong, needed) =
            if route.method == Method::GET { (&writes, "users:read") } else { (&reads, "users:write") };
        let answer = app.send(request().insert_header(bearer(wrong))).await;
        answer.refused(403, "insufficient_scope");
        assert_eq!(answer.json()["message"], format!("this needs the scope {needed}"));
    }
    assert!(app.audit_log().contains("\"users.refused\""));
    // A client that is no longer allowed does not go on with the token it holds.
    let change = json!({ "scope": "users:write", "default_scope": "users:write" });
    let path = format!("/admin/clients/{}", reader.0);
    assert_eq!(app.administer(Method::PATCH, &path, Some(change)).await.status, 200);
    let request = TestRequest::get().uri("/users").insert_header(bearer(&reads));
    app.send(request).await.refused(403, "insufficient_scope");
    // And a revoked token opens nothing.
    let revocation = json!({ "client_id": writer.0 });
    assert_eq!(app.administer(Method::POST, "/admin/revocations", Some(revocation)).await.status, 200);
    let request = TestRequest::delete().uri(&format!("/users/{id}")).insert_header(bearer(&writes));
    app.send(request).await.refused(401, "invalid_token");
}

/// A token that a person let `client_id` have.
fn token_of_a_person(app: &TestApp, client_id: &str, user: &str) -> String {
    let services = &app.app.state.services;
    let users = services.resources.users();
    let authorized = Authorized {
        subject: &Subject::parse(user).unwrap(),
        client_id: &ClientId::parse(client_id).unwrap(),
        audience: &[&users.uri],
        scope: &users.scope,
        lifetime: 60,
        algorithms: [users.algorithm, None],
        grant: None,
    };
    services.access_tokens.issue(&authorized).unwrap().access_token.expose().to_owned()
}

#[actix_web::test]
async fn a_token_that_speaks_for_a_person_counts_only_while_they_are_an_administrator() {
    let directory = Directory::open().await;
    let app = &directory.app;
    let id = directory.add("Alice", "alice@example.com").await;
    let path = format!("/admin/users/{id}");
    let list = || async {
        let token = token_of_a_person(app, &directory.keeper.0, &id);
        app.send(TestRequest::get().uri("/users").insert_header(bearer(&token))).await
    };
    list().await.refused(403, "insufficient_scope");
    let another = json!({ "name": "Root", "email": "root@example.com", "administrator": true });
    assert_eq!(app.administer(Method::POST, "/admin/users", Some(another)).await.status, 201, "one stays");
    for (change, status) in [
        (json!({ "administrator": true }), 200),
        (json!({ "disabled": true }), 403),
        (json!({ "disabled": false }), 200),
        (json!({ "administrator": false }), 403),
    ] {
        assert_eq!(app.administer(Method::PATCH, &path, Some(change)).await.status, 200);
        assert_eq!(list().await.status, status);
    }
    // Nor do they count for somebody who was deleted, or never was.
    assert_eq!(app.administer(Method::DELETE, &path, None).await.status, 204);
    list().await.refused(403, "insufficient_scope");
}

#[actix_web::test]
async fn administrators_accounts_are_out_of_reach_of_the_users_api() {
    let directory = Directory::open().await;
    let body = json!({ "name": "Root", "email": "root@example.com", "administrator": true });
    let made = directory.app.administer(Method::POST, "/admin/users", Some(body)).await;
    let path = format!("/users/{}", made.json()["id"].as_str().unwrap());
    assert_eq!(directory.call(Method::GET, &path, None).await.status, 200);
    let body = json!({ "password": "a password of the attacker" });
    directory.call(Method::PUT, &path, Some(body)).await.refused(403, "insufficient_scope");
    directory.call(Method::DELETE, &path, None).await.refused(403, "insufficient_scope");
}

#[actix_web::test]
async fn what_was_acknowledged_is_there_after_a_restart_and_every_change_is_audited() {
    let directory = Directory::open().await;
    let id = directory.add("Alice", "alice@example.com").await;
    let body = json!({ "name": "Alice W.", "password": "another password" });
    assert_eq!(directory.call(Method::PUT, &format!("/users/{id}"), Some(body)).await.status, 200);
    let Directory { app, keeper } = directory;
    let directory = Directory { app: app.restart(|_| {}).await, keeper };
    let shown = directory.call(Method::GET, &format!("/users/{id}"), None).await;
    assert_eq!(shown.json()["name"], "Alice W.");
    let taken = json!({ "name": "Eve", "email": "ALICE@example.com", "password": "securepassword123" });
    assert_eq!(directory.call(Method::POST, "/users", Some(taken)).await.status, 409);
    assert_eq!(directory.call(Method::DELETE, &format!("/users/{id}"), None).await.status, 204);
    let log = directory.app.audit_log();
    for entry in ["\"user.registered\"", "\"user.changed\"", "[\"name\",\"password\"]", "\"user.deleted\""] {
        assert!(log.contains(entry), "{entry}");
    }
    assert!(!log.contains("securepassword123") && !log.contains("another password"));
}

/// "with an error and message field", also where there is no such path or no such method.
#[actix_web::test]
async fn what_is_not_served_is_refused_in_the_documents_shape_too() {
    let directory = Directory::open().await;
    let has_shape = |answer: &Answer, status: u16, error: &str| {
        answer.refused(status, error);
        let Value::Object(members) = answer.json() else { panic!("{answer:?}") };
        assert_eq!(members.keys().collect::<Vec<_>>(), ["error", "message"], "{answer:?}");
    };
    for path in PATHS {
        for (method, path, status, error) in [
            (Method::DELETE, path.to_owned(), 405, "invalid_request"),
            (Method::PATCH, format!("{path}/user_abc123"), 405, "invalid_request"),
            (Method::GET, format!("{path}/user_abc123/keys"), 404, "not_found"),
            (Method::POST, format!("{path}/"), 404, "not_found"),
        ] {
            let anonymous = TestRequest::with_uri(&path).method(method.clone());
            has_shape(&directory.app.send(anonymous).await, 401, "invalid_token");
            has_shape(&directory.call(method, &path, None).await, status, error);
        }
    }
    let app = &directory.app;
    has_shape(&app.send(TestRequest::get().uri("/auth/token")).await, 405, "invalid_request");
    has_shape(&app.send(form("/auth/token/", "")).await, 404, "not_found");
    // Elsewhere refusals are as the RFC has them.
    let elsewhere = app.send(TestRequest::get().uri("/usersandmore")).await;
    assert!(elsewhere.json()["error_description"].is_string(), "{elsewhere:?}");
}
