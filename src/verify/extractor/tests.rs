use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::test::{TestRequest, call_service, init_service, read_body_json};
use actix_web::{App, HttpResponse};
use serde_json::{Value, json};

use super::*;
use crate::clock::ManualClock;
use crate::oauth::Algorithm::ES256;
use crate::verify::ErrorBody;
use crate::verify::testing::{AUDIENCE, FakeFetch, ISSUER, Issuer, NOW};

struct Delete;
impl RequiredScope for Delete {
    const SCOPE: &'static str = "read delete";
}

struct Read;
impl RequiredScope for Read {
    const SCOPE: &'static str = "read";
}

async fn any(token: Bearer<AnyScope>) -> HttpResponse {
    HttpResponse::Ok().body(token.sub.to_string())
}

async fn read(token: Bearer<Read>) -> HttpResponse {
    HttpResponse::Ok().body(token.into_claims().sub.to_string())
}

async fn delete(_: Bearer<Delete>) -> HttpResponse {
    HttpResponse::NoContent().finish()
}

struct Answer {
    status: StatusCode,
    challenge: Option<String>,
    body: Value,
    retry_after: Option<String>,
}

async fn ask(network: &FakeFetch, uri: &str, authorization: &[&str]) -> Answer {
    let verifier = Verifier::builder(ISSUER)
        .audience(AUDIENCE)
        .clock(Arc::new(ManualClock::at(NOW)))
        .fetch(network.clone())
        .build()
        .unwrap();
    let shape = ErrorBody(|challenge| json!({ "message": challenge.description() }));
    let app = init_service(
        App::new()
            .app_data(web::Data::new(verifier))
            .route("/any", web::get().to(any))
            .route("/read", web::get().to(read))
            .route("/delete", web::get().to(delete))
            .service(web::scope("/shaped").app_data(shape).route("", web::get().to(any))),
    )
    .await;
    let mut request = TestRequest::get().uri(uri);
    for value in authorization {
        request = request.append_header(("Authorization", *value));
    }
    let response = call_service(&app, request.to_request()).await;
    let header = |name| response.headers().get(&name).map(|value| value.to_str().unwrap().to_owned());
    let (status, challenge, retry_after) = (response.status(), header(WWW_AUTHENTICATE), header(RETRY_AFTER));
    if !status.is_success() {
        assert_eq!(header(CACHE_CONTROL).unwrap(), "no-store");
    }
    let body = if status.is_success() { Value::Null } else { read_body_json(response).await };
    Answer { status, challenge, body, retry_after }
}

fn network() -> FakeFetch {
    FakeFetch::of(Issuer::new(), &[ES256])
}

fn bearer() -> String {
    format!("Bearer {}", Issuer::new().token(ES256, &Issuer::claims()))
}

#[actix_web::test]
async fn a_good_token_with_the_scope_is_let_in() {
    for uri in ["/any", "/read", "/any?x=1"] {
        assert_eq!(ask(&network(), uri, &[&bearer()]).await.status, StatusCode::OK, "{uri}");
    }
    let odd_case = bearer().replacen("Bearer ", "bEARER ", 1);
    assert_eq!(ask(&network(), "/any", &[&odd_case]).await.status, StatusCode::OK);
}

#[actix_web::test]
async fn without_credentials_no_error_code_is_given() {
    let query = format!("/any?access_token={}", &bearer()[7..]);
    for (uri, authorization) in [("/any", vec![]), ("/any", vec!["Basic YTpi"]), (query.as_str(), vec![])] {
        let answer = ask(&network(), uri, &authorization).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(answer.challenge.unwrap(), r#"Bearer realm="https://api.example""#);
        assert_eq!(answer.body["error"], "invalid_token");
    }
}

#[actix_web::test]
async fn a_bad_token_is_an_invalid_token() {
    let answer = ask(&network(), "/any", &["Bearer abc"]).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        answer.challenge.unwrap(),
        r#"Bearer realm="https://api.example", error="invalid_token", error_description="the access token is invalid""#
    );
    let body = json!({ "error": "invalid_token", "error_description": "the access token is invalid" });
    assert_eq!(answer.body, body);
}

#[actix_web::test]
async fn all_the_required_scope_must_be_there() {
    let answer = ask(&network(), "/delete", &[&bearer()]).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(
        answer.challenge.unwrap(),
        r#"Bearer realm="https://api.example", error="insufficient_scope", error_description="the access token does not permit this", scope="read delete""#
    );
    assert_eq!(answer.body["error"], "insufficient_scope");
}

#[actix_web::test]
async fn a_malformed_request_is_an_invalid_request() {
    let good = bearer();
    let query = format!("/any?a=b&access%5Ftoken={}", &good[7..]);
    let cases: [(&str, &[&str]); 7] = [
        ("/any", &["Bearer"]),
        ("/any", &["Bearer "]),
        ("/any", &["Bearer a b"]),
        ("/any", &["Bearer a, Bearer b"]),
        ("/any", &["Bearer a\tb"]),
        ("/any", &[&good, &good]),
        (&query, &[&good]),
    ];
    for (uri, authorization) in cases {
        let answer = ask(&network(), uri, authorization).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{authorization:?}");
        assert_eq!(answer.body["error"], "invalid_request");
        assert!(answer.challenge.unwrap().contains(r#"error="invalid_request""#));
    }
}

#[actix_web::test]
async fn when_the_issuer_is_away_the_caller_is_asked_to_come_back() {
    let keys_gone = network();
    keys_gone.go_down();
    let list_gone = network();
    list_gone.remove("https://auth.example/status/1");
    for network in [keys_gone, list_gone] {
        let answer = ask(&network, "/any", &[&bearer()]).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.retry_after.unwrap(), "5");
        assert_eq!(answer.challenge, None);
        assert_eq!(answer.body["error"], "temporarily_unavailable");
    }
}

#[actix_web::test]
async fn a_part_of_the_application_may_shape_its_errors() {
    let answer = ask(&network(), "/shaped", &[]).await;
    assert_eq!(answer.body, json!({ "message": "an access token is required" }));
}

#[actix_web::test]
async fn without_a_verifier_nobody_is_let_in() {
    let app = init_service(App::new().route("/any", web::get().to(any))).await;
    let request = TestRequest::get().uri("/any").append_header(("Authorization", bearer()));
    assert_eq!(call_service(&app, request.to_request()).await.status(), StatusCode::INTERNAL_SERVER_ERROR);
}
