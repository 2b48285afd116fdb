use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Whole;
use super::kept_cutoffs::KeptCutoffs;
use super::revocation::LONGEST_LEAD;
use crate::oauth::{ClientId, RevokedBefore, Subject, WholeName};

/// Whose tokens are revoked as a whole, and since when.
///
/// Every token asks for those of its client and its subject. They are read without a lock, and are kept for as long as grants live, so there can
/// be millions: one more copies few of them. What stands in the status lists, for as long as tokens live, is in order behind a lock.
pub(super) struct Cutoffs {
    kept: KeptCutoffs,
    /// Whether there was any of each kind since the start.
    any: Any,
    /// Grows with every change of what the lists say.
    generation: AtomicU64,
    /// Whoever changes anything here holds this.
    listed: Mutex<Listed>,
}

#[derive(Default)]
struct Any {
    clients: AtomicBool,
    subjects: AtomicBool,
    granted: AtomicBool,
}

/// The cut-offs that stand in the lists, and those that would again if the clock were set back.
struct Listed {
    /// By when they leave the lists, in seconds since the epoch.
    cutoffs: BTreeMap<(i64, WholeName), ListedCutoff>,
    /// When it was last looked which of them have left.
    looked: i64,
}

#[derive(Debug)]
struct ListedCutoff {
    before: i64,
    of: Of,
}

/// Of whom a cut-off is; which client or subject that is, its name says.
#[derive(Debug)]
enum Of {
    Client,
    Subject,
    /// What the subject took back from the client.
    Granted(Box<(ClientId, Subject)>),
}

/// A cut-off that may not be known yet.
#[derive(Debug)]
pub(super) struct NewCutoff {
    name: WholeName,
    cutoff: Cutoff,
    of: Of,
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

    /// What both say together: nothing is taken back.
    fn with(&self, other: &Self) -> Self {
        Self {
            before: self.before.max(other.before),
            forget_at: self.forget_at.max(other.forget_at),
            grants_until: self.grants_until.max(other.grants_until),
        }
    }

    /// Whether `part`, a cut-off of a part of the same whole, says nothing that this one does not say.
    pub(super) fn covers(&self, part: &Self) -> bool {
        part.before <= self.before
            && part.forget_at <= self.forget_at
            && part.grants_until <= self.grants_until
    }
}

impl NewCutoff {
    pub(super) fn new(whole: &Whole, cutoff: Cutoff) -> Self {
        let of = match whole {
            Whole::Client(_) => Of::Client,
            Whole::Subject(_) => Of::Subject,
            Whole::Granted(client_id, subject) => Of::Granted(Box::new((client_id.clone(), subject.clone()))),
        };
        Self { name: name(whole), cutoff, of }
    }
}

impl Listed {
    /// Those that stand in the lists at `now`, in seconds since the epoch.
    fn at(&self, now: i64) -> impl Iterator<Item = (&WholeName, &ListedCutoff)> {
        self.cutoffs.range(first_after(now)..).map(|((_, name), cutoff)| (name, cutoff))
    }
}

impl Cutoffs {
    /// None yet, at `now` in seconds since the epoch.
    pub(super) fn none_at(now: i64) -> Self {
        let listed = Mutex::new(Listed { cutoffs: BTreeMap::new(), looked: now });
        Self { kept: KeptCutoffs::default(), any: Any::default(), generation: AtomicU64::default(), listed }
    }

    /// Adds to what is known, and takes nothing of it back. What has left the lists at `now`, if that is known, need not be at hand for them.
    pub(super) fn add(&self, mut new: Vec<NewCutoff>, now: Option<i64>) {
        // As mostly where one is looked up.
        new.retain(|new| !self.kept.find(&new.name).is_some_and(|known| known.covers(&new.cutoff)));
        if new.is_empty() {
            return;
        }
        new.sort_unstable_by_key(|new| new.name);
        new.dedup_by(|next, first| {
            let same = next.name == first.name;
            if same {
                first.cutoff = first.cutoff.with(&next.cutoff);
            }
            same
        });
        let mut listed = self.listed();
        let mut changes = Vec::with_capacity(new.len());
        for NewCutoff { name, cutoff, of } in new {
            let known = self.kept.find(&name);
            let latest = known.map_or(cutoff, |known| known.with(&cutoff));
            if let Some(known) = known {
                listed.cutoffs.remove(&(known.forget_at, name));
            }
            self.any.note(&of);
            if now.is_none_or(|now| now < leaves_memory(latest.forget_at)) {
                listed.cutoffs.insert((latest.forget_at, name), ListedCutoff { before: latest.before, of });
            }
            changes.push((name, latest));
        }
        // Before any of it can be found: whoever finds it is to take no older list for true. Who builds one meanwhile waits for the lock.
        self.generation.fetch_add(1, Release);
        self.kept.put(&changes);
    }

    /// What is known of this client, or subject.
    pub(super) fn known(&self, whole: &Whole) -> Option<Cutoff> {
        self.kept.find(&name(whole))
    }

    /// The latest cut-off within `dates` behind which a token that is part of `whole` may have been dated, `whole`'s own apart.
    /// Behind one at the end of `dates` or later nothing may have been.
    pub(super) fn latest_beside(&self, whole: &Whole, dates: &Range<i64>) -> Option<i64> {
        if let Whole::Granted(client_id, subject) = whole {
            let wider = [WholeName::client(client_id), WholeName::subject(subject)];
            let known = wider.iter().filter_map(|name| self.kept.find(name));
            return known.map(|cutoff| cutoff.before).filter(|before| dates.contains(before)).max();
        }
        let listed = self.listed();
        // The tokens of a cut-off end after it: none that has left the lists by then lies within.
        let within = listed.at(dates.start).filter(|(_, cutoff)| dates.contains(&cutoff.before));
        within.filter(|(_, cutoff)| cutoff.of.is_beside(whole)).map(|(_, cutoff)| cutoff.before).max()
    }

    /// Up to `most` of those between a client and a subject which stand in the lists at `now`, and say nothing that `new`, of either of the two,
    /// does not say.
    pub(super) fn covered(&self, whole: &Whole, new: &Cutoff, (now, most): (i64, usize)) -> Vec<Whole> {
        let listed = self.listed();
        let covered = listed.at(now).filter_map(|(name, cutoff)| {
            let Of::Granted(granted) = &cutoff.of else { return None };
            let is_covered =
                is_within(granted, whole) && self.kept.find(name).is_some_and(|old| new.covers(&old));
            is_covered.then(|| Whole::Granted(granted.0.clone(), granted.1.clone()))
        });
        covered.take(most).collect()
    }

    /// Forgets what [`Self::covered`] found, as far as `new` still covers it: a later one of another node may have come by.
    pub(super) fn forget(&self, covered: &[Whole], new: &Cutoff) {
        let mut listed = self.listed();
        for each in covered {
            let name = name(each);
            if let Some(old) = self.kept.find(&name).filter(|old| new.covers(old)) {
                listed.cutoffs.remove(&(old.forget_at, name));
                self.generation.fetch_add(1, Release);
                self.kept.remove(&name);
            }
        }
    }

    /// Forgets those whose last revoked token and grant have ended at `now`, by a clock that is right, and notes which have left the lists.
    pub(super) fn drop_ended(&self, now: i64) {
        let mut listed = self.listed();
        let (earlier, later) = (listed.looked.min(now), listed.looked.max(now));
        listed.looked = now;
        // They have left; or, where the clock was set back, they stand there again.
        if listed.cutoffs.range(first_after(earlier)..first_after(later)).next().is_some() {
            self.generation.fetch_add(1, Release);
        }
        while let Some(first) = listed.cutoffs.first_entry()
            && leaves_memory(first.key().0) <= now
        {
            first.remove();
        }
        self.kept.drop_ended(now);
    }

    /// The latest `iat` that is revoked for this client and subject.
    pub(super) fn of(&self, client_id: &ClientId, subject: &Subject) -> Option<i64> {
        // Issuing asks this for every token: a name is a digest, and where there is nothing of a kind none is made.
        let before = |any: &AtomicBool, name: &dyn Fn() -> WholeName| {
            let known = if any.load(Acquire) { self.kept.find(&name()) } else { None };
            known.map(|cutoff| cutoff.before)
        };
        // The narrow one first: a wider one is there before it takes the narrow one's place.
        let granted = before(&self.any.granted, &|| WholeName::grant(client_id, subject));
        let client = before(&self.any.clients, &|| WholeName::client(client_id));
        let of_subject = before(&self.any.subjects, &|| WholeName::subject(subject));
        client.max(of_subject).max(granted)
    }

    /// As status lists publish them at `now`, and their generation.
    pub(super) fn published(&self, now: i64) -> (u64, RevokedBefore) {
        let [mut clients, mut subjects, mut grants] = [const { Vec::new() }; 3];
        let listed = self.listed();
        let generation = self.generation();
        for (name, cutoff) in listed.at(now) {
            let those = match cutoff.of {
                Of::Client => &mut clients,
                Of::Subject => &mut subjects,
                Of::Granted(_) => &mut grants,
            };
            those.push((*name, cutoff.before));
        }
        drop(listed);
        let named = |those: Vec<(WholeName, i64)>| {
            those.into_iter().map(|(name, before)| (name.to_string(), before)).collect()
        };
        let [clients, subjects, grants] = [clients, subjects, grants].map(named);
        (generation, RevokedBefore { clients, subjects, grants, keys: Vec::new() })
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Acquire)
    }

    fn listed(&self) -> MutexGuard<'_, Listed> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Of {
    /// Whether a token of `whole` may be of this, too, without that this is `whole`.
    fn is_beside(&self, whole: &Whole) -> bool {
        match (self, whole) {
            (Self::Client, Whole::Subject(_)) | (Self::Subject, Whole::Client(_)) => true,
            (Self::Granted(granted), whole) => is_within(granted, whole),
            _ => false,
        }
    }
}

/// Whether all between the client and the subject is part of `whole`, a client or a subject.
fn is_within((client_id, subject): &(ClientId, Subject), whole: &Whole) -> bool {
    match whole {
        Whole::Client(id) => client_id == id,
        Whole::Subject(id) => subject == id,
        Whole::Granted(..) => false,
    }
}

impl Any {
    fn note(&self, of: &Of) {
        let any = match of {
            Of::Client => &self.clients,
            Of::Subject => &self.subjects,
            Of::Granted(_) => &self.granted,
        };
        any.store(true, Release);
    }
}

fn name(whole: &Whole) -> WholeName {
    match whole {
        Whole::Client(id) => WholeName::client(id),
        Whole::Subject(id) => WholeName::subject(id),
        Whole::Granted(client_id, subject) => WholeName::grant(client_id, subject),
    }
}

/// Where those begin, in their order, that leave the lists after `now`.
fn first_after(now: i64) -> (i64, WholeName) {
    (now.saturating_add(1), WholeName::default())
}

/// When a cut-off is no longer at hand for the lists, which it left at `forget_at`: until then a clock that was ahead may be set right.
fn leaves_memory(forget_at: i64) -> i64 {
    forget_at.saturating_add(LONGEST_LEAD)
}

#[cfg(test)]
mod tests;
