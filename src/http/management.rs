//! The management listener: metrics and health, and the admin API if the settings say so, on an address of its own.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpResponse, Route, web};

use super::nowhere::{method_not_allowed, nothing_here};
use super::routes::{configure_admin, read};
use super::{State, reply};
use crate::config::AdminListener;
use crate::protocol;

/// A path and what answers there.
type Managed = (&'static str, fn() -> Route);

/// Every path of its own, each for GET and HEAD. What is not here is not served.
static TABLE: [Managed; 3] = [
    ("/metrics", || read().to(metrics)),
    ("/health/live", || read().to(live)),
    ("/health/ready", || read().to(ready)),
];

/// Every path that the management listener has for itself.
pub fn managed() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(path, _)| *path)
}

/// Registers the management routes.
pub fn configure(state: web::Data<State>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        for (path, route) in &TABLE {
            let path = *path;
            let others = web::to(move || async move { method_not_allowed(path, "GET, HEAD") });
            config.service(web::resource(path).route(route()).default_service(others));
        }
        if state.admin_listener == AdminListener::Management {
            configure_admin(config, &state);
        }
        config.app_data(state);
        config.default_service(web::to(async || reply::refusal(&nothing_here())));
    }
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
    let health = state.looks.ask(async || protocol::health(&state.services).await).await;
    reply::json(if health.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, &health)
}
