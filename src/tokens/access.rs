use std::sync::Arc;

use super::members::Members;
use super::{Grant, LiveToken, Place, Revocations, StatusIndexes};
use crate::entropy::SharedEntropy;
use crate::keys::{KeyRing, NoKey, SignError, SigningKey};
use crate::oauth::{Algorithm, ClientId, Resource, Scope, SignedToken, Subject, TokenType};

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
    /// How it should be signed: what is wanted first comes first; see [`KeyRing::signing_key`].
    pub algorithms: [Option<Algorithm>; 2],
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
    /// The date that it bears, in seconds since the epoch.
    #[must_use]
    pub fn issued_at(&self) -> i64 {
        self.iat
    }

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
        let key = self.keys.signing_key(authorized.algorithms.into_iter().flatten())?;
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
        let Prepared { key, iat, exp, .. } = prepared;
        let claims = self.claims(authorized, prepared).map_err(|_| SignError)?;
        Ok(Issued {
            access_token: SignedToken::new(super::jws::sign_written(key, TokenType::AccessToken, &claims)?),
            expires_in: exp - iat,
            issued_at: *iat,
            scope: authorized.scope.clone(),
            algorithm: key.algorithm(),
        })
    }

    /// The claims as they stand in the token; read back as [`crate::oauth::AccessTokenClaims`].
    fn claims(&self, authorized: &Authorized<'_>, prepared: &Prepared) -> serde_json::Result<Vec<u8>> {
        let mut claims = Members::new();
        claims.text("iss", &self.issuer)?;
        claims.text("sub", authorized.subject.as_str())?;
        match authorized.audience {
            [resource] => claims.text("aud", resource.as_str())?,
            several => claims.value("aud", several)?,
        }
        claims.text("client_id", authorized.client_id.as_str())?;
        if !authorized.scope.is_empty() {
            claims.text("scope", authorized.scope.as_str())?;
        }
        claims.value("iat", &prepared.iat)?;
        claims.value("exp", &prepared.exp)?;
        let jti = uuid::Builder::from_random_bytes(self.entropy.identifier()).into_uuid();
        claims.text("jti", jti.simple().encode_lower(&mut uuid::Uuid::encode_buffer()))?;
        if let Some(grant) = authorized.grant {
            // What is said of a person's authentication: RFC 9068, section 2.2.1.
            claims.value("auth_time", &grant.auth_time)?;
            if let Some(acr) = &grant.acr {
                claims.text("acr", acr)?;
            }
            if !grant.amr.is_empty() {
                claims.value("amr", &grant.amr)?;
            }
            if let Some(sid) = &grant.sid {
                claims.text("sid", sid.as_str())?;
            }
        }
        claims.open("status");
        claims.open("status_list");
        claims.value("idx", &prepared.place.idx)?;
        claims.text("uri", prepared.place.uri())?;
        claims.close();
        claims.close();
        Ok(claims.finish())
    }
}
