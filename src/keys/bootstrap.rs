use super::change::{Spare, Work};
use super::error::KeyRingError;
use super::record::KeyRingRecord;
use super::ring::KeyRing;
use super::schedule::{Step, bootstrap};
use super::sealed_ring::{KEY, TABLE};
use crate::store::{Committed, Condition};

impl KeyRing {
    /// Makes the first key and no other, so that a first start is short: all others are due at the first tick, and
    /// until then none is published. Says whether it has: not where there is a ring, also when another node was faster to make one.
    ///
    /// # Errors
    /// When there are keys but no ring, when this node's clock is off, and when store or vault fail.
    pub(super) async fn bootstrap(&self) -> Result<bool, KeyRingError> {
        self.parts.fitness.check_clock()?;
        let _one_at_a_time = self.changing.turn_however_late().await;
        if self.parts.store.get(TABLE, KEY).await?.is_some() {
            return Ok(false);
        }
        let keys = self.kept().await?;
        if keys > 0 {
            return Err(KeyRingError::RingLost { keys });
        }
        let now = self.parts.clock.numeric_date();
        let mut work = Work::new(KeyRingRecord::empty(), now);
        let first = bootstrap(&self.parts.policy, now).into_iter().collect();
        if let Err(error) = self.carry_out(&mut work, first, None).await {
            self.discard(&work.created).await;
            return Err(error);
        }
        let begin = work.ring.records.iter().map(|record| Step::Begin { kid: record.kid.clone() }).collect();
        self.carry_out(&mut work, begin, None).await?;
        if self.commit(&work, Condition::Absent).await? == Committed::Conflict {
            self.discard(&work.created).await;
            return Ok(false);
        }
        let read = self.begin_to_read();
        let (row, ring) = self.read().await?;
        self.settle(&ring).await?;
        let mut signers = work.created;
        self.open_signers(&ring, &mut signers, Spare::None).await?;
        self.install(ring, row.version, &signers, read);
        Ok(true)
    }
}
