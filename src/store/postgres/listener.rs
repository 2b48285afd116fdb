//! Hears of changes that others commit: what makes a follower faster, never what it relies on.

use std::sync::Weak;
use std::time::Duration;

use tokio::sync::watch;

use super::fault::describe;
use super::pool::{Pool, another_server, within};
use super::session::{self, About, Link};
use super::statements::changes;
use crate::entropy::Entropy;
use crate::store::{Cursor, StoreError};

const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// Listens for as long as the pool is there, on a connection of its own, and tells the newest number it heard of.
pub(super) async fn listen(pool: Weak<Pool>, newest: watch::Sender<u64>) {
    let mut backoff = Backoff::default();
    // How many hosts behind the one that writes, as far as is known.
    let mut turn = 0_usize;
    loop {
        let Some(alive) = pool.upgrade() else { return };
        let entropy = alive.options.entropy.clone();
        let mut server = alive.server();
        match within(alive.options.timeout, connect(&alive, turn)).await {
            Ok(None) => {
                tracing::info!("this database announces no changes: they are asked for from time to time");
                return;
            }
            Ok(Some((link, Cursor { epoch, place }))) => {
                drop(alive);
                turn = 0;
                // Whatever was announced while nobody listened.
                tell(&newest, place);
                let (heard, ended) = tokio::select! {
                    heard = hear(link, &newest) => (heard, "broke"),
                    another = async { server.wait_for(|server| is_another(*server, epoch)).await.is_ok() } => {
                        if !another {
                            // The store is closed.
                            return;
                        }
                        (true, "leads to a server that is not the one any more")
                    }
                };
                if heard {
                    backoff = Backoff::default();
                }
                tracing::info!("the connection that listens for changes {ended}; it is made anew");
            }
            Err(error) => {
                turn = turn.wrapping_add(1);
                tracing::debug!(%error, "changes can't be listened for; it is tried again");
            }
        }
        tokio::time::sleep(backoff.next(entropy.as_ref())).await;
    }
}

/// Tells what is announced, until the connection breaks. Says whether there was anything.
async fn hear(mut link: Link, newest: &watch::Sender<u64>) -> bool {
    let mut heard = false;
    while let Some(payload) = link.notifications.recv().await {
        if let Ok(number) = payload.parse() {
            heard = true;
            tell(newest, number);
        }
    }
    heard
}

/// How long to wait before the next try: twice as long each time, up to a bound, and of that at least half; the rest is
/// left to chance, so that nodes which lost a server together do not come back together.
#[derive(Default)]
struct Backoff {
    tries: u32,
}

impl Backoff {
    fn next(&mut self, entropy: &dyn Entropy) -> Duration {
        let longest = SHORTEST_PAUSE.saturating_mul(1 << self.tries.min(16)).min(LONGEST_PAUSE);
        self.tries = self.tries.saturating_add(1);
        let chance = u32::from(u16::from_be_bytes(entropy.bytes()));
        longest / 2 + longest / 2 * chance / u32::from(u16::MAX)
    }
}

async fn connect(pool: &Pool, turn: usize) -> Result<Option<(Link, Cursor)>, StoreError> {
    let hosts = &pool.options.hosts;
    let link = Link::open(&pool.options, &hosts[(pool.preferred() + turn) % hosts.len()]).await?;
    if !About::ask(&link.client).await?.announces() {
        return Ok(None);
    }
    link.client.batch_execute("LISTEN signet_changes").await.map_err(|error| describe(&error))?;
    let newest = session::newest(&link.client, changes(true)).await?;
    if is_another(*pool.server().borrow(), newest.epoch) {
        return Err(another_server());
    }
    Ok(Some((link, newest)))
}

/// Whether the other connections lead to another server than this one.
fn is_another(server: Option<u64>, this: u64) -> bool {
    server.is_some_and(|server| server != this)
}

/// The number falls where another server took over, or an older state was put back: then it is the lower one that counts.
/// Whoever kept the higher one would go on saying that there is something new.
fn tell(newest: &watch::Sender<u64>, number: u64) {
    newest.send_if_modified(|known| std::mem::replace(known, number) != number);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SeededEntropy;

    /// Chance at one of its ends.
    struct Always(u8);

    impl Entropy for Always {
        fn fill(&self, buffer: &mut [u8]) {
            buffer.fill(self.0);
        }
    }

    #[test]
    fn a_listener_waits_longer_each_time_within_bounds() {
        let pauses = |entropy: &dyn Entropy| {
            let mut backoff = Backoff::default();
            (0..40).map(|_| backoff.next(entropy).as_millis()).collect::<Vec<_>>()
        };
        let (least, most) = (pauses(&Always(0)), pauses(&Always(u8::MAX)));
        assert_eq!(least[..7], [50, 100, 200, 400, 800, 1600, 2500]);
        assert_eq!(most[..7], [100, 200, 400, 800, 1600, 3200, 5000]);
        assert_eq!((least[39], most[39]), (2500, 5000));
        let nodes = [1, 2].map(|seed| pauses(&SeededEntropy::new(seed)));
        assert_ne!(nodes[0], nodes[1]);
        for (at, pause) in nodes.iter().flat_map(|node| node.iter().enumerate()) {
            assert!((least[at]..=most[at]).contains(pause));
        }
    }

    #[test]
    fn the_number_that_was_told_last_is_the_one_that_counts() {
        let (newest, known) = watch::channel(0);
        for number in [5, 7, 3] {
            tell(&newest, number);
            assert_eq!(*known.borrow(), number);
        }
    }
}
