//! Clients that people use: what may be registered, and what may not.

use actix_web::http::Method;
use serde_json::{Value, json};
use signet::oauth::Algorithm;

use crate::grants_fixture::{CALLBACK, World, register};
use crate::test_app::{RESOURCE, TestApp, part};

fn registration(change: Value) -> Value {
    let mut registration = json!({ "client_name": "Shop", "scope": "openid read", "resources": [RESOURCE] });
    let Value::Object(change) = change else { panic!("not an object") };
    registration.as_object_mut().expect("an object").extend(change);
    registration
}

#[actix_web::test]
async fn a_client_shows_what_it_was_registered_with() {
    let app = TestApp::start().await;
    let members = json!({
        "redirect_uris": [CALLBACK, "http://127.0.0.1/", "urn:ietf:wg:oauth:2.0:oob"],
        "require_pkce": false,
        "consent": "implied",
        "client_uri": "https://shop.example/",
        "logo_uri": "https://shop.example/logo.png",
        "policy_uri": "https://shop.example/policy",
        "tos_uri": "https://shop.example/tos",
        "post_logout_redirect_uris": ["https://shop.example/bye"],
        "backchannel_logout_uri": "https://shop.example/logout",
        "id_token_signed_response_alg": "ES256",
        "allowed_origins": ["https://shop.example", "http://localhost:3000"],
        "token_endpoint_auth_method": "client_secret_post",
    });
    let shown = app.administer(Method::POST, "/admin/clients", Some(registration(members.clone()))).await;
    assert_eq!(shown.status, 201, "{shown:?}");
    let shown = shown.json();
    for (name, value) in members.as_object().expect("an object") {
        assert_eq!(shown[name], *value, "{name}");
    }
    let grants = json!(["client_credentials", "authorization_code", "refresh_token"]);
    assert_eq!(shown["grant_types"], grants);
    // What is null goes back to the default, and what is absent stays.
    let path = format!("/admin/clients/{}", shown["client_id"].as_str().expect("an id"));
    let change = json!({ "logo_uri": null, "id_token_signed_response_alg": null, "require_pkce": true });
    let shown = app.administer(Method::PATCH, &path, Some(change)).await.json();
    assert_eq!((&shown["logo_uri"], &shown["require_pkce"]), (&Value::Null, &json!(true)));
    assert_eq!(shown["tos_uri"], "https://shop.example/tos");
}

#[actix_web::test]
async fn a_client_of_its_own_needs_no_more_than_before() {
    let app = TestApp::start().await;
    let shown = app.administer(Method::POST, "/admin/clients", Some(registration(json!({})))).await.json();
    assert_eq!(shown["grant_types"], json!(["client_credentials"]));
    assert_eq!((&shown["require_pkce"], &shown["consent"]), (&json!(true), &json!("required")));
    assert_eq!(shown["token_endpoint_auth_method"], "client_secret_basic");
}

#[actix_web::test]
async fn what_can_not_be_honoured_is_refused() {
    let app = TestApp::start().await;
    let twice = json!([CALLBACK, CALLBACK]);
    let many: Vec<String> = (0..33).map(|n| format!("{CALLBACK}{n}")).collect();
    for (change, why) in [
        (json!({ "client_id": "user_abc" }), "user_"),
        (json!({ "redirect_uris": ["http://shop.example/"] }), "wrong type or value"),
        (json!({ "redirect_uris": ["javascript:alert(1)"] }), "wrong type or value"),
        (json!({ "redirect_uris": [format!("{CALLBACK}#x")] }), "wrong type or value"),
        (json!({ "redirect_uris": twice }), "redirect_uris"),
        (json!({ "redirect_uris": many }), "redirect_uris"),
        (json!({ "post_logout_redirect_uris": twice }), "post_logout_redirect_uris"),
        (json!({ "allowed_origins": ["https://shop.example/"] }), "wrong type or value"),
        (json!({ "allowed_origins": ["*"] }), "wrong type or value"),
        (json!({ "allowed_origins": ["null"] }), "wrong type or value"),
        (json!({ "logo_uri": "javascript:alert(1)" }), "wrong type or value"),
        (json!({ "client_uri": "https://a:b@shop.example" }), "wrong type or value"),
        (json!({ "grant_types": ["authorization_code"] }), "redirect_uris"),
        (json!({ "grant_types": ["refresh_token"] }), "authorization_code"),
        (json!({ "grant_types": ["password"] }), "wrong type or value"),
        (json!({ "id_token_signed_response_alg": "RS256" }), "id_token_signed_response_alg RS256"),
        (json!({ "id_token_signed_response_alg": "none" }), "wrong type or value"),
        (json!({ "owner": "user_abc" }), "unknown field"),
    ] {
        let answer = app.administer(Method::POST, "/admin/clients", Some(registration(change.clone()))).await;
        answer.refused(400, "invalid_request");
        let text = answer.json()["error_description"].as_str().expect("a text").to_owned();
        assert!(text.contains(why), "{change}: {text}");
    }
    let public = json!({ "token_endpoint_auth_method": "none", "redirect_uris": [CALLBACK] });
    for (member, value) in [
        ("grant_types", json!(["client_credentials"])),
        ("require_pkce", json!(false)),
        ("audience_of", json!([RESOURCE])),
    ] {
        let mut change = public.clone();
        change[member] = value;
        let answer = app.administer(Method::POST, "/admin/clients", Some(registration(change))).await;
        answer.refused(400, "invalid_request");
    }
}

#[actix_web::test]
async fn a_public_client_has_no_secret_and_gets_none() {
    let app = TestApp::start().await;
    let public = json!({ "token_endpoint_auth_method": "none", "redirect_uris": [CALLBACK] });
    let shown = app.administer(Method::POST, "/admin/clients", Some(registration(public))).await.json();
    assert_eq!((shown.get("client_secret"), &shown["secrets"]), (None, &json!([])));
    assert_eq!(shown["grant_types"], json!(["authorization_code", "refresh_token"]));
    let path = format!("/admin/clients/{}", shown["client_id"].as_str().expect("an id"));
    let rotation = app.administer(Method::POST, &format!("{path}/secret"), None).await;
    rotation.refused(400, "invalid_request");
    // One that becomes public loses its secret.
    let (id, secret) = register(&app, json!({ "grant_types": ["authorization_code"] })).await;
    let change = json!({ "token_endpoint_auth_method": "none" });
    let shown = app.administer(Method::PATCH, &format!("/admin/clients/{id}"), Some(change)).await.json();
    assert_eq!(shown["secrets"], json!([]));
    app.token((&id, &secret), "").await.refused(401, "invalid_client");
}

#[actix_web::test]
async fn the_scope_tokens_of_openid_mean_nothing_where_no_person_is() {
    let world = World::start().await;
    let answer = world.present("grant_type=client_credentials").await;
    answer.access_token();
    assert_eq!(answer.json()["scope"], "read write");
    let asked = world.present("grant_type=client_credentials&scope=openid+read").await;
    asked.refused(400, "invalid_scope");
}

#[actix_web::test]
async fn an_id_token_is_signed_by_rs256_unless_the_client_says_otherwise() {
    let in_use = vec![Algorithm::ES256, Algorithm::RS256, Algorithm::EdDSA];
    let world = World::start_with(json!({}), |config| config.keys.algorithms = in_use).await;
    let algorithm = async || {
        let answer = world.redeem(&world.code().await).await;
        assert_eq!(part(&answer.access_token(), 0)["alg"], "ES256");
        part(answer.json()["id_token"].as_str().expect("an ID token"), 0)["alg"].clone()
    };
    assert_eq!(algorithm().await, "RS256");
    let path = format!("/admin/clients/{}", world.client().0);
    let change = json!({ "id_token_signed_response_alg": "EdDSA" });
    assert_eq!(world.app.administer(Method::PATCH, &path, Some(change)).await.status, 200);
    assert_eq!(algorithm().await, "EdDSA");
}

#[actix_web::test]
async fn no_code_is_spent_while_nobody_can_sign() {
    let world = World::start().await;
    let code = world.code().await;
    // For longer than P this node knows nothing of what others have done.
    world.app.clock.advance(std::time::Duration::from_secs(31));
    world.redeem(&code).await.refused(503, "temporarily_unavailable");
    world.app.pass(std::time::Duration::ZERO).await;
    world.redeem(&code).await.access_token();
}

#[actix_web::test]
async fn a_condemned_sealing_key_ends_the_refresh_tokens_it_sealed() {
    let world = World::start().await;
    let (access_token, refresh_token) = world.tokens().await;
    let keys = world.app.administer(Method::GET, "/admin/keys", None).await.json();
    let sealing = keys["sealing"].as_array().expect("sealing keys");
    assert_eq!((sealing.len(), &sealing[0]["seals"]), (1, &json!(true)));
    let path = format!("/admin/keys/{}/compromise", sealing[0]["id"].as_str().expect("an id"));
    let answer = world.app.administer(Method::POST, &path, None).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.json()["breaks"][0]["what"].as_str().is_some_and(|what| what.contains("refresh tokens")));
    world.refresh(&refresh_token).await.refused(400, "invalid_grant");
    assert!(world.is_active(&access_token).await, "it was signed, not sealed");
    world.app.administer(Method::POST, &path, None).await.refused(404, "not_found");
    world.refresh(&world.tokens().await.1).await.access_token();
    let log = world.app.audit_log();
    assert!(log.contains("key.compromised") && log.contains("\"use\":\"sealing\""));
}

#[actix_web::test]
async fn sealing_keys_follow_one_another_and_refresh_tokens_live_through_it() {
    let day = std::time::Duration::from_hours(24);
    let world = World::start().await;
    let (_, mut token) = world.tokens().await;
    let mut sealed_by = std::collections::BTreeSet::new();
    for _ in 0..29 {
        world.app.pass(day).await;
        token = world.refresh(&token).await.json()["refresh_token"].as_str().expect("a token").to_owned();
    }
    for _ in 0..40 {
        world.app.pass(day).await;
        world.refresh(&world.tokens().await.1).await.access_token();
        let seals = |key: &signet::keys::SealingKeyView| key.seals;
        sealed_by.extend(world.services().sealing_keys.list().into_iter().filter(seals).map(|key| key.id));
    }
    assert!(sealed_by.len() >= 2, "{sealed_by:?}");
}
