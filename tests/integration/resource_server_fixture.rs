//! The example resource server, beside the service: it verifies offline what the service publishes over HTTP.

use std::net::TcpListener;

use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, init_service, try_call_service};
use actix_web::{App, HttpServer, web};
use async_trait::async_trait;
use signet::verify::{Fetch, FetchError, FetchRequest, Fetched, HttpFetch, HttpFetchSettings, Verifier};
use url::Url;

use crate::api;
use crate::exchange::{KeyExchange, exchange_api_key};
use crate::test_app::{Answer, ISSUER, RESOURCE, TestApp, bearer};

/// Serves the service's public routes on a port of its own; gives their address.
pub(crate) fn listen(app: &TestApp) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let state = web::Data::from(app.app.state.clone());
    let server = HttpServer::new(move || App::new().configure(signet::http::configure(state.clone())));
    actix_web::rt::spawn(server.workers(1).disable_signals().listen(listener).unwrap().run());
    url
}

/// Finds the issuer where it listens in this test.
struct At {
    url: String,
    http: HttpFetch,
}

#[async_trait]
impl Fetch for At {
    async fn fetch(&self, request: FetchRequest<'_>) -> Result<Fetched, FetchError> {
        let url = Url::parse(&request.url.as_str().replace(ISSUER, &self.url)).expect("a URL");
        self.http.fetch(FetchRequest { url: &url, ..request }).await
    }
}

/// A resource server for [`RESOURCE`].
pub(crate) struct ResourceServer {
    verifier: Verifier,
    exchange: web::Data<KeyExchange>,
}

impl ResourceServer {
    /// One that trusts the service.
    pub(crate) fn beside(app: &TestApp) -> Self {
        let url = listen(app);
        let http = HttpFetch::new(HttpFetchSettings::default()).unwrap();
        let exchange = KeyExchange::new(&url, RESOURCE, app.clock.clone()).with_keys_in_query();
        let verifier = Verifier::builder(ISSUER).audience(RESOURCE).clock(app.clock.clone());
        let verifier = verifier.fetch(At { url, http }).build().unwrap();
        Self { verifier, exchange: web::Data::new(exchange) }
    }

    /// Asks it for what a token with the scope `read` opens.
    pub(crate) async fn products(&self, token: &str) -> Answer {
        self.send(TestRequest::get().uri("/products").insert_header(bearer(token))).await
    }

    /// Sends it a request.
    pub(crate) async fn send(&self, request: TestRequest) -> Answer {
        let service = init_service(
            App::new()
                .app_data(web::Data::new(self.verifier.clone()))
                .app_data(self.exchange.clone())
                .wrap(from_fn(exchange_api_key))
                .configure(api::configure),
        )
        .await;
        match try_call_service(&service, request.to_request()).await {
            Ok(response) => Answer::read(response).await,
            Err(error) => Answer::of(error.error_response()).await,
        }
    }
}
