//! What kills under load come to: how much was asked for meanwhile, and how soon the service was ready again.

use std::time::{Duration, Instant};

use crate::process::Process;

/// How many requests a second it answers at least until it is killed; those that the kill cuts off count for nothing.
const RATE: f64 = 200.0;

/// Within what time it is to be ready again in 99 of 100 cases.
const READY_WITHIN: Duration = Duration::from_secs(5);

/// From how many kills on both are asserted: with fewer the 99th percentile is the one that took longest.
const ENOUGH: usize = 100;

/// The figures of one run.
#[derive(Default)]
pub(crate) struct Figures {
    ready_after: Vec<Duration>,
    answers: u32,
    under_load: Duration,
}

impl Figures {
    /// Counts what `load` says was answered until it had killed the service.
    pub(crate) fn of_load(&mut self, load: impl FnOnce() -> usize) {
        let begun = now();
        self.answers += u32::try_from(load()).expect("few");
        self.under_load += begun.elapsed();
    }

    /// Starts the service that was killed a moment ago, and waits until it is ready.
    pub(crate) fn of_start(&mut self, start: impl FnOnce() -> Process) -> Process {
        let killed = now();
        let mut process = start();
        process.await_ready();
        self.ready_after.push(killed.elapsed());
        process
    }

    /// Tells them, with what was `done` over `store`, and asserts them if there were enough kills.
    #[expect(clippy::print_stdout, reason = "the figures are what it is run for")]
    pub(crate) fn judge(mut self, store: &str, done: &str) {
        self.ready_after.sort_unstable();
        let rate = f64::from(self.answers) / self.under_load.as_secs_f64();
        let (kills, p99) = (self.ready_after.len(), self.percentile(99));
        println!(
            "{kills} kills over {store}, under {rate:.0} requests a second: {done}; ready again after p50 {} ms, p99 {} ms, largest {} ms; \
             bars {RATE} requests a second and {} ms for p99{}",
            self.percentile(50).as_millis(),
            p99.as_millis(),
            self.percentile(100).as_millis(),
            READY_WITHIN.as_millis(),
            if kills < ENOUGH { ", asserted from 100 kills on" } else { "" }
        );
        if kills >= ENOUGH {
            assert!(rate >= RATE, "it was killed under {rate:.0} requests a second: that is hardly a load");
            assert!(p99 <= READY_WITHIN, "in one of 100 cases it was ready after {p99:?} or later");
        }
    }

    /// Of the sorted times, the smallest that so many of a hundred do not exceed.
    fn percentile(&self, percent: usize) -> Duration {
        self.ready_after[(self.ready_after.len() * percent).div_ceil(100).max(1) - 1]
    }
}

#[expect(clippy::disallowed_methods, reason = "the service that is killed has the system's clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
