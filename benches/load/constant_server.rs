//! The limit that the load benchmark measures Signet against: the same actix-web server on the same allocator,
//! answering a constant body of the same size, with no middleware and nothing behind it; for tokens after one
//! bare signature over as many bytes as a token's, by the library that Signet signs with.
//!
//! `constant_server LISTEN TOKEN_FILE JWKS_FILE`: the files are answers of the very service that is measured.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::{App, HttpResponse, HttpServer, web};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// As long as the signing input of a token.
const MESSAGE: [u8; 620] = [b'x'; 620];

struct Constant {
    token: web::Bytes,
    jwks: web::Bytes,
    random: SystemRandom,
    es256: EcdsaKeyPair,
    eddsa: Ed25519KeyPair,
    rs256: RsaKeyPair,
}

type State = web::Data<Constant>;

fn answer(state: &Constant) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, header::HeaderValue::from_static("application/json")))
        .insert_header((header::CACHE_CONTROL, header::HeaderValue::from_static("no-store")))
        .body(state.token.clone())
}

async fn token(state: State, _body: web::Bytes) -> HttpResponse {
    answer(&state)
}

async fn es256(state: State, _body: web::Bytes) -> HttpResponse {
    let _signed = std::hint::black_box(state.es256.sign(&state.random, &MESSAGE));
    answer(&state)
}

async fn eddsa(state: State, _body: web::Bytes) -> HttpResponse {
    let _signed = std::hint::black_box(state.eddsa.sign(&MESSAGE));
    answer(&state)
}

async fn rs256(state: State, _body: web::Bytes) -> HttpResponse {
    let mut signature = vec![0; state.rs256.public_modulus_len()];
    let _signed =
        std::hint::black_box(state.rs256.sign(&RSA_PKCS1_SHA256, &state.random, &MESSAGE, &mut signature));
    answer(&state)
}

async fn jwks(state: State) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, header::HeaderValue::from_static("application/jwk-set+json")))
        .insert_header((header::CACHE_CONTROL, header::HeaderValue::from_static("public, max-age=300")))
        .body(state.jwks.clone())
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let usage = || std::io::Error::other("usage: constant_server LISTEN TOKEN_FILE JWKS_FILE");
    let mut args = std::env::args().skip(1);
    let mut next = || args.next().ok_or_else(usage);
    let (listen, token_file, jwks_file) = (next()?, next()?, next()?);
    let constant = web::Data::from(Arc::new(Constant {
        token: std::fs::read(token_file)?.into(),
        jwks: std::fs::read(jwks_file)?.into(),
        random: SystemRandom::new(),
        es256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(std::io::Error::other)?,
        eddsa: Ed25519KeyPair::generate().map_err(std::io::Error::other)?,
        rs256: RsaKeyPair::generate(KeySize::Rsa2048).map_err(std::io::Error::other)?,
    }));
    HttpServer::new(move || {
        App::new()
            .app_data(constant.clone())
            .route("/oauth2/token", web::post().to(token))
            .route("/oauth2/ES256", web::post().to(es256))
            .route("/oauth2/EdDSA", web::post().to(eddsa))
            .route("/oauth2/RS256", web::post().to(rs256))
            .route("/.well-known/jwks.json", web::get().to(jwks))
    })
    .workers(1)
    .bind(listen)?
    .run()
    .await
}
