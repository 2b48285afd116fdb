//! The management listener: metrics and health, on an address of its own.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpResponse, Route, web};

use super::routes::{method_not_allowed, nothing_here, read};
use super::{State, reply};
use crate::protocol;

/// A path and what answers there.
type Managed = (&'static str, fn() -> Route);

/// Every path, each for GET and HEAD. What is not here is not served.
static TABLE: [Managed; 3] = [
    ("/metrics", || read().to(metrics)),
    ("/health/live", || read().to(live)),
    ("/health/ready", || read().to(ready)),
];

/// Every path of the management listener.
pub fn managed() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(path, _)| *path)
}

/// Registers the management routes.
pub fn configure(config: &mut web::ServiceConfig) {
    for (path, route) in &TABLE {
        let path = *path;
        let others = web::to(move || async move { method_not_allowed(path, "GET, HEAD") });
        config.service(web::resource(path).route(route()).default_service(others));
    }
    config.default_service(web::to(async || reply::refusal(&nothing_here())));
}

/// The text format of Prometheus.
async fn metrics(state: web::Data<State>) -> HttpResponse {
    protocol::measure(&state.services, &state.metrics);
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"))
        .body(state.metrics.render())
}

/// The event loop turns. Nothing else is asked: a shared dependency must not restart every node at once.
async fn live() -> HttpResponse {
    reply::json(StatusCode::OK, &serde_json::json!({ "status": "live" }))
}

/// Whether tokens can be issued and acts recorded here.
async fn ready(state: web::Data<State>) -> HttpResponse {
    let health = protocol::health(&state.services).await;
    reply::json(if health.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &health)
}
