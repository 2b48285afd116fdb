use std::collections::HashMap;
use std::sync::Arc;

use super::Whole;
use crate::oauth::{ClientId, RevokedBefore, Subject};

/// Whose tokens are revoked as a whole, and since when: an immutable snapshot.
#[derive(Clone, Debug, Default)]
pub(super) struct Cutoffs {
    /// Grows with every change.
    pub(super) generation: u64,
    /// How many stood in the lists when it was last looked.
    published: usize,
    clients: HashMap<Arc<str>, Cutoff>,
    subjects: HashMap<Arc<str>, Cutoff>,
    /// What subjects took back from clients, by both names.
    granted: HashMap<(Arc<str>, Arc<str>), Cutoff>,
}

/// One cut-off, in seconds since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cutoff {
    /// Tokens with this `iat` or an earlier one are revoked.
    pub(super) before: i64,
    /// When the last of them has ended.
    pub(super) forget_at: i64,
    /// When the last grant of that time or an earlier one has ended; those need not be published.
    pub(super) grants_until: i64,
}

impl Cutoffs {
    /// Adds to what is known, and takes nothing of it back.
    pub(super) fn add(&mut self, whole: &Whole, new: Cutoff) {
        let cutoff = match whole {
            Whole::Client(id) => self.clients.entry(id.as_str().into()).or_default(),
            Whole::Subject(id) => self.subjects.entry(id.as_str().into()).or_default(),
            Whole::Granted(client_id, subject) => self.granted.entry(pair(client_id, subject)).or_default(),
        };
        let latest = Cutoff {
            before: cutoff.before.max(new.before),
            forget_at: cutoff.forget_at.max(new.forget_at),
            grants_until: cutoff.grants_until.max(new.grants_until),
        };
        if *cutoff != latest {
            *cutoff = latest;
            self.generation += 1;
        }
    }

    /// What is known of this client, or subject.
    pub(super) fn known(&self, whole: &Whole) -> Option<Cutoff> {
        match whole {
            Whole::Client(id) => self.clients.get(id.as_str()),
            Whole::Subject(id) => self.subjects.get(id.as_str()),
            Whole::Granted(client_id, subject) => self.granted.get(&pair(client_id, subject)),
        }
        .copied()
    }

    /// Without those whose last revoked token and grant have ended; `None` if all are as they were at the last call.
    pub(super) fn without_ended(&self, now: i64) -> Option<Self> {
        let all = || self.clients.values().chain(self.subjects.values()).chain(self.granted.values());
        let published = all().filter(|cutoff| now < cutoff.forget_at).count();
        let ended = |cutoff: &Cutoff| cutoff.forget_at.max(cutoff.grants_until) <= now;
        if published == self.published && !all().any(ended) {
            return None;
        }
        let mut next = self.clone();
        next.clients.retain(|_, cutoff| !ended(cutoff));
        next.subjects.retain(|_, cutoff| !ended(cutoff));
        next.granted.retain(|_, cutoff| !ended(cutoff));
        next.published = published;
        next.generation += 1;
        Some(next)
    }

    /// The latest `iat` that is revoked for this client and subject.
    pub(super) fn of(&self, client_id: &ClientId, subject: &Subject) -> Option<i64> {
        // Issuing asks this for every token: what is usually empty costs it nothing.
        let granted =
            if self.granted.is_empty() { None } else { self.granted.get(&pair(client_id, subject)) };
        let client = self.clients.get(client_id.as_str());
        let subject = self.subjects.get(subject.as_str());
        client.into_iter().chain(subject).chain(granted).map(|cutoff| cutoff.before).max()
    }

    /// As status lists publish it at `now`.
    pub(super) fn published(&self, now: i64) -> RevokedBefore {
        let mut published = RevokedBefore::default();
        let has_tokens = |(_, cutoff): &(_, &Cutoff)| now < cutoff.forget_at;
        for (id, cutoff) in self.clients.iter().filter(has_tokens) {
            if let Ok(id) = ClientId::parse(id) {
                published.clients.insert(RevokedBefore::client_name(&id), cutoff.before);
            }
        }
        for (id, cutoff) in self.subjects.iter().filter(has_tokens) {
            if let Ok(id) = Subject::parse(id) {
                published.subjects.insert(RevokedBefore::subject_name(&id), cutoff.before);
            }
        }
        for ((client_id, subject), cutoff) in &self.granted {
            if now < cutoff.forget_at
                && let (Ok(client_id), Ok(subject)) = (ClientId::parse(client_id), Subject::parse(subject))
            {
                published.grants.insert(RevokedBefore::grant_name(&client_id, &subject), cutoff.before);
            }
        }
        published
    }
}

fn pair(client_id: &ClientId, subject: &Subject) -> (Arc<str>, Arc<str>) {
    (client_id.as_str().into(), subject.as_str().into())
}
