//! The one integration-test binary.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that can't go on has failed")]

mod accounts;
mod administration;
mod api_keys;
mod apps;
mod architecture;
mod authorize;
mod browser;
mod cli;
mod codes;
mod console;
mod contract;
mod crash;
mod crash_grants;
mod dialects;
mod document_002;
#[path = "../../examples/resource_server/exchange.rs"]
mod exchange;
mod first_start;
mod forged_introspection;
mod forged_tokens;
mod forgeries;
mod grants_fixture;
mod hostile_pages;
mod key_exchange;
mod key_ring;
mod key_ring_crashes;
mod key_ring_fixture;
mod kill;
mod limits;
mod openapi;
mod over_http;
mod people_clients;
mod portal;
mod process;
mod publication;
mod refresh_tokens;
mod revocation;
mod rotation;
mod shell;
mod sign_in;
mod sign_out;
mod signed_in;
mod signer_contract;
mod store_contract;
mod storms;
#[path = "../support/mod.rs"]
mod support;
mod test_app;
mod token;
mod userinfo;
mod users_cli;
