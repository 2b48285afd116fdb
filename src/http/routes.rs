//! The URL table: every route of the public listener on one page. Paths with several methods stand together.
//! Where GET needs no admin scope, HEAD is answered too, by the same handler (RFC 9110, section 9.3.2).

use std::sync::LazyLock;

use actix_web::guard;
use actix_web::http::Method;
use actix_web::http::header;
use actix_web::middleware::from_fn;
use actix_web::{HttpResponse, Route, web};

use super::observe::Observe;
use super::{admin, apps, body, limits, publish, reply, token, users};
use crate::oauth::ErrorCode;
use crate::protocol::ProtocolError;

/// One route.
pub struct Served {
    /// The method.
    pub method: Method,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// The admin scope it needs; none means that the route itself decides.
    pub scope: Option<&'static str>,
    route: fn() -> Route,
}

const KEYS: Option<&str> = Some("signet:keys");
const CLIENTS: Option<&str> = Some("signet:clients");
const USERS: Option<&str> = Some("signet:users");
const API_KEYS: Option<&str> = Some("signet:api-keys");
const REVOCATIONS: Option<&str> = Some("signet:revocations");

/// Every route. What is not here is not served. They are tried in this order: the busiest come first.
static TABLE: [Served; 46] = [
    post("/oauth2/token", None, || web::post().to(token::standard)),
    get("/.well-known/jwks.json", None, || read().to(publish::jwks)),
    post("/oauth/token", None, || web::post().to(token::oauth_token)),
    get("/oauth/token", None, || read().to(token::oauth_token_get)),
    post("/auth/token", None, || web::post().to(token::auth_token)),
    post("/api/token.php", None, || web::post().to(token::php)),
    post("/oauth2/revoke", None, || web::post().to(token::revoke)),
    post("/oauth/revoke", None, || web::post().to(token::oauth_revoke)),
    post("/oauth2/introspect", None, || web::post().to(token::introspect)),
    get("/.well-known/oauth-authorization-server", None, || read().to(publish::metadata)),
    get("/.well-known/oauth-authorization-server/{path}", None, || read().to(publish::metadata_of_path)),
    get("/.well-known/openid-configuration", None, || read().to(publish::metadata)),
    get("/status", None, || read().to(publish::status_lists)),
    get("/status/{id}", None, || read().to(publish::status_list)),
    get("/users", None, || read().to(users::list)),
    post("/users", None, || web::post().to(users::register)),
    get("/users/{id}", None, || read().to(users::show)),
    put("/users/{id}", None, || web::put().to(users::change)),
    delete("/users/{id}", None, || web::delete().to(users::delete)),
    get("/v1/users", None, || read().to(users::list)),
    post("/v1/users", None, || web::post().to(users::register)),
    get("/v1/users/{id}", None, || read().to(users::show)),
    put("/v1/users/{id}", None, || web::put().to(users::change)),
    delete("/v1/users/{id}", None, || web::delete().to(users::delete)),
    post("/api/v1/apps", None, || web::post().to(apps::register)),
    get("/api/v1/apps/verify_credentials", None, || read().to(apps::verify_credentials)),
    get("/admin/keys", KEYS, || web::get().to(admin::keys::list)),
    get("/admin/keys/plan", KEYS, || web::get().to(admin::keys::plan)),
    post("/admin/keys/rotate", KEYS, || web::post().to(admin::keys::rotate)),
    post("/admin/keys/import", KEYS, || web::post().to(admin::keys::import)),
    post("/admin/keys/{kid}/compromise", KEYS, || web::post().to(admin::keys::compromise)),
    get("/admin/clients", CLIENTS, || web::get().to(admin::clients::list)),
    post("/admin/clients", CLIENTS, || web::post().to(admin::clients::register)),
    get("/admin/clients/{client_id}", CLIENTS, || web::get().to(admin::clients::show)),
    patch("/admin/clients/{client_id}", CLIENTS, || web::patch().to(admin::clients::change)),
    delete("/admin/clients/{client_id}", CLIENTS, || web::delete().to(admin::clients::delete)),
    post("/admin/clients/{client_id}/secret", CLIENTS, || web::post().to(admin::clients::rotate_secret)),
    get("/admin/users", USERS, || web::get().to(admin::users::list)),
    post("/admin/users", USERS, || web::post().to(admin::users::register)),
    get("/admin/users/{id}", USERS, || web::get().to(admin::users::show)),
    patch("/admin/users/{id}", USERS, || web::patch().to(admin::users::change)),
    delete("/admin/users/{id}", USERS, || web::delete().to(admin::users::delete)),
    get("/admin/api-keys", API_KEYS, || web::get().to(admin::api_keys::list)),
    post("/admin/api-keys", API_KEYS, || web::post().to(admin::api_keys::create)),
    delete("/admin/api-keys/{id}", API_KEYS, || web::delete().to(admin::api_keys::revoke)),
    post("/admin/revocations", REVOCATIONS, || web::post().to(admin::revocations::revoke)),
];

/// Every route of the public listener.
#[must_use]
pub fn served() -> &'static [Served] {
    &TABLE
}

/// The paths of the table, each once.
pub(crate) static PATHS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let mut paths: Vec<&str> = TABLE.iter().map(|served| served.path).collect();
    paths.dedup();
    paths
});

/// GET and HEAD; the server leaves out the body of an answer to HEAD.
fn read() -> Route {
    web::route().guard(guard::fn_guard(|context| matches!(context.head().method, Method::GET | Method::HEAD)))
}

const fn get(path: &'static str, scope: Option<&'static str>, route: fn() -> Route) -> Served {
    Served { method: Method::GET, path, scope, route }
}

const fn post(path: &'static str, scope: Option<&'static str>, route: fn() -> Route) -> Served {
    Served { method: Method::POST, path, scope, route }
}

const fn put(path: &'static str, scope: Option<&'static str>, route: fn() -> Route) -> Served {
    Served { method: Method::PUT, path, scope, route }
}

const fn patch(path: &'static str, scope: Option<&'static str>, route: fn() -> Route) -> Served {
    Served { method: Method::PATCH, path, scope, route }
}

const fn delete(path: &'static str, scope: Option<&'static str>, route: fn() -> Route) -> Served {
    Served { method: Method::DELETE, path, scope, route }
}

/// The admin scope that a route of the table needs.
pub(super) fn admin_scope(method: &Method, path: &str) -> Option<&'static str> {
    TABLE.iter().find(|each| each.method == *method && each.path == path).and_then(|each| each.scope)
}

/// Registers every route of the table, and an answer for whatever is not in it.
pub fn configure(config: &mut web::ServiceConfig) {
    config.app_data(web::PayloadConfig::new(body::MAX_BODY));
    for path in PATHS.iter() {
        register(config, path);
    }
    config.default_service(web::to(not_found));
}

/// One path with all its methods.
fn register(config: &mut web::ServiceConfig, path: &'static str) {
    let routes = || TABLE.iter().filter(|each| each.path == path);
    let mut methods: Vec<&str> = routes().map(|each| each.method.as_str()).collect();
    if routes().any(|each| each.method == Method::GET && each.scope.is_none()) {
        methods.push(Method::HEAD.as_str());
    }
    let allow = methods.join(", ");
    // An issuer's path may have several segments, which a plain parameter doesn't.
    let mut resource =
        web::resource(path.replace("{path}", "{path:.*}")).default_service(web::to(move || {
            let response = method_not_allowed(&allow);
            async { response }
        }));
    for served in routes() {
        resource = resource.route((served.route)());
    }
    let observe = Observe { route: path };
    if path.starts_with("/admin") {
        config.service(resource.wrap(from_fn(admin::guard)).wrap(observe));
    } else if limits::guards(path) {
        config.service(resource.wrap(from_fn(limits::guard)).wrap(observe));
    } else if path.starts_with("/users") || path.starts_with("/v1/users") {
        config.service(resource.wrap(from_fn(users::guard)).wrap(observe));
    } else {
        config.service(resource.wrap(observe));
    }
}

/// RFC 9110, section 15.5.6.
fn method_not_allowed(allow: &str) -> HttpResponse {
    let mut response = reply::refusal(&ProtocolError::invalid_request("the method is not allowed here"));
    *response.status_mut() = actix_web::http::StatusCode::METHOD_NOT_ALLOWED;
    if let Ok(allow) = header::HeaderValue::from_str(allow) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

async fn not_found() -> HttpResponse {
    reply::refusal(&ProtocolError::new(ErrorCode::NotFound, "there is nothing here"))
}
