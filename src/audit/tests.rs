use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::file::Sink;
use super::*;
use crate::clock::{ManualClock, SharedClock};
use crate::entropy::{Entropy, SeededEntropy};
use crate::oauth::{ClientId, KeyId, Subject, TokenId};

fn clock() -> SharedClock {
    Arc::new(ManualClock::at(1_700_000_000))
}

struct Log {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Log {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data/audit.jsonl");
        Self { _dir: dir, path }
    }

    fn open(&self) -> Result<Arc<AuditLog>, AuditError> {
        AuditLog::open(&self.path, clock())
    }

    /// A closed log of `entries` entries, and its head.
    async fn filled(entries: usize) -> (Self, Head) {
        let log = Self::new();
        let open = log.open().unwrap();
        for number in 0..entries {
            open.record(event(number)).await.unwrap();
        }
        let head = open.head().unwrap();
        drop(open);
        (log, head)
    }

    fn lines(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.path).unwrap();
        text.split_inclusive('\n').map(str::to_owned).collect()
    }

    fn write(&self, lines: &[String]) {
        std::fs::write(&self.path, lines.concat()).unwrap();
    }

    fn verify(&self, head: Option<&Head>) -> Report {
        verify(&self.path, head).unwrap()
    }
}

fn event(number: usize) -> Event {
    Event::new(EventKind::ClientRegistered, Actor::Service).detail("number", number)
}

/// A repeatable number below `limit`.
fn below(entropy: &dyn Entropy, limit: usize) -> usize {
    usize::try_from(u64::from_be_bytes(entropy.bytes()) % limit as u64).unwrap()
}

#[tokio::test]
async fn an_entry_holds_what_happened_as_one_line_of_json() {
    let log = Log::new();
    let open = log.open().unwrap();
    let event = Event::new(EventKind::TokenRevoked, Actor::Client(ClientId::parse("shop").unwrap()))
        .subject(&Subject::parse("alice").unwrap())
        .client(&ClientId::parse("app").unwrap())
        .key(&KeyId::parse("k1").unwrap())
        .token(&TokenId::parse("t1").unwrap())
        .source_ip("::ffff:192.0.2.1".parse().unwrap())
        .request("r-1")
        .outcome(Outcome::Refused)
        .detail("reason", "because");
    open.record(event).await.unwrap();
    let line = log.lines().remove(0);
    let (body, hash) = line.split_once(",\"prev_hash\":").unwrap();
    assert_eq!(
        body,
        r#"{"seq":1,"time":"2023-11-14T22:13:20.000Z","event":"token.revoked","outcome":"refused","actor":{"type":"client","id":"shop"},"subject":"alice","client_id":"app","kid":"k1","jti":"t1","source_ip":"192.0.2.1","request_id":"r-1","detail":{"reason":"because"}"#
    );
    assert!(hash.starts_with("\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"hash\":\""), "{hash}");
    let prefix = format!("1:{}", &hash[54..97]);
    assert_eq!(open.head().unwrap().to_string(), prefix);
    assert_eq!(prefix.parse::<Head>().unwrap(), open.head().unwrap());
}

/// The chain as documented, recomputed without the code under test.
#[tokio::test]
async fn the_hash_is_that_of_the_hash_before_and_the_line_without_its_hash() {
    use base64::Engine as _;
    let (log, _) = Log::filled(3).await;
    let mut previous = vec![0; 32];
    for line in log.lines() {
        let (body, rest) = line.split_once(",\"hash\":\"").unwrap();
        let digest = ring::digest::digest(
            &ring::digest::SHA256,
            &[previous.as_slice(), body.as_bytes(), b"}"].concat(),
        );
        let written = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest);
        assert_eq!(rest, format!("{written}\"}}\n"));
        previous = digest.as_ref().to_vec();
    }
}

#[tokio::test]
async fn nothing_in_an_event_can_forge_a_line_or_reach_a_terminal() {
    let log = Log::new();
    let open = log.open().unwrap();
    let nasty = "a\"}\n{\"seq\":2}\r\u{1b}[2J\u{9b}31m\u{202e}\u{2028}\u{7f}é😀";
    open.record(Event::new(EventKind::AdminRefused, Actor::Anonymous).request(nasty).detail("x", nasty))
        .await
        .unwrap();
    let lines = log.lines();
    assert_eq!(lines.len(), 1);
    assert!(lines[0].trim_end().bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{}", lines[0]);
    let entry: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(entry["detail"]["x"], nasty);
    assert!(log.verify(None).is_intact());
}

#[tokio::test]
async fn long_texts_are_cut() {
    let log = Log::new();
    let open = log.open().unwrap();
    let text = "ü".repeat(100_000);
    let event = Event::new(EventKind::AdminRefused, Actor::Operator(text.clone())).request(&text);
    open.record(event.detail("x", text)).await.unwrap();
    assert!(log.lines()[0].len() < 12_000);
}

#[test]
fn kinds_have_distinct_names() {
    let mut names: Vec<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), EventKind::ALL.len());
}

#[tokio::test]
async fn a_log_goes_on_where_it_ended() {
    let (log, head) = Log::filled(5).await;
    let open = log.open().unwrap();
    assert_eq!(open.head(), Some(head));
    open.record(event(5)).await.unwrap();
    let report = log.verify(Some(&head));
    assert_eq!((report.entries, report.is_intact()), (6, true));
    assert_eq!(report.head, open.head());
}

#[tokio::test]
async fn an_empty_log_is_intact_and_has_no_head() {
    let log = Log::new();
    let open = log.open().unwrap();
    assert_eq!(open.head(), None);
    assert!(log.verify(None).is_intact());
}

#[tokio::test]
async fn one_process_at_a_time_writes() {
    let log = Log::new();
    let _open = log.open().unwrap();
    assert!(matches!(log.open(), Err(AuditError::InUse(_))));
}

#[tokio::test]
async fn only_the_owner_reads_the_log() {
    use std::os::unix::fs::PermissionsExt as _;
    let log = Log::new();
    let _open = log.open().unwrap();
    assert_eq!(std::fs::metadata(&log.path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_torn_last_line_is_cut_and_noted() {
    let (log, _) = Log::filled(3).await;
    for cut in [1, 10, 60] {
        let mut lines = log.lines();
        let entries = lines.len() as u64;
        let last = lines.pop().unwrap();
        lines.push(last.clone());
        lines.push(last[..last.len() - cut].to_owned());
        log.write(&lines);
        let damage = log.verify(None).damage;
        assert_eq!(damage, [Damage::Torn { line: entries + 1 }]);
        drop(log.open().unwrap());
        let noted: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        assert_eq!(noted["event"], "audit.tail_cut");
        assert_eq!(noted["detail"]["bytes"], last.len() - cut);
        assert!(log.verify(None).is_intact());
    }
}

#[tokio::test]
async fn a_torn_tail_longer_than_the_first_window_is_cut_too() {
    let (log, _) = Log::filled(2).await;
    let mut lines = log.lines();
    lines.push("x".repeat(300_000));
    log.write(&lines);
    drop(log.open().unwrap());
    assert_eq!(log.verify(None).entries, 3);
}

#[tokio::test]
async fn any_other_damage_at_the_end_refuses_the_open() {
    let (log, _) = Log::filled(4).await;
    let lines = log.lines();
    let altered = lines[3].replace("\"number\":3", "\"number\":4");
    for damaged in [
        vec![lines[0].clone(), lines[1].clone(), lines[2].clone(), altered],
        vec![lines[0].clone(), lines[1].clone(), lines[3].clone()],
        vec![lines[1].clone()],
        vec![lines[0].clone(), "garbage\n".to_owned()],
        vec!["\0".repeat(50), "\n".to_owned()],
    ] {
        log.write(&damaged);
        let error = log.open().unwrap_err();
        assert!(matches!(error, AuditError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("signet audit verify"));
        assert_eq!(log.lines().concat(), damaged.concat(), "the evidence is left as it was");
    }
}

const ROUNDS: u64 = 100;

#[tokio::test]
async fn a_hundred_edits_are_all_detected() {
    let (log, head) = Log::filled(40).await;
    let whole = std::fs::read(&log.path).unwrap();
    for seed in 0..ROUNDS {
        let entropy: &dyn Entropy = &SeededEntropy::new(seed);
        let mut bytes = whole.clone();
        let place = below(entropy, bytes.len());
        bytes[place] ^= 1 << below(entropy, 8);
        std::fs::write(&log.path, &bytes).unwrap();
        assert!(!log.verify(None).is_intact(), "seed {seed}, byte {place}");
        assert!(!log.verify(Some(&head)).is_intact());
    }
}

#[tokio::test]
async fn a_hundred_removals_are_all_detected() {
    let (log, _) = Log::filled(40).await;
    let lines = log.lines();
    for seed in 0..ROUNDS {
        let entropy: &dyn Entropy = &SeededEntropy::new(seed);
        let first = below(entropy, lines.len() - 1);
        let count = 1 + below(entropy, lines.len() - 1 - first);
        let mut left = lines.clone();
        left.drain(first..first + count);
        log.write(&left);
        let (from, to) = (first as u64 + 1, (first + count) as u64);
        let missing = Damage::Missing { line: from, first: from, last: to };
        assert_eq!(log.verify(None).damage, [missing], "seed {seed}");
    }
}

#[tokio::test]
async fn a_hundred_truncations_are_all_detected_with_the_head() {
    let (log, head) = Log::filled(40).await;
    let lines = log.lines();
    for seed in 0..ROUNDS {
        let entropy: &dyn Entropy = &SeededEntropy::new(seed);
        let kept = below(entropy, lines.len());
        log.write(&lines[..kept]);
        assert!(log.verify(None).is_intact(), "the chain alone can't tell");
        let truncated = Damage::Truncated { last: kept as u64, expected: 40 };
        assert_eq!(log.verify(Some(&head)).damage, [truncated], "seed {seed}");
    }
}

#[tokio::test]
async fn a_hundred_reorderings_are_all_detected() {
    let (log, _) = Log::filled(40).await;
    let lines = log.lines();
    for seed in 0..ROUNDS {
        let entropy: &dyn Entropy = &SeededEntropy::new(seed);
        let a = below(entropy, lines.len());
        let b = (a + 1 + below(entropy, lines.len() - 1)) % lines.len();
        let mut moved = lines.clone();
        moved.swap(a, b);
        log.write(&moved);
        let damage = log.verify(None).damage;
        assert!(!damage.is_empty(), "seed {seed}");
        assert!(damage.iter().all(|d| matches!(d, Damage::Misplaced { .. })), "seed {seed}: {damage:?}");
    }
}

#[tokio::test]
async fn a_repeated_line_is_detected() {
    let (log, _) = Log::filled(4).await;
    let mut lines = log.lines();
    lines.insert(3, lines[1].clone());
    log.write(&lines);
    assert_eq!(log.verify(None).damage, [Damage::Misplaced { line: 4, seq: 2 }]);
}

#[tokio::test]
async fn an_entry_written_anew_is_not_linked() {
    let (log, head) = Log::filled(4).await;
    let mut lines = log.lines();
    // A forger who knows the format gives the second entry another content and its right hash.
    let first = chain::read_line(lines[0].as_bytes()).unwrap().head;
    let mut forged = Vec::new();
    chain::append(&mut forged, &first, (clock().now(), None), &event(99)).unwrap();
    lines[1] = String::from_utf8(forged).unwrap();
    log.write(&lines);
    assert_eq!(log.verify(Some(&head)).damage, [Damage::Unlinked { line: 3, seq: 3 }]);
}

#[tokio::test]
async fn a_log_written_anew_from_a_place_on_is_seen_with_the_head() {
    let (log, head) = Log::filled(6).await;
    let mut lines = log.lines();
    let mut previous = chain::read_line(lines[2].as_bytes()).unwrap().head;
    for (number, line) in lines.iter_mut().enumerate().skip(3) {
        let mut forged = Vec::new();
        previous =
            chain::append(&mut forged, &previous, (clock().now(), None), &event(number + 100)).unwrap();
        *line = String::from_utf8(forged).unwrap();
    }
    log.write(&lines);
    assert!(log.verify(None).is_intact(), "the chain alone can't tell");
    assert_eq!(log.verify(Some(&head)).damage, [Damage::Rewritten { seq: 6 }]);
}

#[tokio::test]
async fn an_inserted_line_does_not_hide_the_rest() {
    let (log, _) = Log::filled(4).await;
    let mut lines = log.lines();
    lines.insert(2, "{}\n".to_owned());
    log.write(&lines);
    assert_eq!(log.verify(None).damage, [Damage::Altered { line: 3 }]);
}

#[test]
fn heads_are_parsed_strictly() {
    for text in ["", "1", "0:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "1:short", "x:y", "1:A A"] {
        assert!(text.parse::<Head>().is_err(), "{text:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_events_share_flushes_and_none_is_lost() {
    let log = Log::new();
    let open = log.open().unwrap();
    let tasks: Vec<_> = (0..500)
        .map(|number| {
            let open = Arc::clone(&open);
            tokio::spawn(async move { open.record(event(number)).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let report = log.verify(None);
    assert_eq!((report.entries, report.is_intact()), (500, true));
    assert!(open.flushes() < 500, "{} flushes", open.flushes());
}

#[tokio::test]
async fn an_event_is_on_disk_before_the_caller_is_told() {
    let (log, disk) = (Log::new(), Disk::default());
    let state = State::new(Box::new(disk.clone()), Head::NONE, (clock(), None));
    let open = AuditLog { path: PathBuf::new(), writer: Writer::start(state).unwrap() };
    open.record(event(0)).await.unwrap();
    assert_eq!(disk.state.synced.load(Ordering::SeqCst), 1);
    drop(log);
}

/// A disk that fails on demand.
#[derive(Clone, Default)]
struct Disk {
    state: Arc<DiskState>,
}

#[derive(Default)]
struct DiskState {
    full: AtomicBool,
    dying: AtomicBool,
    stuck: AtomicBool,
    synced: AtomicU64,
    bytes: std::sync::Mutex<Vec<u8>>,
    durable: AtomicU64,
}

impl Sink for Disk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let full = self.state.full.load(Ordering::SeqCst);
        let written = if full { &bytes[..bytes.len() / 2] } else { bytes };
        self.state.bytes.lock().unwrap().extend_from_slice(written);
        if full { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.state.dying.load(Ordering::SeqCst) {
            return Err(io::Error::other("input/output error"));
        }
        self.state.synced.fetch_add(1, Ordering::SeqCst);
        let length = self.state.bytes.lock().unwrap().len() as u64;
        self.state.durable.store(length, Ordering::SeqCst);
        Ok(())
    }

    fn take_back(&mut self) -> io::Result<()> {
        if self.state.stuck.load(Ordering::SeqCst) {
            return Err(io::Error::other("read-only"));
        }
        let length = usize::try_from(self.state.durable.load(Ordering::SeqCst)).unwrap();
        self.state.bytes.lock().unwrap().truncate(length);
        Ok(())
    }
}

fn on(disk: &Disk) -> AuditLog {
    let state = State::new(Box::new(disk.clone()), Head::NONE, (clock(), None));
    AuditLog { path: PathBuf::new(), writer: Writer::start(state).unwrap() }
}

#[tokio::test]
async fn a_full_disk_refuses_and_leaves_no_half_line() {
    let disk = Disk::default();
    let open = on(&disk);
    open.record(event(0)).await.unwrap();
    disk.state.full.store(true, Ordering::SeqCst);
    assert!(matches!(open.record(event(1)).await, Err(AuditError::Unavailable(_))));
    assert_eq!(open.failures(), 1);
    disk.state.full.store(false, Ordering::SeqCst);
    open.record(event(2)).await.unwrap();
    let bytes = disk.state.bytes.lock().unwrap().clone();
    let lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(chain::read_line(lines[1]).unwrap().head, open.head().unwrap());
}

#[tokio::test]
async fn a_half_line_that_can_not_be_taken_back_is_final() {
    let disk = Disk::default();
    let open = on(&disk);
    disk.state.full.store(true, Ordering::SeqCst);
    disk.state.stuck.store(true, Ordering::SeqCst);
    open.record(event(0)).await.unwrap_err();
    disk.state.full.store(false, Ordering::SeqCst);
    let error = open.record(event(1)).await.unwrap_err();
    assert!(error.to_string().contains("taken back"), "{error}");
}

#[tokio::test]
async fn a_failed_flush_is_final() {
    let disk = Disk::default();
    let open = on(&disk);
    disk.state.dying.store(true, Ordering::SeqCst);
    open.record(event(0)).await.unwrap_err();
    disk.state.dying.store(false, Ordering::SeqCst);
    let error = open.record(event(1)).await.unwrap_err();
    assert!(error.to_string().contains("a flush to disk failed"), "{error}");
    assert_eq!((open.failures(), open.head()), (2, None));
}

#[tokio::test]
async fn times_are_those_of_the_clock() {
    let log = Log::new();
    let clock = Arc::new(ManualClock::at(0));
    let open = AuditLog::open(&log.path, Arc::<ManualClock>::clone(&clock)).unwrap();
    clock.advance(Duration::from_millis(1234));
    open.record(event(0)).await.unwrap();
    assert!(log.lines()[0].contains("\"time\":\"1970-01-01T00:00:01.234Z\""));
}
