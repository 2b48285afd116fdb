use std::time::Duration;

use super::Services;
use crate::clients::ResourceServer;
use crate::keys::Unfit;
use crate::oauth::AccessTokenClaims;
use crate::verify::{Expectations, ExpectedAudience, KeySet, Verified, check};

/// By how much the clocks of this issuer's own nodes may differ.
const LEEWAY: Duration = Duration::from_mins(1);

impl Services {
    /// The token, if this issuer signed it with a key that is still published, be it that it has ended. Checks neither
    /// audience nor revocation nor scope.
    pub(super) fn issued_token(&self, token: &str) -> Option<Verified> {
        self.checked(token, ExpectedAudience::Anyone, Duration::MAX)
    }

    /// What a token says whose key was published once and is not any more, for its age or because it is compromised. It counts
    /// nowhere, and what a compromised key signed may be anybody's: good only to tell the client that it names that there is
    /// nothing to revoke.
    pub(super) fn token_of_the_past(&self, token: &str) -> Option<AccessTokenClaims> {
        let checked = |keys: &KeySet| self.checked_by(keys, token, (ExpectedAudience::Anyone, Duration::MAX));
        let verified = checked(&self.keys.past_keys()).or_else(|| checked(&self.keys.compromised_keys()));
        verified.map(|verified| verified.claims)
    }

    /// What the token says, if it counts: this issuer signed it, it has not ended, its key is still good, and it is not
    /// revoked. Checks neither audience nor scope.
    ///
    /// # Errors
    /// When this node can't know whether it counts.
    pub fn live_token(&self, token: &str) -> Result<Option<AccessTokenClaims>, Unfit> {
        self.live(token, ExpectedAudience::Anyone)
    }

    /// The same, and the token must be for `server`.
    ///
    /// # Errors
    /// As [`Self::live_token`].
    pub fn live_token_for(
        &self,
        token: &str,
        server: &ResourceServer,
    ) -> Result<Option<AccessTokenClaims>, Unfit> {
        self.live(token, ExpectedAudience::AnyOf(std::slice::from_ref(&server.uri)))
    }

    fn live(&self, token: &str, audience: ExpectedAudience<'_>) -> Result<Option<AccessTokenClaims>, Unfit> {
        self.fitness.check()?;
        // The leeway is for `iat` alone: here nobody's clock but our own says when a token ends.
        let verified = self.checked(token, audience, LEEWAY).filter(|verified| !self.has_ended(verified));
        Ok(verified.map(|verified| verified.claims).filter(|claims| !self.revocations.is_revoked(claims)))
    }

    /// Whether the token's time is over.
    fn has_ended(&self, token: &Verified) -> bool {
        token.claims.exp <= self.clock.numeric_date()
    }

    fn checked(&self, token: &str, audience: ExpectedAudience<'_>, leeway: Duration) -> Option<Verified> {
        self.checked_by(&self.keys.key_set(), token, (audience, leeway))
    }

    fn checked_by(
        &self,
        keys: &KeySet,
        token: &str,
        (audience, leeway): (ExpectedAudience<'_>, Duration),
    ) -> Option<Verified> {
        let now = self.clock.numeric_date();
        let expected = Expectations { issuer: &self.issuer, audience, leeway, now };
        check(token, &expected, keys).ok()
    }
}
