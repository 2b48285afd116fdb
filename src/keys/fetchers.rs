use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// How many addresses are remembered; more are not counted.
const MOST: usize = 10_000;

/// Who fetched the JWKS, and when last: in memory only, since this node started.
#[derive(Debug, Default)]
pub(super) struct Fetchers {
    by: Mutex<HashMap<IpAddr, i64>>,
    /// The last to be recorded: whoever comes again within the second is not looked up, and waits for nobody.
    last: AtomicU64,
}

impl Fetchers {
    pub(super) fn record(&self, address: IpAddr, now: i64) {
        let fetch = in_one_number(address, now);
        if let Some(fetch) = fetch {
            if self.last.load(Ordering::Relaxed) == fetch {
                return;
            }
            self.last.store(fetch, Ordering::Relaxed);
        }
        let mut by = self.by.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(date) = by.get_mut(&address) {
            *date = now;
        } else if by.len() < MOST {
            by.insert(address, now);
        }
    }

    /// How many have fetched since `date`: who last fetched later, has what was published then.
    pub(super) fn since(&self, date: i64) -> usize {
        let by = self.by.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        by.values().filter(|fetched_at| **fetched_at >= date).count()
    }
}

/// An address and the second at which it fetched; those of IPv6 don't fit.
fn in_one_number(address: IpAddr, now: i64) -> Option<u64> {
    let IpAddr::V4(address) = address else { return None };
    let seconds = u32::try_from(now.rem_euclid(1 << 32)).ok()?;
    Some(u64::from(address.to_bits()) << 32 | u64::from(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fetchers_are_counted_once_and_within_bounds() {
        let fetchers = Fetchers::default();
        for number in 0..20_000_u32 {
            fetchers.record(IpAddr::from(number.to_be_bytes()), 10);
        }
        fetchers.record(IpAddr::from([0, 0, 0, 1]), 20);
        assert_eq!(fetchers.since(10), MOST);
        assert_eq!(fetchers.since(11), 1);
    }

    /// Neither another address within the second nor the same one a second later is taken for the last.
    #[test]
    fn only_the_same_fetch_is_passed_over() {
        let fetchers = Fetchers::default();
        let (one, other, six) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), IpAddr::from([1_u16; 8]));
        for (address, now, since, count) in [
            (one, 10, 10, 1),
            (one, 10, 10, 1),
            (other, 10, 10, 2),
            (six, 10, 10, 3),
            (six, 10, 10, 3),
            (one, 11, 11, 1),
            (one, 11, 11, 1),
            (six, 11, 11, 2),
            (other, 10, 10, 3),
            (other, 12, 11, 3),
        ] {
            fetchers.record(address, now);
            assert_eq!(fetchers.since(since), count, "{address} at {now}");
        }
    }
}
