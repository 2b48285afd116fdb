//! The management listener: metrics and health, on an address of its own.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpResponse, web};

use super::{State, reply};
use crate::protocol;

/// Registers the management routes.
pub fn configure(config: &mut web::ServiceConfig) {
    config
        .route("/metrics", web::get().to(metrics))
        .route("/health/live", web::get().to(live))
        .route("/health/ready", web::get().to(ready))
        .default_service(web::to(HttpResponse::NotFound));
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
