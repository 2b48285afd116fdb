//! The tokens with which measurements fill status lists. Not a program of its own.

use signet::oauth::{
    AccessTokenClaims, Audience, ClientId, InvalidId, Resource, Scope, StatusClaim, StatusReference, Subject,
    TokenId,
};

/// The claims of the token of that number, whose status stands at `idx` of the list at `uri`.
pub(crate) fn claims(number: u64, status: StatusReference, now: i64) -> Result<AccessTokenClaims, InvalidId> {
    Ok(AccessTokenClaims {
        iss: "http://127.0.0.1:8080".into(),
        sub: Subject::parse("filler")?,
        aud: Audience::One(Resource::parse("http://127.0.0.1:9000")?),
        client_id: ClientId::parse("filler")?,
        scope: Scope::default(),
        iat: now,
        exp: now + 3600,
        nbf: None,
        auth_time: None,
        acr: None,
        amr: Vec::new(),
        sid: None,
        jti: TokenId::parse(&format!("filler-{number}"))?,
        status: Some(StatusClaim { status_list: status }),
    })
}
