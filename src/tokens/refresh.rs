use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::family::{Families, Family, attempts, contended};
use super::unanswered::Unanswered;
use super::{Grant, LiveToken, Sealer};
use crate::clock::SharedClock;
use crate::keys::{DATED_AHEAD, KeyRingError, SealError};
use crate::oauth::{ClientId, FamilyId, Secret};
use crate::store::typed::Record;
use crate::store::{Batch, Committed, StoreError};

const PURPOSE: &str = "refresh token";

/// For how long, in milliseconds, the token before the newest may be presented again: its answer got lost, or two
/// requests of one client crossed. So long after each time that it was, but not for longer than this after it was spent: while the store takes
/// too long or is away a client asks again and again, and hears nothing. Whoever has stolen it and goes on presenting it is found out about then.
const GRACE: i64 = 10_000;
const LONGEST_GRACE: i64 = 60_000;

/// After how long, in milliseconds, it is noted again that it was: of many at once none waits for another.
const NOTED_AGAIN: i64 = 1_000;

/// By how much, in milliseconds, another node's clock may be ahead of this one's. What was rotated later than that was rotated before the
/// clock was set back, nobody knows when.
const AHEAD: i64 = 2 * DATED_AHEAD * 1000;

/// The refresh tokens (RFC 6749, section 6): sealed, self-contained, and each used once (RFC 9700, section 4.14.2).
/// The store remembers one row a family, and only once the family was refreshed.
pub struct RefreshTokens {
    sealer: Sealer,
    families: Arc<Families>,
    clock: SharedClock,
    unanswered: Unanswered,
    lifetime: i64,
    idle: i64,
}

/// A refresh token, opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefreshToken {
    /// To which family it belongs.
    pub family: FamilyId,
    /// How many came before it.
    pub generation: u64,
    /// What it grants.
    pub grant: Grant,
    /// When it was issued, in seconds since the epoch.
    pub issued_at: i64,
    /// When it ends unless it is used, in seconds since the epoch.
    pub expires_at: i64,
    /// When the family ends, in seconds since the epoch.
    pub family_ends_at: i64,
}

/// How a refresh token that was presented stands.
#[derive(Debug)]
pub enum Rotation {
    /// It was spent, and this is its successor.
    Rotated(Secret),
    /// It was spent a moment ago, and this is the successor that it was given then.
    Repeated(Secret),
    /// It was spent before: somebody else has it, or had it. The family should be revoked. Or it was, for such a reason, and that
    /// could not be recorded.
    Reused,
    /// Its family is revoked, or was never heard of.
    Dead,
}

/// A refresh token could not be opened, issued or rotated; nothing is wrong with the request.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The store fails.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No key may seal or open now.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The keys that seal can't be read.
    #[error(transparent)]
    Keys(#[from] KeyRingError),
}

impl RefreshTokens {
    /// Refresh tokens whose families end after `lifetime` seconds, and which end when unused for `idle` seconds.
    #[must_use]
    pub fn new(
        sealer: Sealer,
        families: Arc<Families>,
        clock: SharedClock,
        (lifetime, idle): (i64, i64),
    ) -> Self {
        Self { sealer, families, clock, unanswered: Unanswered::new(GRACE), lifetime, idle }
    }

    /// The first token of a family that begins now. Nothing is written.
    #[must_use]
    pub fn first(&self, family: FamilyId, grant: Grant) -> RefreshToken {
        let now = self.clock.numeric_date();
        let family_ends_at = now + self.lifetime;
        let expires_at = family_ends_at.min(now + self.idle);
        RefreshToken { family, generation: 0, grant, issued_at: now, expires_at, family_ends_at }
    }

    /// The text of a token: the same for the same token while one key seals.
    ///
    /// # Errors
    /// When no key may seal now.
    pub fn seal(&self, token: &RefreshToken) -> Result<Secret, SealError> {
        let plain = zeroize::Zeroizing::new(serde_json::to_vec(token).map_err(|_| SealError::Unusable)?);
        // No two tokens are the same: family and generation tell them apart.
        self.sealer.seal_repeatably(PURPOSE, &plain).map(Secret::new)
    }

    /// The token, if this service issued it and it has not ended. Whether it was spent or revoked is not checked.
    ///
    /// # Errors
    /// As [`Self::open_ended`].
    pub async fn open(&self, text: &str) -> Result<Option<RefreshToken>, RefreshError> {
        let opened = self.open_ended(text).await?;
        Ok(opened.filter(|token| self.clock.numeric_date() < token.expires_at))
    }

    /// The same for one that may have ended: it opens for as long as what it was sealed with is kept.
    ///
    /// # Errors
    /// When this node can't know which keys there are.
    pub async fn open_ended(&self, text: &str) -> Result<Option<RefreshToken>, RefreshError> {
        let plain = self.sealer.open_of_any_node(PURPOSE, text).await?;
        Ok(plain.and_then(|plain| serde_json::from_slice(&plain).ok()))
    }

    /// Whether `token` is the newest of a family that is not revoked. Dates and cut-offs are not checked.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_newest(&self, token: &RefreshToken) -> Result<bool, StoreError> {
        Ok(match self.families.find(&token.family).await?.map(|record| record.value) {
            None => token.generation == 0,
            Some(Family::Live { generation, .. }) => token.generation == generation,
            Some(Family::Revoked { .. }) => false,
        })
    }

    /// Spends `token` for its successor, in one commit with `access`, the access token that is issued beside it, and on the
    /// condition that `also` adds: what that answers `None` to is dead. Does not look at dates, client and subject. It was presented at
    /// `presented_at`, in milliseconds since the epoch.
    ///
    /// # Errors
    /// When the store fails, or no key may seal: then it may or may not be spent, and can be presented again.
    pub async fn rotate(
        &self,
        (token, presented_at): (&RefreshToken, i64),
        access: &LiveToken,
        also: impl AsyncFn(Batch) -> Result<Option<Batch>, StoreError>,
    ) -> Result<Rotation, RefreshError> {
        for _ in 0..attempts() {
            let known = self.families.find(&token.family).await?;
            let now = self.clock.millis();
            let (batch, rotation) = match known.as_ref().map(|record| record.value) {
                None if token.generation == 0 => self.spend(token, None, now)?,
                Some(Family::Live { generation, .. }) if generation == token.generation => {
                    self.spend(token, known.as_ref(), now)?
                }
                Some(Family::Live { generation, rotated_at, repeated_at })
                    if generation == token.generation + 1
                        && self.has_grace(token, (rotated_at, repeated_at), (presented_at, now)) =>
                {
                    let batch = self.repeat(token, known.as_ref(), now)?;
                    (batch, Rotation::Repeated(self.seal(&self.successor(token, rotated_at))?))
                }
                Some(Family::Live { generation, .. }) if token.generation < generation => {
                    return Ok(Rotation::Reused);
                }
                Some(Family::Revoked { unrecorded: true }) => return Ok(Rotation::Reused),
                Some(Family::Revoked { unrecorded: false }) => {
                    // What revoked it may have met a fault before its access tokens were revoked: nobody else asks for that again.
                    match self.families.revoke(&token.family, token.family_ends_at).await {
                        // All that can be read are revoked, and what can't be will not be at the next try either.
                        Err(error @ StoreError::Damaged { .. }) => {
                            tracing::error!(%error, family = %token.family, "an access token of a dead family can't be revoked");
                        }
                        revoked => revoked?,
                    }
                    return Ok(Rotation::Dead);
                }
                // Later than what the store knows: the store is an older one, put back.
                None | Some(_) => return Ok(Rotation::Dead),
            };
            let Some(batch) = also(batch).await? else { return Ok(Rotation::Dead) };
            let batch = self.families.remember(batch, &token.family, access);
            if self.families.store().commit(batch).await? == Committed::Applied {
                return Ok(rotation);
            }
        }
        Err(contended().into())
    }

    /// Whether `token`, which was spent at `rotated_at` and last noted to have been presented again at `repeated_at`, may be presented still,
    /// as it was at `presented_at`: what it had to wait for since is not its owner's doing.
    fn has_grace(
        &self,
        token: &RefreshToken,
        (rotated_at, repeated_at): (i64, Option<i64>),
        (presented_at, now): (i64, i64),
    ) -> bool {
        let noted_at = repeated_at.unwrap_or(rotated_at);
        let in_vain = self.unanswered.until(token, noted_at);
        let last = in_vain.map_or(noted_at, |until| until.max(noted_at));
        presented_at.saturating_sub(rotated_at) <= LONGEST_GRACE
            && presented_at.saturating_sub(last) <= GRACE
            && last.saturating_sub(now) <= AHEAD
    }

    /// Notes that `client` presented `text` at `since`, in milliseconds since the epoch, and was told nothing, which the store can't
    /// note while it is away: a token that it spent just before, or spends when it goes on, is presented again and again meanwhile.
    /// Only this node knows, until the store does.
    pub fn was_unanswered(&self, client: &ClientId, text: &str, since: i64) {
        let opened = self.sealer.open_as_last_known(PURPOSE, text);
        let token = opened.and_then(|plain| serde_json::from_slice::<RefreshToken>(&plain).ok());
        if let Some(token) = token.filter(|token| token.grant.client_id == *client) {
            self.unanswered.note(&token, (since, self.clock.millis()));
        }
    }

    fn spend(
        &self,
        token: &RefreshToken,
        known: Option<&Record<Family>>,
        now: i64,
    ) -> Result<(Batch, Rotation), RefreshError> {
        let successor = self.successor(token, now);
        let state = Family::Live { generation: successor.generation, rotated_at: now, repeated_at: None };
        let end = token.family_ends_at;
        let batch = self.families.put(Batch::new(), (&token.family, known), &state, end)?;
        Ok((batch, Rotation::Rotated(self.seal(&successor)?)))
    }

    /// Notes that `token` was presented again, unless that was noted a moment ago: of many at once each is good.
    fn repeat(
        &self,
        token: &RefreshToken,
        known: Option<&Record<Family>>,
        now: i64,
    ) -> Result<Batch, StoreError> {
        match known.map(|record| record.value) {
            Some(Family::Live { generation, rotated_at, repeated_at })
                if now - repeated_at.unwrap_or(rotated_at) >= NOTED_AGAIN =>
            {
                let state = Family::Live { generation, rotated_at, repeated_at: Some(now) };
                self.families.put(Batch::new(), (&token.family, known), &state, token.family_ends_at)
            }
            _ => Ok(Families::check(Batch::new(), &token.family, known)),
        }
    }

    fn successor(&self, token: &RefreshToken, rotated_at: i64) -> RefreshToken {
        let issued_at = rotated_at.div_euclid(1000);
        RefreshToken {
            generation: token.generation + 1,
            issued_at,
            expires_at: token.family_ends_at.min(issued_at + self.idle),
            ..token.clone()
        }
    }

    /// Revokes the token's whole family.
    ///
    /// # Errors
    /// As [`Families::revoke`].
    pub async fn revoke(&self, token: &RefreshToken) -> Result<(), StoreError> {
        self.families.revoke(&token.family, token.family_ends_at).await
    }
}
