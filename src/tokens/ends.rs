//! Until when it matters that a token was revoked.

use super::revocation::{LiveToken, Revocations};
use super::status_list::ListDates;
use crate::oauth::AccessTokenClaims;

/// What says that a token is revoked ends so many seconds after its list. Whoever reads the lists first, as at a start, finds all that is
/// revoked in those that it found; and where a clock that was ahead has let something end, no list is left without it.
const AFTER_LIST: i64 = 300;

impl Revocations {
    /// When the last token has ended that was dated `latest` or before, in seconds since the epoch.
    pub(super) fn last_end(&self, latest: i64) -> i64 {
        let dates = self.lists.dates();
        // Lists that were opened under longer lifetimes know how long their tokens last.
        (latest + dates.longest_lifetime + dates.clock_skew).max(self.lists.last_forget_at())
    }

    /// Until when it stands on record what revokes the token, in seconds since the epoch: for longer than its list, without which it is
    /// refused. By its own end alone a clock that was ahead for a while would leave the list, and forget that the token is revoked.
    pub(super) fn kept_until(&self, token: &LiveToken) -> i64 {
        let ListDates { window, longest_lifetime, clock_skew } = self.lists.dates();
        let end = token.exp.saturating_add(clock_skew);
        let list = self.lists.kept(token.list.as_str());
        // Of one that another node has just made it is not known when it ends.
        let list_end = list.map_or(end.saturating_add(window + longest_lifetime), |list| list.forget_at());
        end.max(list_end).saturating_add(AFTER_LIST)
    }

    /// Whether no verifier takes the token any more, be its clock behind this one by as much as is allowed: then there is
    /// nothing to revoke. Never while this node's clock is off, nor while the token's list is kept: where the store goes by this
    /// node's clock nobody knows that it is ahead.
    #[must_use]
    pub fn has_ended(&self, claims: &AccessTokenClaims) -> bool {
        let status = claims.status.as_ref().map(|status| &status.status_list);
        let is_kept = status
            .and_then(|status| self.lists.id_of(&status.uri))
            .is_some_and(|list| self.lists.kept(list.as_str()).is_some());
        let end = claims.exp.saturating_add(self.lists.dates().clock_skew);
        self.fitness.check_clock().is_ok() && !is_kept && end <= self.clock.numeric_date()
    }
}
