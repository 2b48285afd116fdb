//! Fuzz targets for everything that Signet reads from the network, from its operator or from its store. A target is a
//! plain function over bytes that panics where a property is broken; libFuzzer and the run over the corpora are two
//! thin front ends to them. `docs/decisions/0019-fuzzing.md` says why it is made this way.
#![expect(
    clippy::expect_used,
    reason = "a target that can't go on has found something, or was built wrongly"
)]

pub mod differential;
mod issuer;
mod members;
mod people;
mod second;
mod service;
mod target;

// The forged tokens of the integration tests, and the attacker's keys in them.
#[expect(
    clippy::unwrap_used,
    clippy::pedantic,
    reason = "made for the integration tests, of which a part is used here"
)]
#[path = "../../tests/integration/forgeries.rs"]
mod forgeries;
#[path = "../../tests/support/mod.rs"]
mod support;

use target::{
    admin, browser, connection, credentials, hint, jwt, network, operator, published, resource_server, steps,
    token, values,
};

/// What is fuzzed.
#[derive(Clone, Copy)]
pub struct Target {
    /// The name of its corpus.
    pub name: &'static str,
    /// Reads the bytes as whatever the target is about; panics where a property is broken.
    pub run: fn(&[u8]),
}

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}

/// Every target.
pub static TARGETS: &[Target] = &[
    target("scope", values::scope),
    target("identifiers", values::identifiers),
    target("redirect_uri", values::redirect_uri),
    target("pkce", values::pkce),
    target("heads", connection::heads),
    target("requests", connection::requests),
    target("forwarded", network::forwarded),
    target("request_id", network::request_id),
    target("outgoing_url", network::outgoing_url),
    target("cache_control", network::cache_control),
    target("jwt", jwt::raw),
    target("jwt_signed", jwt::signed_claims),
    target("jwks", published::jwks),
    target("metadata", published::metadata),
    target("status_list", published::status_list),
    target("status_bits", published::status_bits),
    target("settings", operator::settings),
    target("import_key", operator::import_key),
    target("stored_record", operator::stored_record),
    target("token_form", token::form),
    target("token_json", token::json),
    target("token_multipart", token::multipart),
    target("register_app", token::app),
    target("client_auth", credentials::client),
    target("api_credentials", credentials::api),
    target("cookie", credentials::cookie),
    target("bearer", resource_server::bearer),
    target("authorize", browser::authorize),
    target("logout", browser::logout),
    target("signed_hint", hint::signed_hint),
    target("page_form", browser::page_form),
    target("step_form", steps::step_form),
    target("shown_form", browser::shown_form),
    target("register_client", admin::client),
    target("admin_api", admin::api),
    target("users_api", admin::users),
    target("request", admin::request),
];

/// The target of that name.
#[must_use]
pub fn find(name: &str) -> Option<Target> {
    TARGETS.iter().copied().find(|target| target.name == name)
}
