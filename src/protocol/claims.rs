//! What a client may learn of a person, claim by claim (OpenID Connect Core 1.0, sections 5.1 and 5.4).

use serde_json::{Map, Value, json};

use crate::oauth::Scope;
use crate::users::Account;

/// The claims that each scope token stands for (section 5.4).
const BY_SCOPE: [(&str, &[&str]); 4] = [
    (
        "profile",
        &[
            "name",
            "family_name",
            "given_name",
            "middle_name",
            "nickname",
            "preferred_username",
            "profile",
            "picture",
            "website",
            "gender",
            "birthdate",
            "zoneinfo",
            "locale",
            "updated_at",
        ],
    ),
    ("email", &["email", "email_verified"]),
    ("address", &["address"]),
    ("phone", &["phone_number", "phone_number_verified"]),
];

/// The claims that an ID token has by itself.
pub(super) const TOKEN: [&str; 11] =
    ["sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", "at_hash"];

/// Every claim about a person that can be asked for.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    BY_SCOPE.iter().flat_map(|(_, claims)| claims.iter().copied())
}

/// The scope token that stands for a claim.
pub(super) fn scope_of(claim: &str) -> Option<&'static str> {
    BY_SCOPE.iter().find(|(_, claims)| claims.contains(&claim)).map(|(scope, _)| *scope)
}

/// The claims that `scope` stands for, as far as they are known; without `sub`.
#[must_use]
pub(super) fn of_scope(account: &Account, scope: &Scope) -> Map<String, Value> {
    let mut all = all(account);
    all.retain(|claim, value| !value.is_null() && scope_of(claim).is_some_and(|token| scope.contains(token)));
    all
}

/// The claims that the member `id_token` of a `claims` parameter names, as far as `scope` covers them (section
/// 5.5). Whether they are essential makes no difference, and a value that is asked for is not promised.
#[must_use]
pub(super) fn for_id_token(
    account: &Account,
    scope: &Scope,
    parameter: Option<&Value>,
) -> Map<String, Value> {
    let named = parameter.and_then(|claims| claims.get("id_token"));
    let mut claims = of_scope(account, scope);
    claims.retain(|claim, _| named.is_some_and(|named| named.get(claim).is_some()));
    claims
}

fn all(account: &Account) -> Map<String, Value> {
    let profile = &account.profile;
    let username = account.preferred_username.as_ref().map(crate::users::Username::as_str);
    let updated_at = account.updated_at.unwrap_or(account.created_at).timestamp();
    let claims = json!({
        "name": account.name,
        "family_name": profile.family_name,
        "given_name": profile.given_name,
        "middle_name": profile.middle_name,
        "nickname": profile.nickname,
        "preferred_username": username,
        "profile": profile.profile,
        "picture": profile.picture,
        "website": profile.website,
        "gender": profile.gender,
        "birthdate": profile.birthdate,
        "zoneinfo": profile.zoneinfo,
        "locale": profile.locale,
        "updated_at": updated_at,
        "email": account.email.as_str(),
        "email_verified": account.email_verified,
        "address": profile.address,
        "phone_number": profile.phone_number,
        "phone_number_verified": profile.phone_number_verified,
    });
    match claims {
        Value::Object(claims) => claims,
        _ => Map::new(),
    }
}
