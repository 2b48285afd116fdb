use std::collections::HashMap;
use std::sync::Arc;

use super::Whole;
use super::revocation::LONGEST_LEAD;
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

impl Cutoff {
    /// Until when it is kept, in seconds since the epoch.
    pub(super) fn kept_until(&self) -> i64 {
        self.forget_at.max(self.grants_until).saturating_add(LONGEST_LEAD)
    }

    /// Whether `part`, a cut-off of a part of the same whole, says nothing that this one does not say.
    pub(super) fn covers(&self, part: &Self) -> bool {
        part.before <= self.before
            && part.forget_at <= self.forget_at
            && part.grants_until <= self.grants_until
    }
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

    /// The latest cut-off below `bound` behind which a token that is part of `whole` may have been dated, `whole`'s own apart.
    /// Behind one at `bound` or later nothing may have been.
    pub(super) fn latest_beside(&self, whole: &Whole, bound: i64) -> Option<i64> {
        let before = |cutoff: &Cutoff| cutoff.before;
        let granted = |part: fn(&(Arc<str>, Arc<str>)) -> &str, id: &str| {
            let parts = self.granted.iter().filter(move |(pair, _)| part(pair) == id);
            parts.map(|(_, cutoff)| cutoff.before).filter(|before| *before < bound).max()
        };
        let below = |dates: &mut dyn Iterator<Item = i64>| dates.filter(|before| *before < bound).max();
        match whole {
            Whole::Client(id) => below(&mut self.subjects.values().map(before))
                .max(granted(|(client, _)| client.as_ref(), id.as_str())),
            Whole::Subject(id) => below(&mut self.clients.values().map(before))
                .max(granted(|(_, subject)| subject.as_ref(), id.as_str())),
            Whole::Granted(client_id, subject) => {
                let wider = [self.clients.get(client_id.as_str()), self.subjects.get(subject.as_str())];
                below(&mut wider.into_iter().flatten().map(before))
            }
        }
    }

    /// Up to `most` of those between a client and a subject which say nothing that `new`, of either of the two, does not say.
    pub(super) fn covered(&self, whole: &Whole, new: Cutoff, most: usize) -> Vec<Whole> {
        let within = |(client, subject): &(Arc<str>, Arc<str>)| match whole {
            Whole::Client(id) => **client == *id.as_str(),
            Whole::Subject(id) => **subject == *id.as_str(),
            Whole::Granted(..) => false,
        };
        let covered = self.granted.iter().filter(|(pair, old)| within(pair) && new.covers(old)).take(most);
        let named = covered.map(|((client, subject), _)| {
            Some(Whole::Granted(ClientId::parse(client).ok()?, Subject::parse(subject).ok()?))
        });
        named.flatten().collect()
    }

    /// Forgets what [`Self::covered`] found, as far as `new` still covers it.
    pub(super) fn forget(&mut self, covered: &[Whole], new: Cutoff) {
        for each in covered {
            if let Whole::Granted(client_id, subject) = each {
                let pair = pair(client_id, subject);
                if self.granted.get(&pair).is_some_and(|old| new.covers(old)) {
                    self.granted.remove(&pair);
                }
            }
        }
    }

    /// Without those whose last revoked token and grant have ended, by a clock that is right; `None` if all are as they were at the last
    /// call.
    pub(super) fn without_ended(&self, now: i64) -> Option<Self> {
        let all = || self.clients.values().chain(self.subjects.values()).chain(self.granted.values());
        let published = all().filter(|cutoff| now < cutoff.forget_at).count();
        let ended = |cutoff: &Cutoff| cutoff.kept_until() <= now;
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
