//! What the audit log tells of a change: of members that matter for security what they were and became, of people no
//! more than is needed, of everything else the name.

use serde_json::Value;

use crate::audit::{Difference, Told};
use crate::clients::Client;
use crate::keys::Digests;
use crate::protocol::ProtocolError;
use crate::users::{Account, Email};

/// Of two states of a client. Queries of addresses, which may hold somebody's secret, stand as digests.
pub(super) fn of_client(
    digests: &Digests,
    before: &Client,
    after: &Client,
) -> Result<Difference, ProtocolError> {
    let tell = |name: &str, value: &Value| match name {
        // Whoever renames what nobody has looked at may mean to deceive people.
        "client_name" if !before.is_vouched_for() => Told::Value(value.clone()),
        _ => client_member(digests, name, value),
    };
    Difference::between(before, after, tell).map_err(ProtocolError::server_error)
}

/// Of two states of an account. Two events about the same e-mail address show the same digest of it.
pub(in crate::protocol) fn of_account(
    digests: &Digests,
    before: &Account,
    after: &Account,
) -> Result<Difference, ProtocolError> {
    let tell = |name: &str, value: &Value| account_member(digests, name, value);
    Difference::between(before, after, tell).map_err(ProtocolError::server_error)
}

/// What stands in the log instead of an e-mail address, whatever the case of its letters.
pub(in crate::protocol) fn of_email(digests: &Digests, email: &Email) -> String {
    digests.of("e-mail address", &email.normalized())
}

fn client_member(digests: &Digests, name: &str, value: &Value) -> Told {
    match name {
        "updated_at" => Told::Nothing,
        // One by one: a long scope would be cut.
        "scope" | "default_scope" => Told::Value(words(value)),
        "resources"
        | "audience_of"
        | "redirect_uris"
        | "post_logout_redirect_uris"
        | "backchannel_logout_uri" => Told::Value(without_queries(digests, value)),
        "grant_types"
        | "access_token_lifetime"
        | "access_token_signing_alg"
        | "token_endpoint_auth_method"
        | "require_pkce"
        | "consent"
        | "backchannel_logout_session_required"
        | "id_token_signed_response_alg"
        | "allowed_origins" => Told::Value(value.clone()),
        _ => Told::Name,
    }
}

fn account_member(digests: &Digests, name: &str, value: &Value) -> Told {
    match (name, value) {
        ("updated_at" | "sign_in_generation", _) => Told::Nothing,
        ("administrator" | "disabled" | "email_verified" | "email_self_asserted", _) => {
            Told::Value(value.clone())
        }
        ("email", Value::String(text)) => match Email::parse(text) {
            Ok(email) => Told::Value(of_email(digests, &email).into()),
            Err(_) => Told::Name,
        },
        _ => Told::Name,
    }
}

/// Of an address, or a list of them, with a digest for each query.
fn without_queries(digests: &Digests, value: &Value) -> Value {
    match value {
        Value::Array(uris) => uris.iter().map(|uri| without_queries(digests, uri)).collect(),
        Value::String(uri) => match uri.split_once('?') {
            Some((page, query)) => format!("{page}?digest={}", digests.of("query", query)).into(),
            None => value.clone(),
        },
        _ => value.clone(),
    }
}

fn words(value: &Value) -> Value {
    value.as_str().map_or_else(|| value.clone(), |text| text.split(' ').collect())
}
