//! A resource server: an API that lets in whoever brings a good access token, and asks the issuer about none.
//!
//! ```text
//! cargo run --example resource_server -- \
//!     --issuer http://127.0.0.1:8080 --audience http://127.0.0.1:9000 --listen 127.0.0.1:9000
//! ```
//!
//! `GET /products`, `/v1/users` and `/v1/data` want the scope `read`; `GET /whoami` any token for this audience.
//! Instead of a token an API key will do: it is exchanged for one at the issuer, once in a quarter of an hour. With
//! `--client-id ID`, and `CLIENT_SECRET` in the environment, this API says at the issuer who it is.

#[path = "resource_server/exchange.rs"]
mod exchange;

use std::collections::HashMap;
use std::error::Error;

use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, HttpServer, Responder, get, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use signet::clock::SystemClock;
use signet::verify::{AnyScope, Bearer, ErrorBody, RequiredScope, Verifier};

use exchange::{KeyExchange, exchange_api_key};

/// What most of this API demands.
struct Read;

impl RequiredScope for Read {
    const SCOPE: &'static str = "read";
}

#[derive(Serialize)]
struct Product {
    id: &'static str,
    name: &'static str,
    description: &'static str,
    price: f64,
    category: &'static str,
}

const PRODUCTS: [Product; 2] = [
    Product {
        id: "prod_xyz789",
        name: "Gadget Pro",
        description: "The latest and greatest gadget.",
        price: 99.99,
        category: "Electronics",
    },
    Product {
        id: "prod_abc111",
        name: "Stylish T-Shirt",
        description: "Comfortable cotton t-shirt.",
        price: 19.99,
        category: "Apparel",
    },
];

#[derive(Deserialize)]
struct ProductFilter {
    category: Option<String>,
    search: Option<String>,
}

impl ProductFilter {
    fn admits(&self, product: &Product) -> bool {
        let contains = |text: &str, part: &str| text.to_lowercase().contains(&part.to_lowercase());
        let category =
            self.category.as_deref().is_none_or(|name| product.category.eq_ignore_ascii_case(name));
        let search = self
            .search
            .as_deref()
            .is_none_or(|term| contains(product.name, term) || contains(product.description, term));
        category && search
    }
}

#[get("/products")]
async fn products(_: Bearer<Read>, filter: web::Query<ProductFilter>) -> impl Responder {
    HttpResponse::Ok().json(PRODUCTS.iter().filter(|product| filter.admits(product)).collect::<Vec<_>>())
}

#[get("/v1/users")]
async fn users(_: Bearer<Read>) -> impl Responder {
    HttpResponse::Ok().json(json!([
        {
            "id": "user_abc123", "name": "Alice Wonderland", "email": "alice@example.com",
            "created_at": "2023-10-27T10:00:00Z"
        },
        {
            "id": "user_def456", "name": "Bob The Builder", "email": "bob@example.com",
            "created_at": "2023-10-27T10:05:00Z"
        }
    ]))
}

#[get("/v1/data")]
async fn data(token: Bearer<Read>) -> impl Responder {
    HttpResponse::Ok().json(json!({ "data": [1, 2, 3], "read_by": token.client_id }))
}

#[get("/whoami")]
async fn whoami(token: Bearer<AnyScope>) -> impl Responder {
    HttpResponse::Ok().json(token.into_claims())
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let flags = Flags::read()?;
    let (issuer, audience) = (flags.named("issuer")?, flags.named("audience")?);
    let verifier = Verifier::builder(issuer).audience(audience).build()?;
    let mut exchange = KeyExchange::new(issuer, audience, SystemClock::shared());
    if let Ok(client_id) = flags.named("client-id") {
        let client_secret = std::env::var("CLIENT_SECRET").map_err(|_| "CLIENT_SECRET is missing")?;
        exchange = exchange.authenticated(client_id, &client_secret);
    }
    let exchange = web::Data::new(exchange);
    let listen = flags.named("listen")?.to_owned();
    announce(&listen);
    HttpServer::new(move || {
        // This API's errors are `{error, message}`; the headers stay those of RFC 6750.
        let errors = ErrorBody(
            |challenge| json!({ "error": challenge.error_code(), "message": challenge.description() }),
        );
        App::new()
            .app_data(web::Data::new(verifier.clone()))
            .app_data(errors)
            .app_data(exchange.clone())
            .wrap(from_fn(exchange_api_key))
            .service(products)
            .service(users)
            .service(data)
            .service(whoami)
    })
    .bind(listen)?
    .run()
    .await?;
    Ok(())
}

#[expect(clippy::print_stderr, reason = "whoever starts this by hand wants to know")]
fn announce(listen: &str) {
    eprintln!("listening on http://{listen}");
}

/// `--name value`, any number of times.
struct Flags(HashMap<String, String>);

impl Flags {
    fn read() -> Result<Self, String> {
        let mut flags = HashMap::new();
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let name = argument.strip_prefix("--").ok_or_else(|| format!("unexpected {argument:?}"))?;
            let value = arguments.next().ok_or_else(|| format!("--{name} wants a value"))?;
            flags.insert(name.to_owned(), value);
        }
        Ok(Self(flags))
    }

    fn named(&self, name: &str) -> Result<&str, String> {
        self.0.get(name).map(String::as_str).ok_or_else(|| format!("--{name} is missing"))
    }
}
