//! The token endpoints of the older documents grant the same, whatever their shapes; those are held against the documents
//! one by one, in `document_000` to `document_004`.

use actix_web::test::TestRequest;
use serde_json::{Value, json};

use crate::grants_fixture::{CALLBACK, VERIFIER, World, code_body};
use crate::test_app::{TestApp, form, part};

fn credentials(app: &TestApp) -> String {
    let (id, secret) = app.demo();
    format!("grant_type=client_credentials&client_id={id}&client_secret={secret}")
}

#[actix_web::test]
async fn every_dialect_grants_the_same() {
    let app = TestApp::start().await;
    let (id, secret) = app.demo();
    let body = credentials(&app);
    let mut tokens = Vec::new();
    for path in ["/oauth2/token", "/oauth/token", "/auth/token", "/api/token.php"] {
        tokens.push(app.send(form(path, &format!("{body}&scope=read"))).await.access_token());
    }
    let object = json!({ "grant_type": "client_credentials", "client_id": id, "client_secret": secret, "scope": "read" });
    let request = TestRequest::post().uri("/oauth/token").set_json(object);
    tokens.push(app.send(request).await.access_token());
    assert!(tokens.iter().all(|token| bare(token) == bare(&tokens[0])));
}

/// Claims without what no two tokens share.
fn bare(token: &str) -> (Value, serde_json::Map<String, Value>) {
    let Value::Object(mut claims) = part(token, 1) else { panic!("not an object") };
    claims.remove("jti");
    claims.remove("status");
    (part(token, 0), claims)
}

#[actix_web::test]
async fn a_persons_grant_is_the_same_in_every_dialect() {
    let world = World::start().await;
    let (id, secret) = world.client();
    let mut tokens = Vec::new();
    for path in ["/oauth2/token", "/oauth/token", "/auth/token", "/api/token.php"] {
        let body = code_body(&world.code().await);
        let body = format!("{body}&client_id={id}&client_secret={secret}&code_verifier={VERIFIER}");
        tokens.push(world.app.send(form(path, &body)).await.access_token());
    }
    let object = json!({
        "grant_type": "authorization_code", "code": world.code().await, "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER, "client_id": id, "client_secret": secret,
    });
    let request = TestRequest::post().uri("/oauth/token").set_json(object);
    tokens.push(world.app.send(request).await.access_token());
    assert!(tokens.iter().all(|token| bare(token) == bare(&tokens[0])));
    assert_eq!(bare(&tokens[0]).1["sub"], world.account.id.as_str());
}

#[actix_web::test]
async fn no_dialect_grants_what_the_standard_path_refuses() {
    let world = World::start().await;
    let (id, secret) = world.client();
    let client = format!("&client_id={id}&client_secret={secret}");
    for path in ["/oauth2/token", "/oauth/token", "/auth/token", "/api/token.php"] {
        let code = world.code().await;
        let error = if path == "/api/token.php" { "invalid_code" } else { "invalid_grant" };
        for wrong in [
            format!("{}{client}", code_body(&code)),
            format!(
                "{}{client}&code_verifier={VERIFIER}",
                code_body(&code).replace("shop.example", "evil.example")
            ),
            format!("{}{client}&code_verifier={VERIFIER}", code_body("unknown")),
        ] {
            let answer = world.app.send(form(path, &wrong)).await;
            answer.refused(400, error);
        }
    }
}
