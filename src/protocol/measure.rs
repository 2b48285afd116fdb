use super::Services;
use super::health::next_key_waits;
use crate::keys::Phase;
use crate::telemetry::{KeyPhase, Metrics};

/// Brings the gauges up to date: what is not counted as it happens.
pub fn measure(services: &Services, metrics: &Metrics) {
    let keys = services.keys.list().keys;
    let phases = [
        (KeyPhase::Pending, Phase::Pending),
        (KeyPhase::Published, Phase::Published),
        (KeyPhase::Signing, Phase::Signing),
        (KeyPhase::Retired, Phase::Retired),
        (KeyPhase::Compromised, Phase::Compromised),
    ];
    for (name, phase) in phases {
        let count = keys.iter().filter(|key| key.phase == phase).count();
        metrics.keys(name, u32::try_from(count).unwrap_or(u32::MAX));
    }
    metrics.key_next_ready.set(if next_key_waits(services) { 1.0 } else { 0.0 });
    metrics.key_rotation_failures.absolute(services.keys.failures());
    metrics.key_ring_version.set(gauge(services.keys.version()));
    metrics.nodes.set(gauge(services.nodes.live() as u64));
    metrics.mirror_age.set(services.fitness.mirror_age().as_secs_f64());
    metrics.mirror_rows.absolute(services.fitness.rows());
    metrics.clock_offset.set(milliseconds(services.fitness.clock_offset()));
    metrics.status_list_entries.set(gauge(services.status_lists.revoked()));
    for (policy, count) in services.limits.refused() {
        metrics.rate_limited(policy.as_str(), count);
    }
    for (outcome, count) in services.logout_deliveries.outcomes() {
        metrics.logouts(outcome.as_str(), count);
    }
    for (what, count) in services.families.replays() {
        metrics.replays(what.as_str(), count);
    }
    metrics.logouts_waiting.set(gauge(services.logout_deliveries.waiting()));
    let load = services.store.load();
    metrics.store_connections.set(gauge(load.connections));
    metrics.store_waiting.set(gauge(load.waiting));
    metrics.store_unanswered.set(gauge(load.unanswered));
    metrics.store_failures.absolute(load.failures);
    metrics.store_flushes.absolute(services.store.flushes());
    if let Some(room) = services.store.room() {
        metrics.disk_free.set(gauge(room.free));
        metrics.disk_size.set(gauge(room.size));
    }
    metrics.audit_flushes.absolute(services.audit.flushes());
    metrics.audit_failures.absolute(services.audit.failures());
    metrics.audit_head_seq.set(gauge(services.audit.head().map_or(0, |head| head.seq())));
}

/// As seconds.
#[expect(clippy::cast_precision_loss, reason = "clocks differ by less than 2^52 ms")]
fn milliseconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; counts stay far below 2^52")]
fn gauge(value: u64) -> f64 {
    value as f64
}
