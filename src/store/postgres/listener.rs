//! Hears of changes that others commit: what makes a follower faster, never what it relies on.

use std::sync::Weak;
use std::time::Duration;

use tokio::sync::watch;

use super::fault::describe;
use super::pool::{Pool, within};
use super::session::{About, Link};
use crate::store::StoreError;

const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);

/// Listens for as long as the pool is there, on a connection of its own, and tells the newest number it heard of.
pub(super) async fn listen(pool: Weak<Pool>, newest: watch::Sender<u64>) {
    let mut pause = SHORTEST_PAUSE;
    for turn in 0_usize.. {
        let Some(alive) = pool.upgrade() else { return };
        match within(alive.options.timeout, connect(&alive, turn)).await {
            Ok(None) => {
                tracing::info!("this database announces no changes: they are asked for from time to time");
                return;
            }
            Ok(Some((mut link, number))) => {
                drop(alive);
                pause = SHORTEST_PAUSE;
                // Whatever was announced while nobody listened.
                tell(&newest, number);
                while let Some(payload) = link.notifications.recv().await {
                    if let Ok(number) = payload.parse() {
                        tell(&newest, number);
                    }
                }
                tracing::info!("the connection that listens for changes broke; it is made anew");
            }
            Err(error) => {
                drop(alive);
                tracing::debug!(%error, "changes can't be listened for; it is tried again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

async fn connect(pool: &Pool, turn: usize) -> Result<Option<(Link, u64)>, StoreError> {
    let hosts = &pool.options.hosts;
    let link = Link::open(&pool.options, &hosts[(pool.preferred() + turn) % hosts.len()]).await?;
    if !About::ask(&link.client).await?.announces() {
        return Ok(None);
    }
    link.client.batch_execute("LISTEN signet_changes").await.map_err(|error| describe(&error))?;
    let row = link.client.query_opt("SELECT n FROM signet_counter WHERE id = 1", &[]).await;
    let number = row.map_err(|error| describe(&error))?.map_or(0, |row| row.get::<_, i64>(0));
    Ok(Some((link, number.cast_unsigned())))
}

fn tell(newest: &watch::Sender<u64>, number: u64) {
    newest.send_if_modified(|known| {
        let later = number > *known;
        *known = number.max(*known);
        later
    });
}
