use std::time::Duration;

use super::Services;
use crate::clients::ResourceServer;
use crate::verify::{Expectations, ExpectedAudience, Verified, check};

/// By how much the clocks of this issuer's own nodes may differ.
const LEEWAY: Duration = Duration::from_mins(1);

impl Services {
    /// The token, if this issuer signed it, it has not ended and its key is still good. Checks neither
    /// audience nor revocation nor scope.
    #[must_use]
    pub fn verified_token(&self, token: &str) -> Option<Verified> {
        self.verified(token, ExpectedAudience::Anyone)
    }

    /// The same, and the token must be for `server`.
    #[must_use]
    pub fn verified_token_for(&self, token: &str, server: &ResourceServer) -> Option<Verified> {
        self.verified(token, ExpectedAudience::AnyOf(std::slice::from_ref(&server.uri)))
    }

    fn verified(&self, token: &str, audience: ExpectedAudience<'_>) -> Option<Verified> {
        let now = self.clock.numeric_date();
        let expected = Expectations { issuer: &self.issuer, audience, leeway: LEEWAY, now };
        let verified = check(token, &expected, &self.keys.key_set()).ok()?;
        // The leeway is for `iat` alone: here nobody's clock but our own says when a token ends.
        (now < verified.claims.exp).then_some(verified)
    }
}
