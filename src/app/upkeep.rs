//! What the service does by itself beside serving: housekeeping, the supply of status lists, and signed copies of them. Three loops,
//! because each may take long, and tokens need the second.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, Interval, MissedTickBehavior, sleep};

use super::{App, StartError, Witness};
use crate::audit::{Actor, Event, EventKind};
use crate::store::Room;
use crate::telemetry;
use crate::tokens::StatusError;

/// No housekeeping waits longer.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What the store refused is tried again after this.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// How many expired rows are removed in one round.
pub(super) const SWEEP: usize = 10_000;

/// What a round of housekeeping has left of the rows that have expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// Nothing.
    Gone,
    /// There may be more: a round removes a bounded number.
    Left,
}

impl App {
    /// Housekeeping, a supply of status lists, and a signed copy of each: for as long as the service runs.
    pub async fn keep_house(&self) {
        tokio::join!(self.keep_tidy(), self.keep_supplied(), self.keep_published());
    }

    async fn keep_tidy(&self) {
        let mut ticks = interval(LONGEST_PAUSE);
        loop {
            ticks.tick().await;
            let tidied = loop {
                let tidied = self.tidy().await;
                if !matches!(tidied, Ok(Expired::Left)) {
                    break tidied;
                }
            };
            if let Err(error) = tidied {
                tracing::error!(%error, "housekeeping failed; it is tried again");
            }
        }
    }

    /// Waits for nothing else: without a list no token is issued.
    async fn keep_supplied(&self) {
        let (mut ticks, mut outage) = (interval(LONGEST_PAUSE), Outage::default());
        loop {
            let supplied = self.replenish().await;
            outage.tell(supplied.as_ref().err().map(|error| error as _), "no spare status list can be had");
            if supplied.is_err() {
                sleep(RETRY_PAUSE).await;
                continue;
            }
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.state.services.status_indexes.wanted() => {}
            }
        }
    }

    /// Rests for as long as it worked: however many lists change, this takes half a core at most.
    async fn keep_published(&self) {
        loop {
            let begun = Instant::now();
            if let Err(error) = self.build_status_lists().await {
                tracing::warn!(%error, "status lists could not be signed in advance");
            }
            sleep(begun.elapsed().max(LONGEST_PAUSE)).await;
        }
    }

    /// Sees to it that a spare status list waits.
    ///
    /// # Errors
    /// When the store fails, or the installation is restored or moved.
    pub async fn replenish(&self) -> Result<(), StartError> {
        let indexes = &self.state.services.status_indexes;
        if !indexes.has_spare() {
            self.refuse_unfinished().await?;
            indexes.replenish().await?;
        }
        Ok(())
    }

    /// Has a true document of every status list at hand, for when nothing can be signed. One after the other: the end of the
    /// service waits for what is being built.
    ///
    /// # Errors
    /// When no key may sign, or one fails.
    pub async fn build_status_lists(&self) -> Result<(), StatusError> {
        for id in self.state.services.status.due() {
            let services = self.state.services.clone();
            match spawn_blocking(move || services.status.document(id.as_str())).await {
                // It has ended meanwhile.
                Ok(Ok(_) | Err(StatusError::Unknown)) | Err(_) => {}
                Ok(Err(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// One round of housekeeping: says how many requests fail, revokes what is left of sessions that have ended, removes what has
    /// ended. By a clock that is off nothing has.
    ///
    /// # Errors
    /// When the store fails; the next round tries again.
    pub async fn tidy(&self) -> Result<Expired, StartError> {
        let services = &self.state.services;
        telemetry::tell_failures();
        self.watch_disk();
        self.resume_audit().await;
        self.refuse_unfinished().await?;
        // What fails here is not to hold up the rest.
        if let Err(error) = services.families.finish().await {
            tracing::error!(%error, "access tokens of ended sessions can't be revoked yet; it is tried again");
        }
        let (audit, clock) = (&*services.audit, services.clock.as_ref());
        let dated = services.revocations.latest_dated();
        self.noted.again(services.store.as_ref(), Witness { node: &self.node, audit, clock }, dated).await?;
        if !services.fitness.is_clock_off() {
            services.status_lists.drop_ended();
            services.status_indexes.close_dropped();
            services.status.drop_ended();
            services.revocations.drop_ended();
        }
        services.limits.sweep();
        services.logout_deliveries.note_waiting(services.logouts.count().await?);
        if services.fitness.is_clock_off() {
            return Ok(Expired::Gone);
        }
        let swept = services.store.sweep(services.clock.now(), SWEEP).await?;
        Ok(if swept == SWEEP { Expired::Left } else { Expired::Gone })
    }

    /// Says once that the disk is getting full, and once that there is room again.
    fn watch_disk(&self) {
        let Some(room) = self.state.services.store.room() else { return };
        let low = room.is_low();
        if self.told_low.swap(low, Ordering::Relaxed) == low {
            return;
        }
        let Room { free, size, kept_free } = room;
        if low {
            tracing::warn!(
                free,
                size,
                "the disk is getting full; with less than {kept_free} bytes free nothing is written"
            );
        } else {
            tracing::info!(free, size, "there is room on the disk again");
        }
    }

    /// Finds out whether the audit log can be written again: a service that says it is not ready is asked for nothing else that
    /// would show it.
    async fn resume_audit(&self) {
        let audit = &self.state.services.audit;
        if audit.is_writable() {
            return;
        }
        let event =
            Event::new(EventKind::AuditResumed, Actor::Service).detail("unrecorded", audit.failures());
        if let Err(error) = audit.record(event).await {
            tracing::error!(%error, "the audit log still can't be written");
        }
    }
}

/// Whether something that is done again and again failed the last time.
#[derive(Default)]
pub(crate) struct Outage {
    lasts: bool,
}

impl Outage {
    /// Says that it fails, and why, when that begins, and when it is over: not each time.
    pub(crate) fn tell(&mut self, error: Option<&dyn std::fmt::Display>, what: &str) {
        match error {
            Some(error) if !self.lasts => tracing::error!(%error, "{what}; it is tried again"),
            None if self.lasts => tracing::info!("it is over that {what}"),
            Some(_) | None => {}
        }
        self.lasts = error.is_some();
    }
}

/// Ticks at once, and then so far apart.
pub(crate) fn interval(pause: Duration) -> Interval {
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
