//! The userinfo endpoint (OpenID Connect Core 1.0, section 5.3).

use serde_json::{Map, Value};

use super::{ProtocolError, Services, claims};
use crate::oauth::{ErrorCode, Scope, UserId};
use crate::users::Account;

/// What an access token lets its holder know of a person: `sub`, and what its scope stands for.
///
/// # Errors
/// `invalid_token` when it is not a live token of a person whose account is there and not disabled,
/// `insufficient_scope` without `openid` (RFC 6750, section 3.1); `temporarily_unavailable` when this node can't know whether
/// the token counts; the store's.
pub async fn userinfo(services: &Services, token: &str) -> Result<Map<String, Value>, ProtocolError> {
    let (account, scope) = person(services, token).await?;
    let mut answer = claims::of_scope(&account, &scope);
    answer.insert("sub".to_owned(), account.id.as_str().into());
    Ok(answer)
}

/// What an older document's clients learn: three members, `null` where the scope does not cover one.
#[derive(Debug, serde::Serialize)]
pub struct PlainUserinfo {
    /// The user name, else the e-mail address, else the account's identifier.
    pub username: String,
    /// The e-mail address, unless only the person says that it is theirs.
    pub email: Option<String>,
    /// The name.
    pub full_name: Option<String>,
}

/// The same in an older document's words. They have none for "not verified", and a client of that document knows people by
/// what it reads here: an address that the person gave themselves, and nobody verified, is not told.
///
/// # Errors
/// As [`userinfo`].
pub async fn plain_userinfo(services: &Services, token: &str) -> Result<PlainUserinfo, ProtocolError> {
    let (account, scope) = person(services, token).await?;
    let told = scope.contains("email") && (account.email_verified || !account.email_self_asserted);
    let email = told.then(|| account.email.as_str().to_owned());
    let username = account.preferred_username.as_ref().map(|name| name.as_str().to_owned());
    Ok(PlainUserinfo {
        // Who has no other name signs in by the address; that is not a client's to know without its scope.
        username: username.or_else(|| email.clone()).unwrap_or_else(|| account.id.as_str().to_owned()),
        email,
        full_name: scope.contains("profile").then_some(account.name),
    })
}

async fn person(services: &Services, token: &str) -> Result<(Account, Scope), ProtocolError> {
    let invalid = || ProtocolError::new(ErrorCode::InvalidToken, "the access token is not valid");
    let claims = services.live_token(token)?.ok_or_else(invalid)?;
    if !claims.scope.contains(Scope::OPENID) {
        let reason = "the access token has not the scope openid";
        return Err(ProtocolError::new(ErrorCode::InsufficientScope, reason));
    }
    let user = UserId::parse(claims.sub.as_str()).map_err(|_| invalid())?;
    let account = services.accounts.find(&user).await?.filter(|account| !account.disabled);
    Ok((account.ok_or_else(invalid)?, claims.scope))
}
