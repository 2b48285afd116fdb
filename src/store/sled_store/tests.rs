//! What only this backend promises: durability, and what it does when the disk fails.

use std::io;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::task::Poll;
use std::time::Duration;

use super::*;
use crate::clock::{Clock as _, ManualClock};
use crate::stall::LONGEST_WRITE;
use crate::store::{Condition, Patience, Put};

const CODES: Table = Table::plain("codes");
const CLIENTS: Table = Table::mirrored("clients");

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(1_700_000_000))
}

fn put(key: &str) -> Batch {
    Batch::new().put(CODES, key, Condition::Always, Put::lasting(key.into()))
}

/// A disk that does what the test says.
struct FakeDisk<S> {
    files: DataFiles,
    room: Arc<AtomicBool>,
    before_sync: S,
}

/// A store on a disk that, while it is closed, tells that a sync has begun and waits until it may go on. For those who stand on a store.
pub(crate) struct GatedStore {
    pub(crate) store: Arc<SledStore>,
    clock: Arc<ManualClock>,
    is_closed: Arc<AtomicBool>,
    begun: Receiver<()>,
    go_on: SyncSender<()>,
}

impl GatedStore {
    /// It is not closed yet.
    pub(crate) fn open(dir: &Path, clock: &Arc<ManualClock>) -> Self {
        let (tell, begun) = sync_channel(0);
        let (go_on, may_go_on) = sync_channel(0);
        let is_closed = Arc::<AtomicBool>::default();
        let closed = is_closed.clone();
        let (store, _) = open_by(clock.clone(), dir, move || {
            if closed.load(Ordering::SeqCst) {
                tell.send(()).map_err(io::Error::other)?;
                may_go_on.recv().map_err(io::Error::other)?;
            }
            Ok(())
        });
        Self { store, clock: clock.clone(), is_closed, begun, go_on }
    }

    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }

    /// Comes when a sync has begun, and does not end.
    pub(crate) async fn begun(&self) {
        while self.begun.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
    }

    /// Lets so much time pass that it stalls.
    pub(crate) fn stall(&self) {
        self.clock.advance(LONGEST_WRITE);
        self.store.progress.stall.look();
        assert!(self.store.is_unwritable());
    }

    /// Comes when what was held up is done.
    pub(crate) async fn go_on(&self) {
        self.is_closed.store(false, Ordering::SeqCst);
        self.go_on.send(()).unwrap();
        assert_eq!(self.store.commit(put("behind it")).await.unwrap(), Committed::Applied);
    }
}

impl<S: FnMut() -> io::Result<()> + Send> Disk for FakeDisk<S> {
    fn has_room(&mut self) -> io::Result<bool> {
        Ok(self.room.load(Ordering::SeqCst))
    }

    fn sync(&mut self) -> io::Result<()> {
        (self.before_sync)()?;
        self.files.sync()
    }
}

fn open_on<S>(dir: &Path, before_sync: S) -> (Arc<SledStore>, Arc<AtomicBool>)
where
    S: FnMut() -> io::Result<()> + Send + 'static,
{
    open_by(clock(), dir, before_sync)
}

fn open_by<S>(clock: SharedClock, dir: &Path, before_sync: S) -> (Arc<SledStore>, Arc<AtomicBool>)
where
    S: FnMut() -> io::Result<()> + Send + 'static,
{
    let room = Arc::new(AtomicBool::new(true));
    let disk = |files| Box::new(FakeDisk { files, room: room.clone(), before_sync }) as Box<dyn Disk>;
    (SledStore::open_on(dir, clock, SledOptions::default(), disk).unwrap(), room)
}

/// A disk that, at every sync, tells that it has begun and waits until it may go on.
fn open_gated(dir: &Path) -> (Arc<SledStore>, Receiver<()>, SyncSender<()>) {
    open_gated_by(clock(), dir)
}

fn open_gated_by(clock: SharedClock, dir: &Path) -> (Arc<SledStore>, Receiver<()>, SyncSender<()>) {
    let (tell, begun) = sync_channel(0);
    let (go_on, may_go_on) = sync_channel(0);
    let (store, _) = open_by(clock, dir, move || {
        tell.send(()).map_err(io::Error::other)?;
        may_go_on.recv().map_err(io::Error::other)
    });
    (store, begun, go_on)
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn refusal(opened: Result<Arc<SledStore>, StoreError>) -> String {
    opened.err().expect("it is refused").to_string()
}

#[tokio::test]
async fn nothing_is_acknowledged_before_it_is_on_disk_and_those_that_wait_share_one_flush() {
    let dir = tempfile::tempdir().unwrap();
    let (store, begun, go_on) = open_gated(dir.path());
    let spawn = |number: usize| {
        let store = store.clone();
        tokio::spawn(async move { store.commit(put(&number.to_string())).await })
    };
    let mut commits = vec![spawn(0)];
    tokio::task::yield_now().await;
    begun.recv().unwrap();
    // Flushed by sled, but not yet on disk.
    assert!(!commits[0].is_finished());
    commits.extend((1..=100).map(spawn));
    while store.operations.as_ref().unwrap().capacity() > WAITING_COMMITS - 100 {
        tokio::task::yield_now().await;
    }
    assert!(commits.iter().all(|commit| !commit.is_finished()));
    go_on.send(()).unwrap();
    begun.recv().unwrap();
    assert_eq!(commits.remove(0).await.unwrap().unwrap(), Committed::Applied);
    assert!(commits.iter().all(|commit| !commit.is_finished()));
    go_on.send(()).unwrap();
    for commit in commits {
        assert_eq!(commit.await.unwrap().unwrap(), Committed::Applied);
    }
    assert_eq!(store.flushes(), 2);
}

#[tokio::test]
async fn a_patient_commit_waits_for_the_next_one_and_shares_its_flush() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path(), clock()).unwrap();
    let patient = store.commit(put("patient").patient(Duration::from_hours(1)));
    let (patient, other) = tokio::join!(patient, store.commit(put("other")));
    assert_eq!((patient.unwrap(), other.unwrap()), (Committed::Applied, Committed::Applied));
    assert_eq!(store.flushes(), 1);
}

#[tokio::test]
async fn no_more_commits_than_that_wait_for_another_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path(), clock()).unwrap();
    let commits = (0..=writer::PATIENT_COMMITS).map(|number| {
        let (store, batch) = (store.clone(), put(&number.to_string()).patient(Duration::from_hours(1)));
        tokio::spawn(async move { store.commit(batch).await })
    });
    for commit in commits.collect::<Vec<_>>() {
        assert_eq!(commit.await.unwrap().unwrap(), Committed::Applied);
    }
}

#[tokio::test]
async fn a_patient_commit_that_nobody_waits_for_any_more_is_made_before_the_store_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path(), clock()).unwrap();
    {
        let mut commit = store.commit(put("patient").patient(Duration::from_hours(1)));
        let polled = std::future::poll_fn(|context| Poll::Ready(commit.as_mut().poll(context))).await;
        assert!(polled.is_pending());
    }
    drop(store);
    let store = SledStore::open(dir.path(), clock()).unwrap();
    assert!(store.get(CODES, b"patient").await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_patient_commit_that_nobody_joins_is_made_when_its_patience_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path(), clock()).unwrap();
    let begun = tokio::time::Instant::now();
    let commit = store.commit(put("patient").patient(Duration::from_hours(1)));
    assert_eq!(commit.await.unwrap(), Committed::Applied);
    assert_eq!(begun.elapsed(), Duration::from_hours(1));
    assert!(store.get(CODES, b"patient").await.unwrap().is_some());
}

#[tokio::test]
async fn a_conflict_is_answered_when_what_caused_it_is_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (store, begun, go_on) = open_gated(dir.path());
    let take = |store: Arc<SledStore>| async move {
        let batch = Batch::new().put(CODES, "k", Condition::Absent, Put::lasting(vec![]));
        store.commit(batch).await
    };
    let first = tokio::spawn(take(store.clone()));
    tokio::task::yield_now().await;
    begun.recv().unwrap();
    let second = tokio::spawn(take(store.clone()));
    tokio::task::yield_now().await;
    assert!(!second.is_finished());
    go_on.send(()).unwrap();
    assert_eq!(first.await.unwrap().unwrap(), Committed::Applied);
    assert_eq!(second.await.unwrap().unwrap(), Committed::Conflict);
    assert_eq!(store.flushes(), 1, "a conflict alone has nothing to flush");
}

#[tokio::test]
async fn a_failed_sync_is_never_retried_into_success() {
    let (mut refused, mut restarts) = (0, 0);
    for failing in (0..10).cycle().take(100) {
        let dir = tempfile::tempdir().unwrap();
        let mut syncs = 0;
        let (store, _) = open_on(dir.path(), move || {
            syncs += 1;
            // Only this one fails: the disk seems well again afterwards.
            if syncs == failing + 1 { Err(io::Error::other("EIO")) } else { Ok(()) }
        });
        for number in 0..failing {
            assert_eq!(store.commit(put(&number.to_string())).await.unwrap(), Committed::Applied);
        }
        assert_eq!(store.failure(), None);
        for _ in 0..3 {
            let lost = put("lost").put(CLIENTS, "lost", Condition::Always, Put::lasting(vec![]));
            let message = store.commit(lost).await.unwrap_err().to_string();
            assert!(message.contains("syncing to disk failed: EIO"), "{message}");
            refused += 1;
            assert!(store.sweep(store.reader.clock.now(), 1).await.is_err());
        }
        // Nobody is told that it is done already.
        let read = Patience::of_a_request(store.get(CODES, b"lost")).await.unwrap_err().to_string();
        assert!(read.contains("syncing to disk failed: EIO"), "{read}");
        assert!(Patience::of_a_request(store.scan(CODES, None, 1)).await.is_err());
        assert!(store.get(CODES, b"lost").await.is_err() && store.scan(CLIENTS, None, 1).await.is_err());
        assert!(store.failure().is_some());
        assert_eq!(store.flushes(), failing);
        for number in 0..failing {
            let key = number.to_string();
            let read = Patience::of_a_request(store.get(CODES, key.as_bytes()));
            assert!(read.await.unwrap().is_some());
        }
        let Changes::Rows { rows, .. } = store.changes(Cursor::default()).await.unwrap() else {
            panic!("reset")
        };
        assert!(rows.is_empty(), "nor is it taken into memory");

        // What a new process finds.
        let copy = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), copy.path());
        let reopened = SledStore::open(copy.path(), clock()).unwrap();
        assert!(reopened.scan(CODES, None, 100).await.unwrap().len() as u64 >= failing);
        assert_eq!(reopened.commit(put("found")).await.unwrap(), Committed::Applied);
        restarts += 1;
    }
    println!(
        "100 failed syncs: {refused} commits refused after them, none acknowledged; {restarts} clean restarts"
    );
}

#[tokio::test]
async fn a_disk_that_stalls_keeps_nobody_waiting_and_what_it_does_late_is_done_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let (store, begun, go_on) = open_gated_by(clock.clone(), dir.path());
    let commit = |key: &'static str| {
        let store = store.clone();
        tokio::spawn(Patience::of_a_request(async move { store.commit(put(key)).await }))
    };
    let first = commit("first");
    tokio::task::yield_now().await;
    begun.recv().unwrap();
    let housekeeping = {
        let store = store.clone();
        tokio::spawn(async move { store.commit(put("no request")).await })
    };
    let queued = commit("queued");
    tokio::task::yield_now().await;
    store.progress.stall.look();
    tokio::task::yield_now().await;
    assert!(!store.is_unwritable() && !first.is_finished() && !queued.is_finished());

    clock.advance(LONGEST_WRITE);
    store.progress.stall.look();
    assert!(store.is_unwritable());
    for waited in [first, queued] {
        assert!(matches!(waited.await.unwrap(), Err(StoreError::Unavailable(_))));
    }
    let waiting = store.operations.as_ref().unwrap().capacity();
    assert!(Patience::of_a_request(store.commit(put("refused"))).await.is_err());
    assert!(Patience::of_a_request(store.sweep(clock.now(), 1)).await.is_err());
    assert!(Patience::of_a_request(store.freeze()).await.is_err());
    assert_eq!(store.operations.as_ref().unwrap().capacity(), waiting, "nobody is let in");
    let read = |key| Patience::of_a_request(store.get(CODES, key));
    assert!(read(b"none").await.unwrap().is_none(), "reads go on");
    assert!(read(b"first").await.is_err(), "but for what the disk does not have yet");
    assert!(!housekeeping.is_finished(), "no request waits for it");

    // The first group, and the one of those that waited meanwhile.
    go_on.send(()).unwrap();
    begun.recv().unwrap();
    assert!(!store.is_unwritable(), "it moves");
    let later = commit("later");
    tokio::task::yield_now().await;
    go_on.send(()).unwrap();
    begun.recv().unwrap();
    go_on.send(()).unwrap();
    assert_eq!(later.await.unwrap().unwrap(), Committed::Applied);
    assert_eq!(housekeeping.await.unwrap().unwrap(), Committed::Applied);
    assert_eq!(store.failure(), None);
    let rows = store.scan(CODES, None, 9).await.unwrap();
    let keys: Vec<_> = rows.iter().map(|(key, _)| key.as_slice()).collect();
    assert_eq!(keys, [&b"first"[..], b"later", b"no request", b"queued"]);
}

/// Who reads it may tell somebody that it is done.
#[tokio::test]
async fn what_is_on_its_way_to_the_disk_is_read_when_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let (store, begun, go_on) = open_gated(dir.path());
    let work = |work: &'static str| {
        let store = store.clone();
        async move {
            match work {
                "commit" => drop(store.commit(put("a")).await.unwrap()),
                "get" => assert!(store.get(CODES, b"a").await.unwrap().is_some()),
                _ => assert_eq!(store.scan(CODES, None, 9).await.unwrap().len(), 1),
            }
        }
    };
    let commit = tokio::spawn(work("commit"));
    tokio::task::yield_now().await;
    begun.recv().unwrap();
    let reads = ["get", "scan"]
        .into_iter()
        .flat_map(|read| [tokio::spawn(work(read)), tokio::spawn(Patience::of_a_request(work(read)))]);
    let reads: Vec<_> = reads.collect();
    // What is not of that table.
    assert!(store.scan(CLIENTS, None, 9).await.unwrap().is_empty());
    assert!(store.get(CODES, b"b").await.unwrap().is_none());
    assert!(!commit.is_finished() && reads.iter().all(|read| !read.is_finished()));
    go_on.send(()).unwrap();
    commit.await.unwrap();
    for read in reads {
        read.await.unwrap();
    }
}

/// Who follows the changes keeps in memory what they tell of, and answers from there.
#[tokio::test]
async fn a_change_is_told_of_when_it_is_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (store, begun, go_on) = open_gated(dir.path());
    let changes = async || match store.changes(Cursor::default()).await.unwrap() {
        Changes::Rows { rows, next } => (rows.len(), next.place),
        Changes::Reset { .. } => panic!("reset"),
    };
    let commit = {
        let (store, batch) =
            (store.clone(), Batch::new().put(CLIENTS, "a", Condition::Absent, Put::lasting(vec![])));
        tokio::spawn(async move { store.commit(batch).await })
    };
    tokio::task::yield_now().await;
    begun.recv().unwrap();
    assert_eq!(changes().await, (0, 0));
    let Changes::Reset { next } = store.changes(Cursor::AHEAD).await.unwrap() else { panic!("known") };
    assert_eq!(next.place, 0);
    go_on.send(()).unwrap();
    assert_eq!(commit.await.unwrap().unwrap(), Committed::Applied);
    assert_eq!(changes().await, (1, 1));
}

/// A write asks what stands there before, and the disk may not answer that.
#[tokio::test]
async fn a_disk_that_does_not_answer_what_the_writer_reads_stalls_too() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let (store, _) = open_by(clock.clone(), dir.path(), || Ok(()));
    let (go_on, may_go_on) = sync_channel::<()>(0);
    let (tell, holds) = sync_channel(0);
    let tree = store.reader.tree.clone();
    let held_up = std::thread::spawn(move || {
        // No read of sled's begins meanwhile.
        let held_up = tree.transaction::<_, _, ()>(|_| {
            tell.send(()).unwrap();
            may_go_on.recv().unwrap();
            Ok(())
        });
        held_up.unwrap();
    });
    holds.recv().unwrap();
    let commit = {
        let store = store.clone();
        tokio::spawn(Patience::of_a_request(async move { store.commit(put("a")).await }))
    };
    // As many looks as any machine needs until the writer has begun, and more.
    for _ in 0..100_000 {
        tokio::task::yield_now().await;
        std::thread::yield_now();
        clock.advance(LONGEST_WRITE);
        store.progress.stall.look();
    }
    assert!(store.is_unwritable());
    assert!(commit.await.unwrap().is_err());
    go_on.send(()).unwrap();
    held_up.join().unwrap();
    assert_eq!(store.commit(put("b")).await.unwrap(), Committed::Applied);
    assert!(!store.is_unwritable());
}

#[tokio::test]
async fn a_writer_that_panics_fails_every_write_and_closes_without_hanging() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open_on(dir.path(), || panic!("for the test"));
    for _ in 0..2 {
        assert!(matches!(store.commit(put("k")).await, Err(StoreError::Unavailable(_))));
    }
    assert_eq!(store.failure().unwrap(), "its writing thread stopped");
}

#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let (store, room) = open_on(dir.path(), || Ok(()));
    _ = store.commit(put("before")).await.unwrap();
    room.store(false, Ordering::SeqCst);
    let message = store.commit(put("during")).await.unwrap_err().to_string();
    assert!(message.contains("disk is full"), "{message}");
    assert!(store.get(CODES, b"before").await.unwrap().is_some());
    assert!(store.get(CODES, b"during").await.unwrap().is_none());
    room.store(true, Ordering::SeqCst);
    assert_eq!(store.commit(put("after")).await.unwrap(), Committed::Applied);
    assert_eq!(store.failure(), None);
}

#[tokio::test]
async fn a_reopened_store_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let clock = clock();
    let big = vec![7; 100_000];
    let mut versions = Vec::new();
    let mut cursor = Cursor::default();
    for round in 0..3_u8 {
        let store = SledStore::open(dir.path(), clock.clone()).unwrap();
        let until = Put::until(clock.now() + chrono::Duration::seconds(60), big.clone());
        let batch = Batch::new()
            .put(CODES, "kept", Condition::Always, Put::lasting(big.clone()))
            .put(CODES, [round], Condition::Absent, until)
            .put(CLIENTS, [round], Condition::Absent, Put::lasting(vec![round]));
        assert_eq!(store.commit(batch).await.unwrap(), Committed::Applied);
        let Changes::Rows { rows, next } = store.changes(cursor).await.unwrap() else { panic!("reset") };
        assert_eq!(rows, [("clients".to_owned(), vec![round])]);
        cursor = next;
        let row = store.get(CODES, b"kept").await.unwrap().unwrap();
        assert!(row.value == big);
        versions.push(row.version);
        let delete = Batch::new().delete(CODES, "kept", Condition::VersionIs(row.version));
        assert_eq!(store.commit(delete).await.unwrap(), Committed::Applied);
    }
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    let store = SledStore::open(dir.path(), clock.clone()).unwrap();
    clock.advance(Duration::from_mins(1));
    assert_eq!(store.sweep(clock.now(), 100).await.unwrap(), 3);
    // Nothing stayed behind: no pieces, no expiries.
    let first_bytes: Vec<_> = store.reader.tree.iter().keys().map(|key| key.unwrap()[0]).collect();
    assert_eq!(first_bytes, *b"cccmmrrr");
    // Large values have not made sled write files that it never syncs.
    assert_eq!(std::fs::read_dir(dir.path().join("blobs")).unwrap().count(), 0);
}

#[tokio::test]
async fn versions_are_not_given_twice_even_when_a_whole_block_is_used() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path(), clock()).unwrap();
    let mut batch = Batch::new();
    for number in 0..25_000_u32 {
        batch = batch.put(CODES, number.to_be_bytes(), Condition::Absent, Put::lasting(vec![]));
    }
    _ = store.commit(batch).await.unwrap();
    let last = store.get(CODES, &24_999_u32.to_be_bytes()).await.unwrap().unwrap().version;
    drop(store);
    let store = SledStore::open(dir.path(), clock()).unwrap();
    _ = store.commit(put("next")).await.unwrap();
    assert!(store.get(CODES, b"next").await.unwrap().unwrap().version > last);
}

#[test]
fn a_directory_that_is_open_elsewhere_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path(), clock()).unwrap();
    let message = refusal(SledStore::open(dir.path(), clock()));
    assert!(message.contains("another Signet process has the data directory"), "{message}");
    drop(store);
    SledStore::open(dir.path(), clock()).unwrap();
}

#[test]
fn a_new_directory_is_for_this_user_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("new/data");
    SledStore::open(&path, clock()).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn a_store_that_lost_its_data_is_refused_not_begun_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path(), clock()).unwrap();
    _ = store.commit(put("k")).await.unwrap();
    drop(store);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && !path.ends_with("claim") {
            std::fs::remove_file(path).unwrap();
        }
    }
    for _ in 0..2 {
        let message = refusal(SledStore::open(dir.path(), clock()));
        assert!(message.contains("once held a store and now holds none"), "{message}");
    }
}

#[tokio::test]
async fn damaged_files_are_refused_with_a_clear_message() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path(), clock()).unwrap();
    _ = store.commit(put("k")).await.unwrap();
    drop(store);
    // Opened again, so that there is a snapshot of what is about to be damaged.
    drop(SledStore::open(dir.path(), clock()).unwrap());
    for (name, damage) in [("db", vec![0xA5; 1 << 20]), ("conf", vec![0xA5; 64])] {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(dir.path(), copy.path());
        std::fs::write(copy.path().join(name), damage).unwrap();
        let message = refusal(SledStore::open(copy.path(), clock()));
        assert!(message.contains("damaged") || message.contains("unavailable"), "{name}: {message}");
    }
}

#[tokio::test]
async fn what_a_crash_left_of_a_snapshot_does_not_keep_the_store_closed() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path(), clock()).unwrap();
    _ = store.commit(put("k")).await.unwrap();
    drop(store);
    std::fs::write(dir.path().join("snap.00000000FFFFFFFF.generating"), "half").unwrap();
    let store = SledStore::open(dir.path(), clock()).unwrap();
    assert!(store.get(CODES, b"k").await.unwrap().is_some());
}

#[test]
fn a_store_of_a_later_layout_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path(), clock()).unwrap();
    store.reader.tree.insert(layout::FORMAT_KEY, &[layout::FORMAT + 1]).unwrap();
    drop(store);
    let message = refusal(SledStore::open(dir.path(), clock()));
    assert!(message.contains("this Signet reads [1]"), "{message}");
}
