//! Commits that every node follows, several in one transaction.
//!
//! They take turns, for each holds the lock under which changes are numbered until it is durable, at the synchronous standby
//! too. So those of one node that wait are committed together, as many as there are: a turn costs the same for one as
//! for all. Batches of which one writes what the other names are kept apart: the later one waits for the next turn. While
//! commits are slow a line may be longer than anybody waits: what revokes or replaces a key is then done nevertheless, anything
//! else is not begun.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use super::attempts::attempts;
use super::commit::is_heard_of;
use super::pool::{Pool, Purpose};
use super::work::CommitTogether;
use crate::store::{Action, Batch, Committed, Condition, StoreError, Write};

/// A turn takes no further batch once it has so many writes: it bounds how long the locks are held.
const MOST_WRITES: usize = 500;
/// Nor once they hold so many bytes.
const MOST_BYTES: usize = 4 * 1024 * 1024;
/// So many batches may wait of which nobody waits for the answer any more; of further ones nothing is done.
const MOST_LEFT: usize = 1000;

/// A batch that waits for its turn.
pub(super) struct Waiting {
    pub(super) batch: Batch,
    pub(super) answer: oneshot::Sender<Result<Committed, StoreError>>,
}

/// Commits what comes in, until nobody can send any more.
pub(super) async fn commit_together(pool: Arc<Pool>, mut incoming: UnboundedReceiver<Waiting>) {
    let mut line = VecDeque::new();
    loop {
        if line.is_empty() {
            let Some(first) = incoming.recv().await else { return };
            line.push_back(first);
            // Whoever is about to commit does so first.
            tokio::task::yield_now().await;
        }
        line.extend(std::iter::from_fn(|| incoming.try_recv().ok()));
        let group = next_turn(&mut line);
        if group.is_empty() {
            continue;
        }
        let (batches, answers): (Vec<_>, Vec<_>) =
            group.into_iter().map(|waiting| (waiting.batch, waiting.answer)).unzip();
        // Also where all of them have been sent away: until it is answered it has the turn, and no other could be had.
        let limits = pool.options.turn_limits();
        let outcomes = attempts(&pool, &CommitTogether(batches), (Purpose::Work, limits)).await;
        for (at, answer) in answers.into_iter().enumerate() {
            // Whoever no longer waits does not get to know.
            _ = answer
                .send(outcomes.as_ref().map_err(Clone::clone).and_then(|outcomes| outcomes[at].clone()));
        }
    }
}

/// Whether several batches of a turn may name a row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    /// All of them only ask for its version, as every cut-off does of the row of the sealing keys.
    Checked,
    /// One of them does more.
    Written,
}

/// Those of the next turn, in the order of the line; what can't be among them stays in it.
fn next_turn(line: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    let (mut group, mut rows, mut bytes, mut left) = (Vec::new(), HashMap::new(), 0, 0);
    for next in std::mem::take(line) {
        // Whose time is up has been told so: it may be done, or not.
        let is_left = next.answer.is_closed();
        if is_left && (left == MOST_LEFT || !next.is_wanted_even_late()) {
            continue;
        }
        let is_full = rows.len() >= MOST_WRITES || bytes >= MOST_BYTES;
        let writes = &next.batch.writes;
        let is_apart = !is_full && writes.iter().any(|write| is_taken(rows.get(&row(write)), write));
        if is_left && is_apart && group.iter().chain(&*line).any(|ahead| ahead.batch == next.batch) {
            // It was asked for again and again, and would take a turn each time.
            continue;
        }
        left += usize::from(is_left);
        if is_full || is_apart {
            line.push_back(next);
            continue;
        }
        rows.extend(writes.iter().map(|write| (row(write), named(write))));
        bytes += size(&next.batch);
        group.push(next);
    }
    group
}

fn row(write: &Write) -> (&'static str, Vec<u8>) {
    (write.table.name, write.key.clone())
}

fn named(write: &Write) -> Named {
    match (&write.action, write.condition) {
        (Action::Check, Condition::VersionIs(_) | Condition::Always) => Named::Checked,
        // What is not there is held by a placeholder.
        _ => Named::Written,
    }
}

/// Whether its row is named so by one before it that it can't share it.
fn is_taken(before: Option<&Named>, write: &Write) -> bool {
    before.is_some_and(|before| *before == Named::Written || named(write) == Named::Written)
}

impl Waiting {
    fn is_wanted_even_late(&self) -> bool {
        self.batch.writes.iter().any(|write| write.table.even_late && is_heard_of(write))
    }
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
    use crate::store::{Put, Table};

    const CLIENTS: Table = Table::mirrored("clients");
    const ORDERS: Table = Table::mirrored("orders").even_late();

    type Answer = oneshot::Receiver<Result<Committed, StoreError>>;

    /// A batch that writes so many bytes to each of these rows, and whoever waits for its answer.
    fn waiting(table: Table, keys: &[&str], bytes: usize) -> (Waiting, Answer) {
        let put = || Put::lasting(vec![0; bytes]);
        let batch =
            keys.iter().fold(Batch::new(), |batch, key| batch.put(table, *key, Condition::Always, put()));
        let (answer, answered) = oneshot::channel();
        (Waiting { batch, answer }, answered)
    }

    fn keys(group: &[Waiting]) -> Vec<String> {
        let writes = group.iter().flat_map(|waiting| &waiting.batch.writes);
        writes.map(|write| String::from_utf8(write.key.clone()).unwrap()).collect()
    }

    #[test]
    fn no_row_is_named_twice_in_a_turn_and_nobody_is_passed_over() {
        let (mut line, mut answers) = (VecDeque::new(), Vec::new());
        for keys in [["a", "b"].as_slice(), &["c"], &["b"], &["b", "d"], &["gone"], &["e"], &["f"]] {
            let (each, answered) = waiting(CLIENTS, keys, 1 << 20);
            line.push_back(each);
            // Whoever sent this one waits no longer.
            answers.extend((keys != ["gone"]).then_some(answered));
        }
        let mut turn = || keys(&next_turn(&mut line));
        // Then it is full: of bytes.
        assert_eq!(turn(), ["a", "b", "c", "e"]);
        assert_eq!(turn(), ["b", "f"]);
        assert_eq!(turn(), ["b", "d"]);
        assert!(turn().is_empty());
    }

    #[test]
    fn what_is_wanted_even_late_waits_on_when_nobody_waits_for_it() {
        let (other, order) =
            (waiting(CLIENTS, &["other"], 1).0, |key: &str| waiting(ORDERS, &[key], 1 << 23).0);
        let mut line = VecDeque::from([order("a"), other, order("b"), order("a"), order("b")]);
        let mut turn = || keys(&next_turn(&mut line));
        // Each of them fills a turn. A second one of a row gives way where it would wait for the first.
        assert_eq!([turn(), turn(), turn(), turn()], [vec!["a"], vec!["b"], vec!["a"], vec!["b"]]);
        let mut line = VecDeque::from(["a", "a", "a"].map(|key| waiting(ORDERS, &[key], 1).0));
        let (asked, answered) = waiting(ORDERS, &["a"], 1);
        line.push_back(asked);
        assert_eq!((keys(&next_turn(&mut line)), line.len()), (vec!["a".to_owned()], 1));
        drop(answered);
    }

    /// As cut-offs are: each on condition that the row of the sealing keys has not changed, and its own row neither.
    #[test]
    fn orders_that_ask_the_same_of_a_row_share_a_turn_and_none_is_dropped_for_it() {
        let order = |key: &str, value: &str, version| {
            let put = Put::lasting(value.as_bytes().to_vec());
            let batch = Batch::new().put(ORDERS, key, Condition::VersionIs(version), put);
            let batch = batch.check(CLIENTS, "sealing", Condition::VersionIs(7));
            Waiting { batch, answer: oneshot::channel().0 }
        };
        let (writes, _answered) = waiting(CLIENTS, &["sealing"], 1);
        let mut line = VecDeque::from([order("a", "1", 1), order("b", "1", 1), order("a", "2", 2), writes]);
        line.extend([order("c", "1", 1), order("a", "1", 1)]);
        let mut turn = || {
            let mut names = keys(&next_turn(&mut line));
            names.dedup();
            names.join(" ")
        };
        // What comes twice is done once; a later order of the same is another one, and what they ask of a row is written behind them.
        assert_eq!(
            [turn(), turn(), turn(), turn()],
            ["a sealing b sealing c sealing", "a sealing", "sealing", ""]
        );
    }

    #[test]
    fn what_asks_that_there_is_no_row_shares_it_with_nobody() {
        let turn = |condition| {
            let check = || Batch::new().check(CLIENTS, "none", condition);
            let (answers, _answered): (Vec<_>, Vec<Answer>) = (0..2).map(|_| oneshot::channel()).unzip();
            let waiting = |answer| Waiting { batch: check(), answer };
            next_turn(&mut answers.into_iter().map(waiting).collect()).len()
        };
        assert_eq!((turn(Condition::Absent), turn(Condition::VersionIs(1))), (1, 2));
    }

    #[test]
    fn so_many_wait_on_and_no_more() {
        let mut line: VecDeque<_> =
            (0..3 * MOST_LEFT).map(|number| waiting(ORDERS, &[&number.to_string()], 1).0).collect();
        let (asked, _answered) = waiting(ORDERS, &["asked"], 1);
        line.push_back(asked);
        assert_eq!((next_turn(&mut line).len(), line.len()), (MOST_WRITES, MOST_LEFT - MOST_WRITES + 1));
    }
}
