use std::sync::Arc;

use serde::Serialize;
use uuid::fmt::Simple;

use super::{Grant, LiveToken, Place, Revocations, StatusIndexes};
use crate::entropy::SharedEntropy;
use crate::keys::{KeyRing, NoKey, SignError, SigningKey};
use crate::oauth::{Algorithm, ClientId, Resource, Scope, SessionId, SignedToken, Subject, TokenType};

/// Issues access tokens: self-contained, signed, written nowhere (RFC 9068).
pub struct AccessTokens {
    issuer: String,
    keys: Arc<KeyRing>,
    indexes: Arc<StatusIndexes>,
    revocations: Arc<Revocations>,
    entropy: SharedEntropy,
}

/// What a grant has established: all that an access token says.
#[derive(Clone, Debug)]
pub struct Authorized<'a> {
    /// For whom.
    pub subject: &'a Subject,
    /// To which client.
    pub client_id: &'a ClientId,
    /// For which resource servers; at least one.
    pub audience: &'a [&'a Resource],
    /// What it permits.
    pub scope: &'a Scope,
    /// For how many seconds, at most.
    pub lifetime: i64,
    /// Signed how.
    pub algorithm: Algorithm,
    /// What a person let the client do, if it does not act for itself.
    pub grant: Option<&'a Grant>,
}

/// An access token that is about to be issued: its place in a status list is taken, so that it can be remembered
/// before the token exists.
pub struct Prepared {
    key: Arc<SigningKey>,
    place: Place,
    iat: i64,
    exp: i64,
}

impl Prepared {
    /// Where its revocation will stand, and until when that matters.
    #[must_use]
    pub fn live(&self) -> LiveToken {
        LiveToken { list: self.place.list_id().clone(), idx: self.place.idx, exp: self.exp }
    }
}

/// An access token on its way out.
#[derive(Debug)]
pub struct Issued {
    /// The token.
    pub access_token: SignedToken,
    /// In how many seconds it ends.
    pub expires_in: i64,
    /// When it was issued, in seconds since the epoch.
    pub issued_at: i64,
    /// What it permits.
    pub scope: Scope,
    /// Signed how.
    pub algorithm: Algorithm,
}

/// No token could be issued; nothing is wrong with the request.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// No key may sign now.
    #[error(transparent)]
    NoKey(#[from] NoKey),
    /// The key failed.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Every open status list is full, and the next one is not there yet.
    #[error("no status list is open")]
    NoStatusList,
    /// The clock stands before the date up to which the tokens of the client or subject are revoked.
    #[error("the clock was set back to before a revocation")]
    ClockSetBack {
        /// In how many seconds a token can be issued.
        retry_after: u64,
    },
    /// The key is at the end of its dates: a token of it would end at once.
    #[error("the signing key is about to be forgotten")]
    KeyEnds,
}

/// The claims as they are written; read back as [`crate::oauth::AccessTokenClaims`].
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: AudienceClaim<'a>,
    client_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'a str,
    iat: i64,
    exp: i64,
    jti: Simple,
    // What is said of a person's authentication: RFC 9068, section 2.2.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    amr: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'a SessionId>,
    status: Status<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum AudienceClaim<'a> {
    One(&'a str),
    Many(&'a [&'a Resource]),
}

#[derive(Serialize)]
struct Status<'a> {
    status_list: Reference<'a>,
}

#[derive(Serialize)]
struct Reference<'a> {
    idx: u64,
    uri: &'a str,
}

impl AccessTokens {
    /// An issuer of tokens that name `issuer`.
    #[must_use]
    pub fn new(
        issuer: String,
        keys: Arc<KeyRing>,
        (indexes, revocations): (Arc<StatusIndexes>, Arc<Revocations>),
        entropy: SharedEntropy,
    ) -> Self {
        Self { issuer, keys, indexes, revocations, entropy }
    }

    /// Issues a token. Checks nothing of what was authorized: the grant has done so.
    ///
    /// `exp` never passes the date up to which the key is published, less the clock skew.
    ///
    /// # Errors
    /// When no key may sign, or no status list is open.
    pub fn issue(&self, authorized: &Authorized<'_>) -> Result<Issued, IssueError> {
        self.sign(authorized, &self.prepare(authorized)?)
    }

    /// Chooses a token's key, dates and place: the first half of [`AccessTokens::issue`]. A place that is not used
    /// stays empty.
    ///
    /// # Errors
    /// When no key may sign, or no status list is open.
    pub fn prepare(&self, authorized: &Authorized<'_>) -> Result<Prepared, IssueError> {
        let key = self.keys.signing_key(authorized.algorithm)?;
        // Whoever was revoked in this very second gets a token dated behind the cut-off, inside the leeway.
        let dated = self.revocations.date_of_new(authorized.client_id, authorized.subject);
        let iat = dated.map_err(|retry_after| IssueError::ClockSetBack { retry_after })?;
        let exp = (iat + authorized.lifetime).min(key.latest_exp(iat));
        if exp <= iat {
            return Err(IssueError::KeyEnds);
        }
        let place = self.indexes.take(iat).ok_or(IssueError::NoStatusList)?;
        Ok(Prepared { key, place, iat, exp })
    }

    /// Signs a token that was prepared: the second half of [`AccessTokens::issue`].
    ///
    /// # Errors
    /// When the key fails.
    pub fn sign(&self, authorized: &Authorized<'_>, prepared: &Prepared) -> Result<Issued, IssueError> {
        let Prepared { key, place, iat, exp } = prepared;
        let (iat, exp, person) = (*iat, *exp, authorized.grant);
        let claims = Claims {
            iss: &self.issuer,
            sub: authorized.subject.as_str(),
            aud: match authorized.audience {
                [resource] => AudienceClaim::One(resource.as_str()),
                several => AudienceClaim::Many(several),
            },
            client_id: authorized.client_id.as_str(),
            scope: authorized.scope.as_str(),
            iat,
            exp,
            jti: uuid::Builder::from_random_bytes(self.entropy.identifier()).into_uuid().simple(),
            auth_time: person.map(|grant| grant.auth_time),
            acr: person.and_then(|grant| grant.acr.as_deref()),
            amr: person.map_or(&[], |grant| &grant.amr),
            sid: person.and_then(|grant| grant.sid.as_ref()),
            status: Status { status_list: Reference { idx: place.idx, uri: place.uri() } },
        };
        Ok(Issued {
            access_token: SignedToken::new(super::jws::sign(key, TokenType::AccessToken, &claims)?),
            expires_in: exp - iat,
            issued_at: iat,
            scope: authorized.scope.clone(),
            algorithm: authorized.algorithm,
        })
    }
}
