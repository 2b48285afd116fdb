use super::*;
use crate::entropy::{Entropy, SeededEntropy};

/// A repeatable number below `limit`.
fn below(entropy: &dyn Entropy, limit: usize) -> usize {
    usize::try_from(u64::from_be_bytes(entropy.bytes()) % limit as u64).unwrap()
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
    println!("{ROUNDS} bits turned: all detected");
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
    println!("{ROUNDS} runs of lines removed: all detected");
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
    println!("{ROUNDS} ends cut off: all detected");
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
    println!("{ROUNDS} pairs of lines swapped: all detected");
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
    chain::append(&mut forged, &first, first.seq + 1, (clock().now(), None), &event(99)).unwrap();
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
        previous = chain::append(
            &mut forged,
            &previous,
            previous.seq + 1,
            (clock().now(), None),
            &event(number + 100),
        )
        .unwrap();
        *line = String::from_utf8(forged).unwrap();
    }
    log.write(&lines);
    assert!(log.verify(None).is_intact(), "the chain alone can't tell");
    assert_eq!(log.verify(Some(&head)).damage, [Damage::Rewritten { seq: 6 }]);
}

/// The last two lines must be sound for a log to go on: what lies before them is found at the next start too.
#[tokio::test]
async fn damage_before_the_end_is_recorded_at_every_start_and_the_log_goes_on() {
    let (log, _) = Log::filled(6).await;
    assert!(log.open().unwrap().was_intact());
    assert_eq!(log.lines().len(), 6, "nothing is said of a sound log");
    let altered = log.lines()[2].replace("\"number\":2", "\"number\":7");
    let whole = log.lines();
    let removed = [&whole[..1], &whole[3..]].concat();
    let changed = [&whole[..2], &[altered], &whole[3..]].concat();
    for damaged in [removed, changed] {
        log.write(&damaged);
        for start in 1..3 {
            let open = log.open().unwrap();
            assert!(!open.was_intact());
            let lines = log.lines();
            assert_eq!(lines[..damaged.len()], damaged, "the evidence is left as it was");
            assert_eq!(lines.len(), damaged.len() + start);
            let told: serde_json::Value = serde_json::from_str(lines.last().unwrap()).unwrap();
            assert_eq!((&told["event"], &told["detail"]["findings"]), (&"audit.damaged".into(), &1.into()));
            open.record(event(9)).await.unwrap();
            drop(open);
            log.write(&lines);
        }
    }
}

#[tokio::test]
async fn a_bounded_look_at_the_end_finds_what_is_in_it_and_nothing_else() {
    let (log, head) = Log::filled(8).await;
    let lines = log.lines();
    let length = |from: usize| lines[from..].iter().map(String::len).sum::<usize>() as u64;
    for start in 0..=length(0) + 1 {
        let report = verify::verify_end(&log.path, start).unwrap();
        assert!(report.is_intact(), "the last {start} bytes: {report:?}");
        let whole = (0..lines.len()).filter(|line| length(*line) <= start).count();
        assert_eq!(report.entries, whole as u64, "the last {start} bytes");
        assert_eq!(report.head.is_some_and(|found| found == head), whole > 0);
    }
    let mut altered = lines.clone();
    altered[4] = lines[4].replace("\"number\":4", "\"number\":5");
    log.write(&altered);
    for (from, findings) in [(0, 1), (4, 1), (5, 0), (6, 0)] {
        let report = verify::verify_end(&log.path, length(from)).unwrap();
        assert_eq!(report.damage.len(), findings, "from line {from}");
    }
    log.write(&[&lines[..4], &lines[5..]].concat());
    for (from, findings) in [(3, 1), (5, 0)] {
        let read = length(from) - if from == 3 { lines[4].len() as u64 } else { 0 };
        assert_eq!(verify::verify_end(&log.path, read).unwrap().damage.len(), findings, "from line {from}");
    }
}

#[tokio::test]
async fn an_inserted_line_does_not_hide_the_rest() {
    let (log, _) = Log::filled(4).await;
    let mut lines = log.lines();
    lines.insert(2, "{}\n".to_owned());
    log.write(&lines);
    assert_eq!(log.verify(None).damage, [Damage::Altered { line: 3 }]);
}
