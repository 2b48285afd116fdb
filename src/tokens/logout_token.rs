use serde::Serialize;

use super::IssueError;
use crate::entropy::SharedEntropy;
use crate::keys::SigningKey;
use crate::oauth::{ClientId, SessionId, SignedToken, Subject, TokenType};

/// For how many seconds a logout token counts: long enough for one request (OpenID Connect Back-Channel Logout 1.0,
/// section 4, advises two minutes at most).
const LIFETIME: i64 = 120;

/// Issues logout tokens (OpenID Connect Back-Channel Logout 1.0, section 2.4).
pub struct LogoutTokens {
    issuer: String,
    entropy: SharedEntropy,
    lifetime: i64,
}

/// What a logout token says.
#[derive(Clone, Debug)]
pub struct NewLogoutToken<'a> {
    /// To whom.
    pub client_id: &'a ClientId,
    /// Whose session has ended.
    pub subject: &'a Subject,
    /// Which one.
    pub sid: &'a SessionId,
    /// Signed with: as the client's ID tokens are (section 2.4).
    pub key: &'a SigningKey,
    /// When it is issued, in seconds since the epoch.
    pub issued_at: i64,
}

/// There is no `nonce`: so nobody takes it for an ID token.
#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
    jti: String,
    sid: &'a SessionId,
    events: Events,
}

#[derive(Serialize)]
struct Events {
    #[serde(rename = "http://schemas.openid.net/event/backchannel-logout")]
    backchannel_logout: Empty,
}

#[derive(Serialize)]
struct Empty {}

impl LogoutTokens {
    /// An issuer of logout tokens that name `issuer`; none lives for more than `longest_lifetime` seconds.
    #[must_use]
    pub fn new(issuer: String, entropy: SharedEntropy, longest_lifetime: i64) -> Self {
        Self { issuer, entropy, lifetime: LIFETIME.min(longest_lifetime) }
    }

    /// Issues a logout token, with both `sub` and `sid`.
    ///
    /// # Errors
    /// When the key fails, or is about to be forgotten.
    pub fn issue(&self, new: &NewLogoutToken<'_>) -> Result<SignedToken, IssueError> {
        let key = new.key;
        let exp = (new.issued_at + self.lifetime).min(key.latest_exp(new.issued_at));
        if exp <= new.issued_at {
            return Err(IssueError::KeyEnds);
        }
        let claims = Claims {
            iss: &self.issuer,
            sub: new.subject.as_str(),
            aud: new.client_id.as_str(),
            iat: new.issued_at,
            exp,
            jti: self.entropy.token::<16>(),
            sid: new.sid,
            events: Events { backchannel_logout: Empty {} },
        };
        Ok(SignedToken::new(super::jws::sign(key, TokenType::LogoutToken, &claims)?))
    }
}
