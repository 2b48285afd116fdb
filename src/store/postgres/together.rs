//! Commits that every node follows, several in one transaction.
//!
//! They take turns, for each holds the lock under which changes are numbered until it is durable, at the synchronous standby
//! too. So those of one node that wait are committed together, as many as there are: a turn costs the same for one as
//! for all. Batches that name the same row are kept apart: the later one waits for the next turn.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use super::attempts::attempts;
use super::pool::{Pool, Purpose};
use super::work::CommitTogether;
use crate::store::{Action, Batch, Committed, StoreError};

/// A turn takes no further batch once it has so many writes: it bounds how long the locks are held.
const MOST_WRITES: usize = 500;
/// Nor once they hold so many bytes.
const MOST_BYTES: usize = 4 * 1024 * 1024;

/// A batch that waits for its turn.
pub(super) struct Waiting {
    pub(super) batch: Batch,
    pub(super) answer: oneshot::Sender<Result<Committed, StoreError>>,
}

/// Commits what comes in, until nobody can send any more.
pub(super) async fn commit_together(pool: Arc<Pool>, mut incoming: UnboundedReceiver<Waiting>) {
    let mut kept_apart = VecDeque::new();
    loop {
        if kept_apart.is_empty() {
            let Some(first) = incoming.recv().await else { return };
            kept_apart.push_back(first);
            // Whoever is about to commit does so first.
            tokio::task::yield_now().await;
        }
        let group = next_turn(&mut kept_apart, || incoming.try_recv().ok());
        if group.is_empty() {
            continue;
        }
        let (batches, answers): (Vec<_>, Vec<_>) =
            group.into_iter().map(|waiting| (waiting.batch, waiting.answer)).unzip();
        // Also where all of them have been sent away: until it is answered it has the turn, and no other could be had.
        let limits = pool.options.limits();
        let outcomes = attempts(&pool, &CommitTogether(batches), (Purpose::Work, limits)).await;
        for (at, answer) in answers.into_iter().enumerate() {
            // Whoever no longer waits does not get to know.
            _ = answer.send(outcomes.as_ref().map(|outcomes| outcomes[at]).map_err(Clone::clone));
        }
    }
}

/// Those of the next turn: the ones that were kept apart first, then those that wait. What can't be among them is kept
/// apart.
fn next_turn(
    kept_apart: &mut VecDeque<Waiting>,
    mut waiting: impl FnMut() -> Option<Waiting>,
) -> Vec<Waiting> {
    let (mut group, mut rows, mut bytes) = (Vec::new(), HashSet::new(), 0);
    let mut earlier = std::mem::take(kept_apart);
    while rows.len() < MOST_WRITES && bytes < MOST_BYTES {
        let Some(next) = earlier.pop_front().or_else(&mut waiting) else { break };
        // Whose time is up has been told so: nothing was done, and nothing will be.
        if next.answer.is_closed() {
            continue;
        }
        let writes = &next.batch.writes;
        let named: Vec<_> = writes.iter().map(|write| (write.table.name, write.key.clone())).collect();
        if named.iter().any(|row| rows.contains(row)) {
            kept_apart.push_back(next);
            continue;
        }
        rows.extend(named);
        bytes += size(&next.batch);
        group.push(next);
    }
    kept_apart.append(&mut earlier);
    group
}

fn size(batch: &Batch) -> usize {
    let value = |action: &Action| match action {
        Action::Put { value, .. } => value.len(),
        Action::Delete | Action::Check => 0,
    };
    batch.writes.iter().map(|write| write.key.len() + value(&write.action)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Condition, Put, Table};

    const CLIENTS: Table = Table::mirrored("clients");

    /// A batch that writes these rows, and whoever waits for its answer.
    fn waiting(keys: &[&str]) -> (Waiting, oneshot::Receiver<Result<Committed, StoreError>>) {
        let batch = keys.iter().fold(Batch::new(), |batch, key| {
            batch.put(CLIENTS, *key, Condition::Always, Put::lasting(vec![0; 1 << 20]))
        });
        let (answer, answered) = oneshot::channel();
        (Waiting { batch, answer }, answered)
    }

    fn keys(group: &[Waiting]) -> Vec<String> {
        let writes = group.iter().flat_map(|waiting| &waiting.batch.writes);
        writes.map(|write| String::from_utf8(write.key.clone()).unwrap()).collect()
    }

    #[test]
    fn no_row_is_named_twice_in_a_turn_and_nobody_is_passed_over() {
        let (mut kept_apart, mut answers) = (VecDeque::new(), Vec::new());
        let mut queue = VecDeque::new();
        for keys in [["a", "b"].as_slice(), &["c"], &["b"], &["b", "d"], &["gone"], &["e"], &["f"]] {
            let (each, answered) = waiting(keys);
            queue.push_back(each);
            // Whoever sent this one waits no longer.
            answers.extend((keys != ["gone"]).then_some(answered));
        }
        let mut turn = || keys(&next_turn(&mut kept_apart, || queue.pop_front()));
        // Then it is full: of bytes.
        assert_eq!(turn(), ["a", "b", "c", "e"]);
        assert_eq!(turn(), ["b", "f"]);
        assert_eq!(turn(), ["b", "d"]);
        assert!(turn().is_empty());
    }
}
