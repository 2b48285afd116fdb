//! Which of the service's threads come first where cores are short.

use crate::process::{Process, free_port};

/// As the kernel numbers them (sched(7)).
const OTHER: i64 = 0;
const IDLE: i64 = 5;

/// A thread has the priority of the one that started it, so this is about the program as it is started.
#[cfg(target_os = "linux")]
#[test]
fn who_answers_comes_before_the_store_and_both_before_passwords() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Process::start(dir.path(), free_port(), &[]);
    service.await_ready();
    let threads = service.threads();
    let own = i64::from(rustix::process::getpriority_process(None).unwrap());
    for (name, steps) in [("actix-", 0), ("audit", 0), ("signet-store", 5), ("sled-io-", 5)] {
        let of_it: Vec<_> = threads.iter().filter(|(each, ..)| each.starts_with(name)).collect();
        // That one only watches.
        let mut of_it = of_it.iter().filter(|(each, ..)| !each.starts_with("signet-store-")).peekable();
        assert!(of_it.peek().is_some(), "no {name} of {threads:?}");
        let ranks = |(_, policy, niceness): &(_, i64, i64)| (*policy, *niceness);
        assert!(of_it.all(|each| ranks(each) == (OTHER, (own + steps).min(19))), "{name}: {threads:?}");
    }
    let hashing = threads.iter().filter(|(each, ..)| each == "hashing");
    let (on_what_is_left, others): (Vec<_>, Vec<_>) = hashing.partition(|(_, policy, _)| *policy == IDLE);
    assert!(!on_what_is_left.is_empty(), "{threads:?}");
    assert_eq!(others, [&("hashing".to_owned(), OTHER, (own + 10).min(19))]);
}
