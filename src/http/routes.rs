//! The URL table: every route of the public listener on one page. Paths with several methods stand together.
//! Where GET needs no admin scope, HEAD is answered too, by the same handler (RFC 9110, section 9.3.2).

use std::sync::LazyLock;

use actix_web::guard;
use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::{HttpRequest, Route, web};

use super::cors::{self, Cors, Open};
use super::identify::Identify;
use super::nowhere::{not_by, not_found};
use super::observe::Observe;
use super::pages::{console, portal};
use super::{State, admin, apps, limits, pages, publish, token, userinfo, users};
use crate::config::AdminListener;

/// One route.
pub struct Served {
    /// The method.
    pub method: Method,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// The admin scope it needs; none means that the route itself decides.
    pub scope: Option<&'static str>,
    /// The query parameters that it takes. Of a route that needs an admin scope these are all; others look for themselves.
    pub query: &'static [&'static str],
    pub(super) route: fn() -> Route,
}

const KEYS: Option<&str> = Some("signet:keys");
const CLIENTS: Option<&str> = Some("signet:clients");
const USERS: Option<&str> = Some("signet:users");
const API_KEYS: Option<&str> = Some("signet:api-keys");
const REVOCATIONS: Option<&str> = Some("signet:revocations");
const AUDIT: Option<&str> = Some("signet:audit");

/// How a page of a list is asked for.
const PAGE: &[&str] = &["after", "limit"];
const SEARCH: &[&str] = &["event", "actor", "subject", "before", "limit"];

/// Every route. What is not here is not served. They are tried in this order: the busiest come first.
static TABLE: &[Served] = &[
    post("/oauth2/token", None, || web::post().to(token::standard)),
    get("/.well-known/jwks.json", None, || read().to(publish::jwks)),
    post("/oauth/token", None, || web::post().to(token::oauth_token)),
    get("/oauth/token", None, || read().to(token::oauth_token_get)),
    post("/auth/token", None, || web::post().to(token::auth_token)),
    post("/api/token.php", None, || web::post().to(token::php)),
    post("/oauth2/revoke", None, || web::post().to(token::revoke)),
    post("/oauth/revoke", None, || web::post().to(token::oauth_revoke)),
    get("/oauth2/authorize", None, || read().to(pages::authorize::standard)),
    post("/oauth2/authorize", None, || web::post().to(pages::authorize::standard)),
    get("/oauth/authorize", None, || read().to(pages::authorize::oauth)),
    post("/oauth/authorize", None, || web::post().to(pages::authorize::oauth)),
    get("/api/authorize.php", None, || read().to(pages::authorize::php)),
    post("/api/authorize.php", None, || web::post().to(pages::authorize::php)),
    post("/oauth2/sign-in", None, || web::post().to(pages::sign_in::sign_in)),
    post("/oauth2/second-factor", None, || web::post().to(pages::sign_in::second_factor)),
    post("/oauth2/consent", None, || web::post().to(pages::authorize::consent)),
    get("/oauth2/logout", None, || read().to(pages::sign_out::logout)),
    post("/oauth2/logout", None, || web::post().to(pages::sign_out::logout_by_post)),
    post("/oauth2/sign-out", None, || web::post().to(pages::sign_out::sign_out)),
    get("/assets/{name}", None, || read().to(pages::asset)),
    get("/", None, || read().to(portal::front)),
    get("/account", None, || read().to(portal::profile::get)),
    post("/account", None, || web::post().to(portal::profile::act)),
    get("/account/email", None, || read().to(portal::email::get)),
    post("/account/email", None, || web::post().to(portal::email::act)),
    get("/account/password", None, || read().to(portal::password::get)),
    post("/account/password", None, || web::post().to(portal::password::act)),
    get("/account/second-factor", None, || read().to(portal::second_factor::get)),
    post("/account/second-factor", None, || web::post().to(portal::second_factor::act)),
    get("/account/sessions", None, || read().to(portal::sessions::get)),
    post("/account/sessions", None, || web::post().to(portal::sessions::act)),
    get("/account/consents", None, || read().to(portal::consents::get)),
    post("/account/consents", None, || web::post().to(portal::consents::act)),
    get("/account/api-keys", None, || read().to(portal::api_keys::get)),
    post("/account/api-keys", None, || web::post().to(portal::api_keys::act)),
    get("/account/applications", None, || read().to(portal::applications::list)),
    post("/account/applications", None, || web::post().to(portal::applications::register)),
    get("/account/applications/{client_id}", None, || read().to(portal::applications::one)),
    post("/account/applications/{client_id}", None, || web::post().to(portal::applications::act)),
    get("/console", None, || read().to(console::overview::get)),
    get("/console/keys", None, || read().to(console::keys::list)),
    get("/console/keys/rotate", None, || read().to(console::keys::ask_rotation)),
    post("/console/keys/rotate", None, || web::post().to(console::keys::rotate)),
    get("/console/keys/{kid}/compromise", None, || read().to(console::keys::ask_compromise)),
    post("/console/keys/{kid}/compromise", None, || web::post().to(console::keys::compromise)),
    get("/console/clients", None, || read().to(console::clients::list)),
    get("/console/new-client", None, || read().to(console::clients::new)),
    post("/console/new-client", None, || web::post().to(console::clients::register)),
    get("/console/clients/{client_id}", None, || read().to(console::clients::one)),
    post("/console/clients/{client_id}", None, || web::post().to(console::clients::act)),
    get("/console/users", None, || read().to(console::users::list)),
    get("/console/new-user", None, || read().to(console::users::new)),
    post("/console/new-user", None, || web::post().to(console::users::register)),
    get("/console/users/{id}", None, || read().to(console::user::one)),
    post("/console/users/{id}", None, || web::post().to(console::user::act)),
    get("/console/resources", None, || read().to(console::resources::get)),
    get("/console/revocations", None, || read().to(console::revocations::get)),
    post("/console/revocations", None, || web::post().to(console::revocations::act)),
    get("/console/audit", None, || read().to(console::audit::get)),
    get("/oauth2/userinfo", None, || read().to(userinfo::standard)),
    post("/oauth2/userinfo", None, || web::post().to(userinfo::standard)),
    get("/api/userinfo.php", None, || read().to(userinfo::php)),
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
    get("/admin/clients", CLIENTS, || web::get().to(admin::clients::list)).taking(PAGE),
    post("/admin/clients", CLIENTS, || web::post().to(admin::clients::register)),
    get("/admin/clients/{client_id}", CLIENTS, || web::get().to(admin::clients::show)),
    patch("/admin/clients/{client_id}", CLIENTS, || web::patch().to(admin::clients::change)),
    delete("/admin/clients/{client_id}", CLIENTS, || web::delete().to(admin::clients::delete)),
    post("/admin/clients/{client_id}/secret", CLIENTS, || web::post().to(admin::clients::rotate_secret)),
    get("/admin/users", USERS, || web::get().to(admin::users::list)).taking(&["limit", "offset", "email"]),
    post("/admin/users", USERS, || web::post().to(admin::users::register)),
    get("/admin/users/{id}", USERS, || web::get().to(admin::users::show)),
    patch("/admin/users/{id}", USERS, || web::patch().to(admin::users::change)),
    delete("/admin/users/{id}", USERS, || web::delete().to(admin::users::delete)),
    delete("/admin/users/{id}/second-factor", USERS, || web::delete().to(admin::users::remove_second_factor)),
    get("/admin/api-keys", API_KEYS, || web::get().to(admin::api_keys::list)).taking(PAGE),
    post("/admin/api-keys", API_KEYS, || web::post().to(admin::api_keys::create)),
    delete("/admin/api-keys/{id}", API_KEYS, || web::delete().to(admin::api_keys::revoke)),
    post("/admin/backup", KEYS, || web::post().to(admin::copies::begin)),
    get("/admin/nodes", KEYS, || web::get().to(admin::nodes::list)),
    get("/admin/revocations", REVOCATIONS, || web::get().to(admin::revocations::list)).taking(PAGE),
    post("/admin/revocations", REVOCATIONS, || web::post().to(admin::revocations::revoke)),
    get("/admin/audit", AUDIT, || web::get().to(admin::audit::search)).taking(SEARCH),
];

/// Every route of the public listener.
#[must_use]
pub fn served() -> &'static [Served] {
    TABLE
}

/// The paths of the table, each once.
pub(crate) static PATHS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let mut paths: Vec<&str> = TABLE.iter().map(|served| served.path).collect();
    paths.dedup();
    paths
});

/// GET and HEAD; the server leaves out the body of an answer to HEAD.
pub(super) fn read() -> Route {
    web::route().guard(guard::fn_guard(|context| matches!(context.head().method, Method::GET | Method::HEAD)))
}

const fn get(path: &'static str, scope: Option<&'static str>, route: fn() -> Route) -> Served {
    Served { method: Method::GET, path, scope, query: &[], route }
}

const fn post(path: &'static str, scope: Option<&'static str>, route: fn() -> Route) -> Served {
    Served { method: Method::POST, path, scope, query: &[], route }
}

const fn put(path: &'static str, scope: Option<&'static str>, route: fn() -> Route) -> Served {
    Served { method: Method::PUT, path, scope, query: &[], route }
}

const fn patch(path: &'static str, scope: Option<&'static str>, route: fn() -> Route) -> Served {
    Served { method: Method::PATCH, path, scope, query: &[], route }
}

const fn delete(path: &'static str, scope: Option<&'static str>, route: fn() -> Route) -> Served {
    Served { method: Method::DELETE, path, scope, query: &[], route }
}

impl Served {
    const fn taking(mut self, query: &'static [&'static str]) -> Self {
        self.query = query;
        self
    }
}

/// Whether a path of the table belongs to the admin API.
pub(super) fn administers(path: &str) -> bool {
    path.starts_with("/admin")
}

/// Registers every route of the table, without those of the admin API if another listener has them, and an answer for whatever
/// is not there. Where the issuer has a path, each is served below it too: as the metadata name it, and as a proxy asks that
/// takes the issuer's path away.
pub fn configure(state: web::Data<State>) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        let has_admin = state.admin_listener == AdminListener::Public;
        for path in PATHS.iter().filter(|path| has_admin || !administers(path)) {
            register(config, path, &state);
        }
        if has_admin {
            register_rest_of_admin(config, &state);
        }
        register_rest(config, &state);
        config.app_data(state);
        config.default_service(web::to(not_found));
    }
}

/// Registers the admin API alone, as it would be among the other routes.
pub(super) fn configure_admin(config: &mut web::ServiceConfig, state: &web::Data<State>) {
    for path in PATHS.iter().filter(|path| administers(path)) {
        register(config, path, state);
    }
    register_rest_of_admin(config, state);
}

/// One path with all its methods.
fn register(config: &mut web::ServiceConfig, path: &'static str, state: &web::Data<State>) {
    let routes = || TABLE.iter().filter(|each| each.path == path);
    let mut methods: Vec<&str> = routes().map(|each| each.method.as_str()).collect();
    if routes().any(|each| each.method == Method::GET && each.scope.is_none()) {
        methods.push(Method::HEAD.as_str());
    }
    let allow = methods.join(", ");
    let open = Open::of(path);
    let mut resource = web::resource(places(&state.frame.base, path)).default_service(web::to(
        move |state: web::Data<State>, request: HttpRequest| {
            let response = cors::preflight(open, &state, &request)
                .unwrap_or_else(|| not_by(request.method(), &state, (path, &allow)));
            async { response }
        },
    ));
    for served in routes() {
        resource = resource.route((served.route)());
    }
    let observe = Observe { route: path, timed: !publish::is_in_memory(path), state: state.clone() };
    let identify = Identify { state: state.clone() };
    if administers(path) {
        config.service(resource.wrap(from_fn(admin::guard)).wrap(identify).wrap(observe));
    } else if path.starts_with("/account") || path.starts_with("/console") {
        config.service(resource.wrap(from_fn(pages::guard)).wrap(identify).wrap(observe));
    } else if limits::guards(path) {
        config.service(resource.wrap(from_fn(limits::guard)).wrap(identify).wrap(observe));
    } else if path.starts_with("/users") || path.starts_with("/v1/users") {
        config.service(resource.wrap(from_fn(users::guard)).wrap(identify).wrap(observe));
    } else if publish::is_published(path) {
        config.service(resource.wrap(Cors { open, state: state.clone() }).wrap(observe));
    } else if open != Open::No {
        config.service(resource.wrap(Cors { open, state: state.clone() }).wrap(identify).wrap(observe));
    } else {
        config.service(resource.wrap(identify).wrap(observe));
    }
}

/// The patterns by which a path of the table is served, itself first: that is the one which guards ask for. One alone is
/// matched without a set of expressions, as cheaply as can be.
fn places(base: &str, path: &str) -> Vec<String> {
    match path.strip_suffix("{path}") {
        // It names the issuer's path already; that may have several segments, which a plain parameter doesn't.
        Some(start) => vec![format!("{start}{{path:.*}}")],
        None if base.is_empty() => vec![path.to_owned()],
        // What the issuer itself names: the front page, with or without a slash.
        None if path == "/" => vec![path.to_owned(), format!("{base}/"), base.to_owned()],
        None => vec![path.to_owned(), format!("{base}{path}")],
    }
}

/// A request's path as the table has it, without the issuer's path `base`, if it came with that.
pub(super) fn path_of_table<'a>(request: &'a HttpRequest, base: &str) -> &'a str {
    let path = request.path();
    let pattern = request.match_pattern().unwrap_or_default();
    // A pattern without parameters is all of the path. Those with parameters begin in a way in which no issuer's path does.
    let is_of = |path: &str| match pattern.split_once('{') {
        Some((start, _)) => path.starts_with(start),
        None => path == pattern,
    };
    match path.strip_prefix(base) {
        Some(rest) if !is_of(path) => {
            if rest.is_empty() {
                "/"
            } else {
                rest
            }
        }
        _ => path,
    }
}

/// What is below the guarded paths and not in the table: guarded as they are, so that a stranger does not learn there which
/// paths exist, and an API key's limit counts and is told there too.
fn register_rest(config: &mut web::ServiceConfig, state: &web::Data<State>) {
    let rest =
        |path: &str| web::resource(places(&state.frame.base, path)).default_service(web::to(not_found));
    let identify = || Identify { state: state.clone() };
    let observe = || Observe { route: "other", timed: true, state: state.clone() };
    for path in ["/account/{rest:.*}", "/console/{rest:.*}"] {
        let page =
            web::resource(places(&state.frame.base, path)).default_service(web::to(pages::nothing_here));
        config.service(page.wrap(from_fn(pages::guard)).wrap(identify()).wrap(observe()));
    }
    for path in ["/users/{rest:.*}", "/v1/users/{rest:.*}"] {
        config.service(rest(path).wrap(from_fn(users::guard)).wrap(identify()).wrap(observe()));
    }
}

/// As [`register_rest`], for the admin API.
fn register_rest_of_admin(config: &mut web::ServiceConfig, state: &web::Data<State>) {
    for path in ["/admin", "/admin/{rest:.*}"] {
        let rest = web::resource(places(&state.frame.base, path)).default_service(web::to(not_found));
        let observe = Observe { route: "other", timed: true, state: state.clone() };
        config
            .service(rest.wrap(from_fn(admin::guard)).wrap(Identify { state: state.clone() }).wrap(observe));
    }
}
