//! The limit that the load benchmark measures Signet against: the same actix-web server with the same
//! settings, answering a constant body of the same size, with no middleware and nothing behind it.

use actix_web::http::header;
use actix_web::{App, HttpResponse, HttpServer, web};

/// As large as a token answer, and as a JWKS of two keys.
const TOKEN: &str = include_str!("constant_token.json");
const JWKS: &str = include_str!("constant_jwks.json");

async fn token(_body: web::Bytes) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(TOKEN)
}

async fn jwks() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/jwk-set+json"))
        .insert_header((header::CACHE_CONTROL, "public, max-age=300"))
        .body(JWKS)
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let listen = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8090".into());
    HttpServer::new(|| {
        App::new()
            .route("/oauth2/token", web::post().to(token))
            .route("/.well-known/jwks.json", web::get().to(jwks))
    })
    .workers(1)
    .bind(listen)?
    .run()
    .await
}
