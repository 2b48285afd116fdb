//! What kills under load come to: when there was enough of it, how much was asked for meanwhile, and how soon the service was ready again.

use std::sync::{Condvar, Mutex};
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

/// Whether those who make the load have done enough for the service to be killed.
#[derive(Default)]
pub(crate) struct Enough {
    said: Mutex<bool>,
    heard: Condvar,
}

impl Enough {
    /// It may be said more than once.
    pub(crate) fn say(&self) {
        *self.said.lock().expect("no panic") = true;
        self.heard.notify_all();
    }

    pub(crate) fn was_said(&self) -> bool {
        *self.said.lock().expect("no panic")
    }

    pub(crate) fn wait(&self) {
        drop(self.heard.wait_while(self.said.lock().expect("no panic"), |said| !*said).expect("no panic"));
    }

    /// While it is held, a panic of its thread says so too: the others would work on for ever, and nobody would get to know.
    pub(crate) fn also_after_a_panic(&self) -> AfterAPanic<'_> {
        AfterAPanic(self)
    }
}

pub(crate) struct AfterAPanic<'a>(&'a Enough);

impl Drop for AfterAPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.say();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the service that is killed has the system's clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
