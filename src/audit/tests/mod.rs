mod failing_disk;
mod tampering;

use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::clock::{ManualClock, SharedClock};
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

    /// A closed log of entries that were written so many at once.
    fn written(writes: &[usize]) -> Self {
        let log = Self::new();
        for entries in writes {
            let mut file = LogFile::open(&log.path).unwrap();
            let head = tail::read(&mut file).unwrap().head;
            let events: Vec<_> = (0..*entries).map(event).collect();
            State::new(Box::new(file), head, (clock(), None)).write(events.iter()).unwrap();
        }
        log
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

#[tokio::test]
async fn an_entry_holds_what_happened_as_one_line_of_json() {
    let log = Log::new();
    let open = log.open().unwrap();
    let event = Event::new(EventKind::TokenRevoked, Actor::Client(ClientId::parse("shop").unwrap()))
        .subject(&Subject::parse("alice").unwrap())
        .client(&ClientId::parse("app").unwrap())
        .key(&KeyId::parse("k1").unwrap())
        .token(&TokenId::parse("t1").unwrap())
        .outcome(Outcome::Refused)
        .detail("reason", "because");
    let address = Some("::ffff:192.0.2.1".parse().unwrap());
    let origin = Origin { address, request_id: RequestId::given("r-1").unwrap() };
    origin.cause(open.record(event)).await.unwrap();
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
    open.record(Event::new(EventKind::AdminRefused, Actor::Operator(nasty.into())).detail("x", nasty))
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
    let event = Event::new(EventKind::AdminRefused, Actor::Operator(text.clone()));
    open.record(event.detail("x", text)).await.unwrap();
    assert!(log.lines()[0].len() < 12_000);
    let entry: serde_json::Value = serde_json::from_str(&log.lines()[0]).unwrap();
    assert!(
        entry["detail"]["x"].as_str().unwrap().contains("… sha256 "),
        "what was cut differs by its digest"
    );
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

/// As a disk leaves it that had written one part of what was appended in one write, and not another.
#[tokio::test]
async fn lines_with_holes_are_cut_and_noted() {
    let log = Log::written(&[1, 2, 3]);
    let lines = log.lines();
    let kept: usize = lines[..3].iter().map(String::len).sum();
    let whole = lines.concat().into_bytes();
    // In the first, the second and the last line of three, and over the end of one.
    for (hole, entries) in [
        (kept..kept + 10, 2),
        (kept + lines[3].len() + 20..kept + lines[3].len() + 60, 1),
        (whole.len() - 9..whole.len() - 1, 0),
    ] {
        let mut torn = whole.clone();
        let sound = torn[..hole.start].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        torn[hole].fill(0);
        std::fs::write(&log.path, &torn).unwrap();
        assert!(!log.verify(None).is_intact());
        drop(log.open().unwrap());
        let noted: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
        assert_eq!(noted["event"], "audit.tail_cut");
        assert_eq!(noted["detail"]["bytes"], whole.len() - sound);
        assert_eq!(noted["detail"]["entries"], entries);
        assert!(log.verify(None).is_intact());
        assert!(
            std::fs::read(&log.path).unwrap().starts_with(&whole[..sound]),
            "what was synced before is there"
        );
    }
}

/// Whoever was told of an entry was told once it was on disk: what is written afterwards shows that it was.
#[tokio::test]
async fn holes_before_a_later_write_refuse_the_open() {
    let log = Log::written(&[1, 2, 3, 1, 2]);
    let lines = log.lines();
    let start = |line: usize| lines[..line].iter().map(String::len).sum::<usize>();
    let whole = lines.concat().into_bytes();
    // One byte of an entry written alone or with others, an end of a line, and everything but the last line or two.
    for hole in [
        start(1) + 5..start(1) + 6,
        start(4) + 5..start(4) + 6,
        start(6) + 5..start(6) + 6,
        start(7) - 1..start(7),
        0..start(8),
        start(3)..start(7),
    ] {
        let mut damaged = whole.clone();
        damaged[hole.clone()].fill(0);
        std::fs::write(&log.path, &damaged).unwrap();
        let error = log.open().unwrap_err();
        assert!(matches!(error, AuditError::Damaged { .. }), "{hole:?}: {error}");
        assert!(error.to_string().contains("no power cut"), "{error}");
        assert_eq!(std::fs::read(&log.path).unwrap(), damaged, "the evidence is left as it was");
        let files = std::fs::read_dir(log.path.parent().unwrap()).unwrap();
        assert_eq!(files.count(), 1, "nothing was cut off");
    }
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
    ] {
        log.write(&damaged);
        let error = log.open().unwrap_err();
        assert!(matches!(error, AuditError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("signet audit verify"));
        assert_eq!(log.lines().concat(), damaged.concat(), "the evidence is left as it was");
    }
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
async fn times_are_those_of_the_clock() {
    let log = Log::new();
    let clock = Arc::new(ManualClock::at(0));
    let open = AuditLog::open(&log.path, Arc::<ManualClock>::clone(&clock)).unwrap();
    clock.advance(Duration::from_millis(1234));
    open.record(event(0)).await.unwrap();
    assert!(log.lines()[0].contains("\"time\":\"1970-01-01T00:00:01.234Z\""));
}
