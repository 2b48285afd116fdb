use std::sync::Mutex;
use std::sync::PoisonError;

use arc_swap::ArcSwap;

use super::Verified;
use crate::oauth::{KeyId, RevokedBefore};

/// The revocations of everything of a client, a subject or a key, from the newest list seen: they count
/// for every token of the issuer, whichever list it refers to.
#[derive(Default)]
pub(super) struct Cutoffs {
    newest: ArcSwap<Newest>,
    taking: Mutex<()>,
}

#[derive(Clone, Default)]
struct Newest {
    iat: i64,
    revoked: RevokedBefore,
}

impl Cutoffs {
    /// Whether `token` is revoked as part of a whole.
    pub(super) fn cover(&self, token: &Verified) -> bool {
        let claims = &token.claims;
        self.newest.load().revoked.covers(&token.kid, &claims.client_id, &claims.sub, claims.iat)
    }

    /// Whether nothing signed with `kid` counts any more.
    pub(super) fn distrust(&self, kid: &KeyId) -> bool {
        self.newest.load().revoked.keys.contains(kid)
    }

    /// Takes what a list that was signed at `iat` says. One that is older than the newest by no more than
    /// `leeway` seconds adds to it, since the clocks that dated them may differ by as much; and so does any where the newest is
    /// of the future by `now`, because clocks were set back.
    pub(super) fn take(&self, iat: i64, revoked: RevokedBefore, (now, leeway): (i64, i64)) {
        let _taking = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = self.newest.load_full();
        if iat > newest.iat {
            self.newest.store(Newest { iat, revoked }.into());
            return;
        }
        let counts = iat.saturating_add(leeway) >= newest.iat || now.saturating_add(leeway) < newest.iat;
        if counts && revoked != newest.revoked {
            let revoked = union(newest.revoked.clone(), revoked);
            self.newest.store(Newest { iat: newest.iat, revoked }.into());
        }
    }
}

fn union(mut one: RevokedBefore, other: RevokedBefore) -> RevokedBefore {
    for (name, cutoff) in other.clients {
        let known = one.clients.entry(name).or_insert(cutoff);
        *known = cutoff.max(*known);
    }
    for (name, cutoff) in other.subjects {
        let known = one.subjects.entry(name).or_insert(cutoff);
        *known = cutoff.max(*known);
    }
    for (name, cutoff) in other.grants {
        let known = one.grants.entry(name).or_insert(cutoff);
        *known = cutoff.max(*known);
    }
    for kid in other.keys {
        if !one.keys.contains(&kid) {
            one.keys.push(kid);
        }
    }
    one
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(entries: &[(&str, i64)]) -> RevokedBefore {
        let clients = entries.iter().map(|(name, cutoff)| ((*name).to_owned(), *cutoff)).collect();
        RevokedBefore { clients, ..RevokedBefore::default() }
    }

    #[test]
    fn the_newest_list_counts() {
        let cutoffs = Cutoffs::default();
        cutoffs.take(100, clients(&[("a", 1)]), (100, 60));
        cutoffs.take(39, clients(&[("b", 1)]), (100, 60));
        assert_eq!(cutoffs.newest.load().revoked, clients(&[("a", 1)]));
        cutoffs.take(101, clients(&[]), (100, 60));
        assert!(cutoffs.newest.load().revoked.is_empty());
    }

    #[test]
    fn a_list_within_the_leeway_of_the_newest_adds_up_and_does_not_take_its_place() {
        let cutoffs = Cutoffs::default();
        cutoffs.take(100, clients(&[("a", 1)]), (100, 60));
        cutoffs.take(40, clients(&[("b", 1)]), (100, 60));
        assert_eq!(cutoffs.newest.load().revoked, clients(&[("a", 1), ("b", 1)]));
        cutoffs.take(39, clients(&[("c", 1)]), (100, 60));
        assert_eq!(cutoffs.newest.load().revoked, clients(&[("a", 1), ("b", 1)]));
    }

    #[test]
    fn where_clocks_were_set_back_what_lists_say_adds_up_until_they_have_caught_up() {
        let cutoffs = Cutoffs::default();
        cutoffs.take(3_700, clients(&[("a", 1)]), (3_700, 60));
        cutoffs.take(100, clients(&[("b", 1)]), (100, 60));
        assert_eq!(cutoffs.newest.load().revoked, clients(&[("a", 1), ("b", 1)]));
        // By then an older one is a replay again.
        cutoffs.take(3_579, clients(&[("c", 1)]), (3_640, 60));
        assert_eq!(cutoffs.newest.load().revoked, clients(&[("a", 1), ("b", 1)]));
    }

    #[test]
    fn whatever_two_lists_say_adds_up() {
        let of = |name: &str, cutoff: i64| {
            let one = || [(name.to_owned(), cutoff)].into();
            RevokedBefore { clients: one(), subjects: one(), grants: one(), keys: Vec::new() }
        };
        let cutoffs = Cutoffs::default();
        for (name, cutoff) in [("a", 1), ("b", 2), ("a", 3), ("b", 1)] {
            cutoffs.take(10, of(name, cutoff), (10, 0));
        }
        let both: std::collections::BTreeMap<_, _> = [("a".to_owned(), 3), ("b".to_owned(), 2)].into();
        let known = &cutoffs.newest.load().revoked;
        assert_eq!([&known.clients, &known.subjects, &known.grants], [&both; 3]);
    }

    #[test]
    fn lists_of_the_same_second_add_up() {
        let cutoffs = Cutoffs::default();
        cutoffs.take(10, clients(&[("a", 1), ("b", 5)]), (10, 0));
        cutoffs.take(10, clients(&[("a", 3), ("b", 2), ("c", 4)]), (10, 0));
        assert_eq!(cutoffs.newest.load().revoked, clients(&[("a", 3), ("b", 5), ("c", 4)]));
    }
}
