//! A resource server: an API that lets in whoever brings a good access token, and asks the issuer about none.
//!
//! ```text
//! cargo run --example resource_server -- \
//!     --issuer http://127.0.0.1:8080 --audience http://127.0.0.1:9000 --listen 127.0.0.1:9000
//! ```
//!
//! `GET /products`, `/v1/users` and `/v1/data` want the scope `read`; `GET /whoami` any token for this audience.
//! Instead of a token an API key will do: it is exchanged for one at the issuer, once in a quarter of an hour, and good for
//! 100 requests in any minute. With
//! `--api-keys-in-query yes` it may also come as the query parameter `api_key`; with `--client-id ID`, and `CLIENT_SECRET`
//! in the environment, this API says at the issuer who it is.

#[path = "resource_server/api.rs"]
mod api;
#[path = "resource_server/exchange.rs"]
mod exchange;

use std::collections::HashMap;
use std::error::Error;
use std::process::ExitCode;

use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use signet::clock::SystemClock;
use signet::verify::Verifier;

use exchange::{KeyExchange, exchange_api_key};

#[actix_web::main]
#[expect(clippy::print_stderr, reason = "whoever starts this by hand wants to know")]
async fn main() -> ExitCode {
    // The verifier logs why it can't fetch keys, the caller learns only that it can't.
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::WARN).init();
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let flags = Flags::read()?;
    let (issuer, audience) = (flags.named("issuer")?, flags.named("audience")?);
    let verifier = Verifier::builder(issuer).audience(audience).build()?;
    let mut exchange = KeyExchange::new(issuer, audience, SystemClock::shared());
    if flags.named("api-keys-in-query").is_ok_and(|value| value == "yes") {
        exchange = exchange.with_keys_in_query();
    }
    if let Ok(client_id) = flags.named("client-id") {
        let client_secret = std::env::var("CLIENT_SECRET").map_err(|_| "CLIENT_SECRET is missing")?;
        exchange = exchange.authenticated(client_id, &client_secret);
    }
    let exchange = web::Data::new(exchange);
    let listen = flags.named("listen")?.to_owned();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(verifier.clone()))
            .app_data(exchange.clone())
            .wrap(from_fn(exchange_api_key))
            .configure(api::configure)
    })
    .bind(&listen)
    .map_err(|error| format!("--listen {listen}: {error}"))?
    .run();
    announce(&listen);
    server.await?;
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
