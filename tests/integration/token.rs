//! The token endpoint: client authentication, scope, resource, and every way to get them wrong.

use actix_web::test::TestRequest;
use serde_json::json;

use crate::grants_fixture::World;
use crate::test_app::{ISSUER, RESOURCE, TestApp, basic, claims, form, part};

#[actix_web::test]
async fn an_access_token_says_what_rfc_9068_asks_for() {
    let app = TestApp::start().await;
    let answer = app.token(app.demo(), "scope=read").await;
    let token = answer.access_token();
    let answer = answer.json();
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["expires_in"], 3600);
    assert_eq!(answer["scope"], "read");
    let header = part(&token, 0);
    assert_eq!((header["typ"].as_str(), header["alg"].as_str()), (Some("at+jwt"), Some("ES256")));
    assert!(header["kid"].is_string());
    let claims = part(&token, 1);
    let client_id = app.demo().0;
    assert_eq!(claims["iss"], ISSUER);
    assert_eq!(claims["sub"], client_id);
    assert_eq!(claims["client_id"], client_id);
    assert_eq!(claims["aud"], RESOURCE);
    assert_eq!(claims["scope"], "read");
    assert_eq!(claims["iat"], app.now());
    assert_eq!(claims["exp"], app.now() + 3600);
    assert_eq!(claims["jti"].as_str().map(str::len), Some(32));
    let uri = claims["status"]["status_list"]["uri"].as_str().expect("a status list");
    assert!(uri.starts_with(&format!("{ISSUER}/status/")), "{uri}");
}

#[actix_web::test]
async fn claims_are_written_as_the_type_that_reads_them_writes_them() {
    let app = TestApp::start().await;
    assert_eq!(claims(&app.demo_token().await).sub.as_str(), app.demo().0);
    let world = World::start().await;
    let (grant, user, sid) = world.session_grant().await;
    let person = claims(&world.redeem(&world.code_for(grant).await).await.access_token());
    assert_eq!((person.sub.as_str(), person.sid), (user.as_str(), Some(sid)));
    assert!(person.auth_time.is_some() && person.acr.is_some() && !person.amr.is_empty());
}

#[actix_web::test]
async fn no_two_tokens_share_an_identifier_or_a_place_in_a_status_list() {
    let app = TestApp::start().await;
    let (first, second) = (part(&app.demo_token().await, 1), part(&app.demo_token().await, 1));
    assert_ne!(first["jti"], second["jti"]);
    assert_ne!(first["status"]["status_list"]["idx"], second["status"]["status_list"]["idx"]);
}

#[actix_web::test]
async fn a_client_authenticates_by_header_or_by_body() {
    let app = TestApp::start().await;
    let (id, secret) = app.demo();
    let body = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    app.send(form("/oauth2/token", &body)).await.access_token();
    let same_id = format!("grant_type=client_credentials&client_id={id}");
    app.send(form("/oauth2/token", &same_id).insert_header(basic((id, secret)))).await.access_token();
}

#[actix_web::test]
async fn a_client_does_not_authenticate_in_two_ways() {
    let app = TestApp::start().await;
    let (id, secret) = app.demo();
    let both = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    let answer = app.send(form("/oauth2/token", &both).insert_header(basic((id, secret)))).await;
    answer.refused(400, "invalid_request");
    let other = "grant_type=client_credentials&client_id=other";
    app.send(form("/oauth2/token", other).insert_header(basic((id, secret))))
        .await
        .refused(400, "invalid_request");
}

#[actix_web::test]
async fn a_client_that_is_not_who_it_says_learns_nothing() {
    let app = TestApp::start().await;
    let (id, secret) = app.demo();
    let grant = "grant_type=client_credentials";
    let wrong = app.token((id, "wrong"), "").await;
    wrong.refused(401, "invalid_client");
    assert!(wrong.header("www-authenticate").is_some_and(|value| value.starts_with("Basic ")));
    let unknown = app.token(("nobody", secret), "").await;
    assert_eq!((unknown.status, &unknown.body), (wrong.status, &wrong.body));
    let none = app.send(form("/oauth2/token", grant)).await;
    none.refused(401, "invalid_client");
    assert!(none.header("www-authenticate").is_some(), "RFC 9110, section 15.5.2");
    for body in [format!("{grant}&client_id={id}"), format!("{grant}&client_secret={secret}")] {
        app.send(form("/oauth2/token", &body)).await.refused(401, "invalid_client");
    }
    for header in ["Basic", "Basic %%%", "Bearer abc", "Digest x=y"] {
        let request = form("/oauth2/token", grant).insert_header(("Authorization", header));
        app.send(request).await.refused(401, "invalid_client");
    }
    // A wrong secret is refused before anything else of the request is looked at.
    let body = "grant_type=password";
    app.send(form("/oauth2/token", body).insert_header(basic((id, "wrong"))))
        .await
        .refused(401, "invalid_client");
}

#[actix_web::test]
async fn scope_is_granted_whole_or_refused() {
    let app = TestApp::start().await;
    assert_eq!(app.token(app.demo(), "").await.json()["scope"], "read write");
    assert_eq!(app.token(app.demo(), "scope=write+read").await.json()["scope"], "write read");
    for scope in ["admin", "read+admin", "read++write", "+read", "re%22ad", "signet%3Akeys", "re%C3%A9"] {
        app.token(app.demo(), &format!("scope={scope}")).await.refused(400, "invalid_scope");
    }
}

#[actix_web::test]
async fn a_resource_must_be_one_of_the_clients_own() {
    let app = TestApp::start().await;
    let token = app.token(app.demo(), "resource=http%3A%2F%2F127.0.0.1%3A9000").await.access_token();
    assert_eq!(part(&token, 1)["aud"], RESOURCE);
    let admin = format!("resource={ISSUER}/admin");
    for resource in
        ["resource=https://unknown.example", "resource=nonsense", &admin, "resource=http://127.0.0.1:9000/"]
    {
        app.token(app.demo(), resource).await.refused(400, "invalid_target");
    }
    let twice = "resource=http://127.0.0.1:9000&resource=http://127.0.0.1:9000";
    assert_eq!(part(&app.token(app.demo(), twice).await.access_token(), 1)["aud"], RESOURCE);
}

#[actix_web::test]
async fn what_is_malformed_is_refused_in_the_rfcs_words() {
    let app = TestApp::start().await;
    let client = basic(app.demo());
    let post = |body: &str| form("/oauth2/token", body).insert_header(client.clone());
    app.send(post("")).await.refused(400, "invalid_request");
    app.send(post("grant_type=")).await.refused(400, "invalid_request");
    app.send(post("grant_type=password")).await.refused(400, "unsupported_grant_type");
    app.send(post("grant_type=authorization_code&code=x")).await.refused(400, "unauthorized_client");
    app.send(post("grant_type=refresh_token&refresh_token=x")).await.refused(400, "unauthorized_client");
    let twice = "grant_type=client_credentials&grant_type=client_credentials";
    app.send(post(twice)).await.refused(400, "invalid_request");
    app.send(post("grant_type=client_credentials&x=1&x=1")).await.refused(400, "invalid_request");
    let many = (0..100).map(|n| format!("p{n}=x")).collect::<Vec<_>>().join("&");
    app.send(post(&many)).await.refused(400, "invalid_request");
    let long = format!("grant_type=client_credentials&x={}", "x".repeat(17 * 1024));
    app.send(post(&long)).await.refused(413, "invalid_request");
    app.send(post("%ff%fe=%00&grant_type=client_credentials")).await.access_token();

    let grant = "grant_type=client_credentials";
    for content_type in
        ["application/json", "text/plain", "multipart/form-data; boundary=x", "nonsense", "\u{1F600}"]
    {
        let request =
            TestRequest::post().uri("/oauth2/token").insert_header(client.clone()).set_payload(grant);
        let request = request.append_header(("Content-Type", content_type));
        app.send(request).await.refused(400, "invalid_request");
    }
    let request = TestRequest::post().uri("/oauth2/token").insert_header(client.clone()).set_payload(grant);
    app.send(request).await.refused(400, "invalid_request");
    let request = form("/oauth2/token", grant).insert_header(client.clone());
    app.send(request.insert_header(("Content-Type", "Application/X-WWW-Form-Urlencoded; charset=utf-8")))
        .await
        .access_token();
}

#[actix_web::test]
async fn other_methods_are_told_which_one_is_right() {
    let app = TestApp::start().await;
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        let method = actix_web::http::Method::from_bytes(method.as_bytes()).expect("a method");
        let answer = app.send(TestRequest::with_uri("/oauth2/token").method(method)).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{answer:?}");
    }
    assert_eq!(app.send(TestRequest::get().uri("/nowhere")).await.status, 404);
}

#[actix_web::test]
async fn lifetimes_and_algorithms_follow_client_and_resource() {
    use signet::oauth::Algorithm;
    let app = TestApp::start_with(|config| {
        config.keys.algorithms = vec![Algorithm::ES256, Algorithm::EdDSA, Algorithm::ES384];
        let resource = config.resources.first_mut().expect("a resource");
        resource.lifetime = Some(std::time::Duration::from_mins(10));
        resource.algorithm = Some(Algorithm::EdDSA);
    })
    .await;
    let token = app.demo_token().await;
    assert_eq!(part(&token, 0)["alg"], "EdDSA");
    assert_eq!(part(&token, 1)["exp"], app.now() + 600);
    let path = format!("/admin/clients/{}", app.demo().0);
    let change = json!({ "access_token_lifetime": 60, "access_token_signing_alg": "ES384" });
    assert_eq!(app.administer(actix_web::http::Method::PATCH, &path, Some(change)).await.status, 200);
    let token = app.demo_token().await;
    assert_eq!(part(&token, 0)["alg"], "ES384");
    assert_eq!(part(&token, 1)["exp"], app.now() + 60);
    // A client can shorten a resource's lifetime, never lengthen it.
    let change = json!({ "access_token_lifetime": 3000, "access_token_signing_alg": null });
    assert_eq!(app.administer(actix_web::http::Method::PATCH, &path, Some(change)).await.status, 200);
    let token = app.demo_token().await;
    assert_eq!(part(&token, 0)["alg"], "EdDSA");
    assert_eq!(part(&token, 1)["exp"], app.now() + 600);
}

/// RFC 6749, section 2.3: at most one. What would be the other one, where it is not understood, is still one too many.
#[actix_web::test]
async fn a_client_assertion_is_refused_alone_and_beside_a_secret() {
    let app = TestApp::start().await;
    let (id, secret) = app.demo();
    let assertion = "client_assertion=a.b.c&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    let grant = "grant_type=client_credentials";
    for part in [assertion, "client_assertion=a.b.c", "client_assertion_type=x"] {
        for path in ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"] {
            let ask = |more: &str| form(path, &format!("{grant}&token=x&{part}{more}"));
            let header = app.send(ask("").insert_header(basic((id, secret)))).await;
            header.refused(400, "invalid_request");
            let body = app.send(ask(&format!("&client_id={id}&client_secret={secret}"))).await;
            body.refused(400, "invalid_request");
            for alone in ["", &format!("&client_id={id}")] {
                let alone = app.send(ask(alone)).await;
                alone.refused(401, "invalid_client");
                let said = alone.json()["error_description"].as_str().unwrap_or_default().to_owned();
                assert!(said.contains("assertions are not supported"), "{said}");
            }
        }
    }
    // Nor where no client need authenticate.
    let exchange =
        format!("grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=x&{assertion}");
    app.send(form("/oauth2/token", &exchange)).await.refused(401, "invalid_client");
}

/// A scope is at least one token (RFC 6749, appendix A.4): the member is left out where nothing is granted.
#[actix_web::test]
async fn a_client_that_may_do_nothing_is_told_no_scope() {
    let app = TestApp::start().await;
    let body = json!({ "client_name": "Nothing", "scope": "", "resources": [RESOURCE] });
    let client = app.administer(actix_web::http::Method::POST, "/admin/clients", Some(body)).await.json();
    let [id, secret] = ["client_id", "client_secret"].map(|name| client[name].as_str().expect(name));
    let members = json!({ "grant_type": "client_credentials", "client_id": id, "client_secret": secret });
    let body = format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
    let mut answers = vec![app.send(TestRequest::post().uri("/oauth/token").set_json(&members)).await];
    for path in ["/oauth2/token", "/auth/token", "/api/token.php"] {
        answers.push(app.send(form(path, &body)).await);
    }
    for answer in answers {
        let token = answer.access_token();
        assert_eq!(answer.json().get("scope"), None, "{answer:?}");
        assert_eq!(part(&token, 1).get("scope"), None);
        let shown = app
            .send(form("/oauth2/introspect", &format!("token={token}")).insert_header(basic((id, secret))))
            .await;
        assert_eq!((&shown.json()["active"], shown.json().get("scope")), (&json!(true), None));
    }
}

/// RFC 6749, section 3.2; also where one of the two says nothing, for who reads the other sees another request.
#[actix_web::test]
async fn a_member_of_json_stands_once() {
    let app = TestApp::start().await;
    let (id, secret) = app.demo();
    let usual = format!(r#""grant_type":"client_credentials","client_id":"{id}","client_secret":"{secret}""#);
    let asked = |more: &str| {
        let request =
            TestRequest::post().uri("/oauth/token").insert_header(("content-type", "application/json"));
        app.send(request.set_payload(format!("{{{usual}{more}}}")))
    };
    for once in ["", r#","scope":null"#, r#","resource":[]"#, r#","scope":"read""#] {
        assert_eq!(asked(once).await.status, 200, "{once}");
    }
    for twice in [
        r#","scope":null,"scope":"read""#,
        r#","scope":"read","scope":null"#,
        r#","scope":null,"scope":null"#,
        r#","client_secret":null"#,
        r#","resource":[],"resource":[]"#,
        r#","unknown":null,"unknown":"x""#,
    ] {
        asked(twice).await.refused(400, "invalid_request");
    }
}
