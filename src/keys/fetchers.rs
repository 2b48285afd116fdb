use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;

/// How many addresses are remembered; more are not counted.
const MOST: usize = 10_000;

/// Who fetched the JWKS, and when last: in memory only, since this node started.
#[derive(Debug, Default)]
pub(super) struct Fetchers(Mutex<Fetched>);

#[derive(Debug, Default)]
struct Fetched {
    by: HashMap<IpAddr, i64>,
    /// The last to be recorded: whoever comes again within the second is not looked up.
    last: Option<(IpAddr, i64)>,
}

impl Fetchers {
    pub(super) fn record(&self, address: IpAddr, now: i64) {
        let mut fetched = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if fetched.last.replace((address, now)) == Some((address, now)) {
            return;
        }
        if let Some(date) = fetched.by.get_mut(&address) {
            *date = now;
        } else if fetched.by.len() < MOST {
            fetched.by.insert(address, now);
        }
    }

    /// How many have fetched since `date`: who last fetched later, has what was published then.
    pub(super) fn since(&self, date: i64) -> usize {
        let fetched = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        fetched.by.values().filter(|fetched_at| **fetched_at >= date).count()
    }
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
}
