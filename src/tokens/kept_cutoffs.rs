use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::cutoffs::Cutoff;
use crate::oauth::WholeName;

/// Into how many parts they are divided: eight million are two thousand, or 80 KB, in each.
const PARTS: usize = 1 << PART_BITS;
const PART_BITS: u32 = 12;

/// Cut-offs by the names of those that they are of, 40 bytes each, however many. Whoever looks one up takes no lock; a change copies the part
/// that it belongs to, and no other. Changes are made one after another: two of one part at once would lose one.
pub(super) struct KeptCutoffs {
    parts: Vec<ArcSwapOption<Part>>,
}

/// An immutable snapshot of some.
struct Part {
    /// In the order of their names.
    cutoffs: Box<[Named]>,
    /// When the first of them is forgotten, in seconds since the epoch.
    first_end: i64,
}

type Named = (WholeName, Cutoff);

impl KeptCutoffs {
    pub(super) fn find(&self, name: &WholeName) -> Option<Cutoff> {
        let part = self.parts.get(place(name))?.load();
        let cutoffs = &part.as_ref()?.cutoffs;
        let at = cutoffs.binary_search_by_key(name, |(name, _)| *name).ok()?;
        cutoffs.get(at).map(|(_, cutoff)| *cutoff)
    }

    /// Puts each in the place of what is known by its name. They come in the order of their names, each name once.
    pub(super) fn put(&self, new: &[Named]) {
        for new in new.chunk_by(|(one, _), (next, _)| place(one) == place(next)) {
            let slot = new.first().and_then(|(name, _)| self.parts.get(place(name)));
            if let Some(slot) = slot {
                let part = slot.load();
                let known = part.as_ref().map_or(&[][..], |part| &part.cutoffs);
                slot.store(Part::of(merged(known, new)));
            }
        }
    }

    pub(super) fn remove(&self, name: &WholeName) {
        if let Some(slot) = self.parts.get(place(name)) {
            let part = slot.load();
            if let Some(part) = part.as_ref() {
                slot.store(part.without(|(known, _)| known == name));
            }
        }
    }

    /// Forgets what is kept until `now` or less long, in seconds since the epoch. Parts of which that is nothing stay as they are.
    pub(super) fn drop_ended(&self, now: i64) {
        for slot in &self.parts {
            let part = slot.load();
            if let Some(part) = part.as_ref().filter(|part| part.first_end <= now) {
                slot.store(part.without(|(_, cutoff)| cutoff.kept_until() <= now));
            }
        }
    }
}

impl Default for KeptCutoffs {
    fn default() -> Self {
        Self { parts: (0..PARTS).map(|_| ArcSwapOption::empty()).collect() }
    }
}

impl Part {
    fn of(cutoffs: Vec<Named>) -> Option<Arc<Self>> {
        let first_end = cutoffs.iter().map(|(_, cutoff)| cutoff.kept_until()).min()?;
        Some(Arc::new(Self { cutoffs: cutoffs.into(), first_end }))
    }

    fn without(&self, gone: impl Fn(&Named) -> bool) -> Option<Arc<Self>> {
        Self::of(self.cutoffs.iter().filter(|cutoff| !gone(cutoff)).copied().collect())
    }
}

/// In which part it is. Names are digests: all parts get as many.
fn place(name: &WholeName) -> usize {
    let [first, second, ..] = name.bytes();
    usize::from(u16::from_be_bytes([first, second]) >> (u16::BITS - PART_BITS))
}

/// Both in the order of names; of two with one name the new one.
fn merged(known: &[Named], new: &[Named]) -> Vec<Named> {
    let mut merged = Vec::with_capacity(known.len() + new.len());
    let mut rest = known;
    for each in new {
        let (before, behind) = rest.split_at(rest.partition_point(|(name, _)| *name < each.0));
        merged.extend_from_slice(before);
        merged.push(*each);
        rest = match behind.split_first() {
            Some(((name, _), behind)) if *name == each.0 => behind,
            _ => behind,
        };
    }
    merged.extend_from_slice(rest);
    merged
}

#[cfg(test)]
pub(super) struct Snapshot(Vec<Option<Arc<Part>>>);

#[cfg(test)]
impl KeptCutoffs {
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot(self.parts.iter().map(ArcSwapOption::load_full).collect())
    }

    /// Whether the very same part lies there as then, part by part; empty ones left out.
    pub(super) fn untouched_since(&self, then: &Snapshot) -> Vec<bool> {
        let pairs = self.parts.iter().map(ArcSwapOption::load_full).zip(&then.0);
        let parts = pairs.filter(|(now, then)| now.is_some() || then.is_some());
        parts.map(|(now, then)| now.as_ref().map(Arc::as_ptr) == then.as_ref().map(Arc::as_ptr)).collect()
    }
}
