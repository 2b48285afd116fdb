//! Keys and metadata as the world reads them.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use actix_web::http::Method;
use actix_web::test::TestRequest;
use actix_web::{App, HttpServer, web};
use serde_json::{Value, json};

use crate::test_app::{Answer, ISSUER, TestApp, bearer, part};

async fn jwks(app: &TestApp) -> Answer {
    app.send(TestRequest::get().uri("/.well-known/jwks.json")).await
}

fn kids(answer: &Answer) -> Vec<String> {
    let keys = answer.json()["keys"].as_array().expect("keys").clone();
    keys.iter().map(|key| key["kid"].as_str().expect("a kid").to_owned()).collect()
}

#[actix_web::test]
async fn the_signing_and_the_next_key_are_published_without_their_private_halves() {
    let app = TestApp::start().await;
    let answer = jwks(&app).await;
    assert_eq!(kids(&answer).len(), 2);
    assert!(
        kids(&answer).contains(&part(&app.demo_token().await, 0)["kid"].as_str().expect("a kid").to_owned())
    );
    for key in answer.json()["keys"].as_array().expect("keys") {
        let Value::Object(members) = key else { panic!("not an object") };
        assert_eq!(members.keys().collect::<Vec<_>>(), ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    }
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    let etag = answer.header("etag").expect("an etag").to_owned();
    let request = TestRequest::get().uri("/.well-known/jwks.json");
    for known in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
        let request =
            TestRequest::get().uri("/.well-known/jwks.json").insert_header(("If-None-Match", known));
        let again = app.send(request).await;
        assert_eq!((again.status, again.body.len()), (304, 0));
        assert_eq!(again.header("etag"), Some(etag.as_str()));
    }
    assert_eq!(app.send(request.insert_header(("If-None-Match", "\"other\""))).await.status, 200);
}

#[actix_web::test]
async fn discovery_says_what_works_and_both_documents_are_the_same() {
    let app = TestApp::start().await;
    let document = app.send(TestRequest::get().uri("/.well-known/oauth-authorization-server")).await;
    let other = app.send(TestRequest::get().uri("/.well-known/openid-configuration")).await;
    assert_eq!(document.body, other.body);
    let document = document.json();
    assert_eq!(document["issuer"], ISSUER);
    let exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
    let grants = json!(["client_credentials", "authorization_code", "refresh_token", exchange]);
    assert_eq!(document["grant_types_supported"], grants);
    for (member, value) in [
        ("response_types_supported", json!(["code"])),
        ("response_modes_supported", json!(["query", "form_post"])),
        ("code_challenge_methods_supported", json!(["S256"])),
        ("prompt_values_supported", json!(["none", "login", "consent", "select_account"])),
        ("subject_types_supported", json!(["public"])),
        ("authorization_response_iss_parameter_supported", json!(true)),
        ("claims_parameter_supported", json!(true)),
        ("request_parameter_supported", json!(false)),
        ("request_uri_parameter_supported", json!(false)),
        ("authorization_endpoint", json!(format!("{ISSUER}/oauth2/authorize"))),
        ("userinfo_endpoint", json!(format!("{ISSUER}/oauth2/userinfo"))),
        ("end_session_endpoint", json!(format!("{ISSUER}/oauth2/logout"))),
        ("backchannel_logout_supported", json!(true)),
        ("backchannel_logout_session_supported", json!(true)),
        (
            "token_endpoint_auth_methods_supported",
            json!(["client_secret_basic", "client_secret_post", "none"]),
        ),
    ] {
        assert_eq!(document[member], value, "{member}");
    }
    assert!(document["scopes_supported"].as_array().unwrap().contains(&json!("openid")));
    // What is not built is not promised.
    assert!(document.get("frontchannel_logout_supported").is_none());
    // Whatever it names is served.
    let table = signet::http::served();
    for (name, value) in document.as_object().expect("an object") {
        if name.ends_with("_endpoint") || name.ends_with("_uri") {
            let path = value.as_str().and_then(|url| url.strip_prefix(ISSUER)).expect("our own URL");
            assert!(table.iter().any(|route| route.path == path), "{name}: {path}");
        }
    }
}

#[actix_web::test]
async fn the_metadata_of_an_issuer_with_a_path_are_behind_the_well_known_part() {
    let start = "/.well-known/oauth-authorization-server";
    for (issuer, path) in [("https://id.example/t", "/t"), ("https://id.example/a/b", "/a/b"), (ISSUER, "")] {
        let app = TestApp::start_with(|config| issuer.clone_into(&mut config.issuer)).await;
        for suffix in ["", "/t", "/a/b", "/a", "/a/b/c", "/t/", "/"] {
            let answer = app.send(TestRequest::get().uri(&format!("{start}{suffix}"))).await;
            if suffix == path || suffix.is_empty() {
                assert_eq!(answer.json()["issuer"], issuer, "{suffix}");
            } else {
                answer.refused(404, "not_found");
            }
        }
    }
}

#[actix_web::test]
async fn head_is_answered_as_get_is_wherever_that_is_public() {
    let app = TestApp::start().await;
    let list = part(&app.demo_token().await, 1)["status"]["status_list"]["uri"].clone();
    let list = list.as_str().and_then(|uri| uri.strip_prefix(ISSUER)).expect("ours").to_owned();
    for route in signet::http::served().iter().filter(|route| route.method == Method::GET) {
        if route.scope.is_some() {
            continue;
        }
        let path = if route.path == "/status/{id}" { &list } else { route.path };
        let answer = app.send(TestRequest::with_uri(path).method(Method::HEAD)).await;
        let get = app.send(TestRequest::get().uri(path)).await;
        assert_eq!(answer.status, get.status, "{path}");
        for name in ["cache-control", "etag", "vary", "content-type", "allow"] {
            assert_eq!(answer.header(name), get.header(name), "{path}: {name}");
        }
    }
    let refused = app.send(TestRequest::put().uri("/status")).await;
    assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD")));
    let token = app.admin_token().await;
    let administered =
        TestRequest::with_uri("/admin/keys").method(Method::HEAD).insert_header(bearer(&token));
    let administered = app.send(administered).await;
    assert_eq!((administered.status, administered.header("allow")), (405, Some("GET")));
}

#[actix_web::test]
async fn an_answer_to_head_has_no_body() {
    let app = TestApp::start().await;
    let state = web::Data::from(app.app.state.clone());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let service = move || App::new().configure(signet::http::configure(state.clone()));
    let server =
        HttpServer::new(service).workers(1).disable_signals().listen(listener).expect("a socket").run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    let answer = web::block(move || {
        let mut stream = TcpStream::connect(address).expect("connected");
        let request = "HEAD /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    });
    let answer = answer.await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(answer.contains("content-length: "), "{answer}");
    handle.stop(false).await;
}

#[actix_web::test]
async fn the_first_rotation_is_safe_at_once_and_the_next_one_waits_for_its_lead() {
    let app = TestApp::start().await;
    let old = part(&app.demo_token().await, 0)["kid"].clone();
    let token = app.demo_token().await;
    let answer = app.administer(Method::POST, "/admin/keys/rotate", None).await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let new = part(&app.demo_token().await, 0)["kid"].clone();
    assert_ne!(old, new);
    assert!(kids(&jwks(&app).await).contains(&old.as_str().expect("a kid").to_owned()));
    assert!(app.is_active(&token).await, "tokens of the old key go on");
    // The key that now waits was published a moment ago: it signs when every verifier has it.
    app.pass(Duration::from_secs(10)).await;
    assert_eq!(app.administer(Method::POST, "/admin/keys/rotate", None).await.status, 200);
    assert_eq!(part(&app.demo_token().await, 0)["kid"], new);
    app.pass(Duration::from_hours(24)).await;
    assert_ne!(part(&app.demo_token().await, 0)["kid"], new);
}

#[actix_web::test]
async fn a_compromised_key_is_gone_at_once() {
    let app = TestApp::start().await;
    let token = app.demo_token().await;
    let kid = part(&token, 0)["kid"].as_str().expect("a kid").to_owned();
    let path = format!("/admin/keys/{kid}/compromise");
    let answer = app.administer(Method::POST, &path, None).await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    assert!(!kids(&jwks(&app).await).contains(&kid));
    assert!(!app.is_active(&token).await);
    for _ in 0..100 {
        assert_ne!(part(&app.demo_token().await, 0)["kid"], kid.as_str());
    }
    let fresh = app.demo_token().await;
    let uri = part(&fresh, 1)["status"]["status_list"]["uri"].as_str().expect("a uri").to_owned();
    let list = app.send(TestRequest::get().uri(uri.strip_prefix(ISSUER).expect("ours"))).await;
    let claims = part(std::str::from_utf8(&list.body).expect("text"), 1);
    assert_eq!(claims["revoked_before"]["keys"], json!([kid]));
    app.administer(Method::POST, "/admin/keys/unknown/compromise", None).await.refused(404, "not_found");
}

#[actix_web::test]
async fn keys_rotate_by_themselves_and_max_age_never_passes_the_next_change() {
    let app = TestApp::start().await;
    let first = part(&app.demo_token().await, 0)["kid"].clone();
    app.pass(Duration::from_secs(30 * 24 * 3600 - 100)).await;
    assert_eq!(part(&app.demo_token().await, 0)["kid"], first);
    assert_eq!(jwks(&app).await.header("cache-control"), Some("public, max-age=100"));
    app.pass(Duration::from_secs(100)).await;
    assert_ne!(part(&app.demo_token().await, 0)["kid"], first);
    assert_eq!(kids(&jwks(&app).await).len(), 3, "the old, the new, and the next");
}

#[actix_web::test]
async fn management_answers_health_and_metrics() {
    let app = TestApp::start().await;
    app.demo_token().await;
    app.token(("nobody", "x"), "").await;
    assert_eq!(app.manage("/health/live").await.status, 200);
    let ready = app.manage("/health/ready").await.json();
    // The machine's own.
    let disk = ready["disk"].as_str().expect("a word");
    assert!(["ok", "low"].contains(&disk), "{disk}");
    assert_eq!(
        ready,
        json!({
            "ready": true, "keys": "ok", "next_key": "ok", "waiting": [],
            "stranded_clients": { "count": 0, "first": [] }, "key_files": "ok", "store": "ok", "disk": disk, "mirror": "ok",
            "clock": "ok", "audit": "ok"
        })
    );
    let metrics = String::from_utf8(app.manage("/metrics").await.body).expect("text");
    for line in [
        "signet_tokens_issued_total{grant=\"client_credentials\",alg=\"ES256\"} 1",
        "signet_token_errors_total{grant=\"client_credentials\",error=\"invalid_client\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    app.app.state.services.stop();
    assert_eq!(app.manage("/health/ready").await.status, 503);
    for path in ["/metrics", "/health/ready", "/health/live"] {
        assert_eq!(app.send(TestRequest::get().uri(path)).await.status, 404, "not on the public listener");
        let head = app.send_to_management(TestRequest::with_uri(path).method(Method::HEAD)).await;
        assert_eq!(head.status, app.manage(path).await.status);
        let post = app.send_to_management(TestRequest::post().uri(path)).await;
        assert_eq!((post.status, post.header("allow")), (405, Some("GET, HEAD")));
    }
    app.manage("/nowhere").await.refused(404, "not_found");
}

#[actix_web::test]
async fn a_key_from_elsewhere_waits_like_any_other_and_never_comes_twice() {
    let app = TestApp::start().await;
    let pem = include_str!("../fixtures/keys/p256.pem");
    let import = |key: &str| {
        let body = json!({ "key": key, "algorithm": "ES256" });
        app.administer(Method::POST, "/admin/keys/import", Some(body))
    };
    let imported = import(pem).await;
    assert_eq!(imported.status, 201, "{}", String::from_utf8_lossy(&imported.body));
    let kid = imported.json()["kid"].as_str().expect("a kid").to_owned();
    assert!(kids(&jwks(&app).await).contains(&kid), "published at once");
    assert_ne!(part(&app.demo_token().await, 0)["kid"], kid.as_str(), "but not signing");
    import(pem).await.refused(409, "conflict");
    for key in ["", "nonsense", include_str!("../fixtures/keys/rsa2048.pem")] {
        let refused = import(key).await;
        refused.refused(400, "invalid_request");
        assert!(!String::from_utf8_lossy(&refused.body).contains("MII"), "the key is not repeated");
    }
    assert!(!app.audit_log().contains("PRIVATE KEY"));
}

/// Caches keep them: a copy that was fetched by a server must serve a script too.
#[actix_web::test]
async fn what_is_published_says_to_everybody_that_scripts_may_read_it() {
    let app = TestApp::start().await;
    let list = part(&app.demo_token().await, 1)["status"]["status_list"]["uri"].clone();
    let list = list.as_str().and_then(|uri| uri.strip_prefix(ISSUER)).expect("ours").to_owned();
    let metadata = "/.well-known/openid-configuration";
    for (path, status) in [
        ("/.well-known/jwks.json", 200),
        (metadata, 200),
        ("/.well-known/oauth-authorization-server", 200),
        ("/.well-known/oauth-authorization-server/nobody", 404),
        ("/status", 200),
        (&list, 200),
        ("/status/unknown", 404),
    ] {
        let get = || TestRequest::get().uri(path);
        let asked = app.send(get()).await;
        let by_script = app.send(get().insert_header(("Origin", "https://spa.example"))).await;
        for answer in [&asked, &by_script] {
            assert_eq!(answer.status, status, "{path}");
            assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{path}");
        }
        let readable = "access-control-expose-headers";
        assert_eq!(
            asked.header(readable),
            by_script.header(readable),
            "{path}: a cache can't tell them apart"
        );
        assert_eq!(asked.header(readable).is_some(), status == 404, "{path}");
        if let Some(etag) = asked.header("etag") {
            let known = app.send(get().insert_header(("If-None-Match", etag))).await;
            assert_eq!(
                (known.status, known.header("access-control-allow-origin")),
                (304, Some("*")),
                "{path}"
            );
        }
    }
}

/// The first keys count as published a lead ago, which is a statement about caches: they are not older for that.
#[actix_web::test]
async fn a_key_is_as_old_as_it_is() {
    let app = TestApp::start().await;
    let keys = async || app.administer(Method::GET, "/admin/keys", None).await.json()["keys"].clone();
    let ages = |keys: &Value| {
        let ages = keys.as_array().expect("keys").iter().map(|key| key["age"].as_i64().expect("seconds"));
        ages.collect::<Vec<_>>()
    };
    let first = keys().await;
    assert_eq!(ages(&first), [0, 0]);
    for key in first.as_array().expect("keys") {
        let date = |name: &str| key[name].as_str().expect("a date").to_owned();
        assert!(date("publish_at") < date("created_at"), "{key}");
    }
    app.pass(Duration::from_secs(85)).await;
    assert_eq!(ages(&keys().await), [85, 85]);
    assert_eq!(keys().await[0]["created_at"], first[0]["created_at"]);
}

#[actix_web::test]
async fn the_plan_names_the_key_that_waits_and_changes_nothing() {
    let app = TestApp::start().await;
    app.pass(Duration::from_mins(1)).await;
    let ring = &app.app.state.services.keys;
    let keys = async || app.administer(Method::GET, "/admin/keys", None).await.json()["keys"].clone();
    let (version, before) = (ring.version(), keys().await);
    let planned = app.administer(Method::GET, "/admin/keys/plan", None).await;
    assert_eq!(planned.status, 200, "{}", String::from_utf8_lossy(&planned.body));
    let plan = planned.json();
    let by_phase = |phase: &str| {
        let keys = before.as_array().expect("keys");
        keys.iter().find(|key| key["phase"] == phase).unwrap_or_else(|| panic!("{phase}: {keys:?}")).clone()
    };
    let (signing, waiting) = (by_phase("signing"), by_phase("published"));
    let event = |what: &str, kid: &Value| {
        let mut events = plan["events"].as_array().expect("events").iter();
        events
            .find(|event| event["what"] == what && event["kid"] == *kid)
            .unwrap_or_else(|| panic!("{plan}"))
            .clone()
    };
    let signs = event("signs", &waiting["kid"]);
    assert_eq!([&signs["at"], &signs["algorithm"]], [&waiting["sign_from"], &json!("ES256")]);
    assert!(signs["at"].as_str() > plan["now"].as_str());
    // What it takes the place of goes behind it; the next one has yet to be made, and has no name.
    assert!(event("retires", &signing["kid"])["at"].as_str() > signs["at"].as_str());
    event("leaves_jwks", &signing["kid"]);
    event("created", &Value::Null);
    ring.follow().await.expect("the ring as the store has it");
    assert_eq!((ring.version(), keys().await), (version, before));
}
