//! The verifier against an issuer that is reached by HTTP, on loopback.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::json;
use signet::clock::ManualClock;
use signet::oauth::Algorithm::ES256;
use signet::oauth::{AccessTokenClaims, StatusClaim, StatusReference};
use signet::verify::{Refusal, Verifier};

use crate::support::{AUDIENCE, Issuer, NOW};

/// What the issuer publishes, and how it was asked.
#[derive(Default)]
struct Published {
    list: Mutex<(u32, Vec<u8>)>,
    full: AtomicUsize,
    not_modified: AtomicUsize,
}

struct Site {
    issuer: String,
    published: Arc<Published>,
    server: actix_web::dev::ServerHandle,
}

impl Site {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let metadata = json!({ "issuer": issuer, "jwks_uri": format!("{issuer}/jwks") });
        let published = Arc::new(Published::default());
        let data = web::Data::from(published.clone());
        let server = HttpServer::new(move || {
            let metadata = metadata.clone();
            App::new()
                .app_data(data.clone())
                .route(
                    "/.well-known/oauth-authorization-server",
                    web::get().to(move || std::future::ready(HttpResponse::Ok().json(&metadata))),
                )
                .route("/jwks", web::get().to(jwks))
                .route("/status/1", web::get().to(list))
        })
        .workers(1)
        .listen(listener)
        .unwrap()
        .disable_signals()
        .run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        Self { issuer, published, server: handle }
    }

    fn publish_list(&self, version: u32, iat: i64, revoked: &[u64]) {
        let mut claims = Issuer::list_claims("1", revoked);
        claims.iss.clone_from(&self.issuer);
        claims.sub = format!("{}/status/1", self.issuer);
        (claims.iat, claims.exp) = (iat, iat + 3600);
        *self.published.list.lock().unwrap() = (version, Issuer::new().list(ES256, &claims));
    }

    fn claims(&self) -> AccessTokenClaims {
        let uri = format!("{}/status/1", self.issuer);
        let status = Some(StatusClaim { status_list: StatusReference { idx: 3, uri } });
        AccessTokenClaims { iss: self.issuer.clone(), status, ..Issuer::claims() }
    }
}

async fn jwks() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "public, max-age=300"))
        .body(Issuer::new().jwks(&[ES256]))
}

async fn list(request: HttpRequest, published: web::Data<Published>) -> HttpResponse {
    let (version, body) = published.list.lock().unwrap().clone();
    let etag = format!("\"v{version}\"");
    if request.headers().get(IF_NONE_MATCH).is_some_and(|tag| tag.as_bytes() == etag.as_bytes()) {
        published.not_modified.fetch_add(1, SeqCst);
        return HttpResponse::NotModified().insert_header((ETAG, etag)).finish();
    }
    published.full.fetch_add(1, SeqCst);
    HttpResponse::Ok().insert_header((ETAG, etag)).content_type("application/statuslist+jwt").body(body)
}

#[actix_web::test]
async fn keys_and_status_are_found_from_the_issuer_alone_and_renewed_by_their_tags() {
    let site = Site::start();
    site.publish_list(1, NOW, &[]);
    let clock = Arc::new(ManualClock::at(NOW));
    let verifier = Verifier::builder(&site.issuer).audience(AUDIENCE).clock(clock.clone()).build().unwrap();
    let token = Issuer::new().token(ES256, &site.claims());
    verifier.prefetch().await.unwrap();
    assert_eq!(verifier.verify(&token).await.unwrap(), site.claims());

    clock.advance(Duration::from_mins(1));
    verifier.verify(&token).await.unwrap();
    let counts = || (site.published.full.load(SeqCst), site.published.not_modified.load(SeqCst));
    assert_eq!(counts(), (1, 1));

    site.publish_list(2, NOW + 60, &[3]);
    clock.advance(Duration::from_mins(1));
    assert_eq!(verifier.verify(&token).await, Err(Refusal::Revoked));
    assert_eq!(counts(), (2, 1));

    site.server.stop(false).await;
    clock.advance(Duration::from_mins(1));
    assert_eq!(verifier.verify(&token).await, Err(Refusal::Revoked));
}
