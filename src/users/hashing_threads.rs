//! The threads that hash passwords: their own, and behind every other thread where cores are short (docs/decisions/0016).

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::hashing_memory::HashingMemory;
use crate::priority::{stand_back, take_what_is_left};

/// A hash takes some 20 ms. One that did not come to an end in so long had no core to be made on, since others want them all.
const PATIENCE: Duration = Duration::from_millis(250);

/// So many are then made that came after it, before it is seen whether one would have a core now.
const BEHIND: usize = 8;

/// How far the thread stands back that makes them: while others want a core, it gets about a tenth of one.
const NICENESS: i32 = 10;

/// Done by one thread, and perhaps by another as well: whoever is first has done it.
type Job = Arc<dyn Fn(&mut HashingMemory) + Send + Sync>;

/// As many threads as passwords may be hashed at once, each with the memory of one hash, which take only what others leave of the
/// cores; and one that makes those hashes for which nothing is left. They end, after what they have begun, when this is dropped.
pub(super) struct HashingThreads(Arc<Queue>);

impl HashingThreads {
    /// Starts `number` threads, and that one.
    ///
    /// # Errors
    /// When the system has none to give.
    pub(super) fn start(number: usize) -> io::Result<Self> {
        Self::with_patience(PATIENCE, number)
    }

    /// The same, where the oldest is taken for starved when it is not done after `patience`.
    pub(super) fn with_patience(patience: Duration, number: usize) -> io::Result<Self> {
        let threads = Self(Arc::default());
        for _ in 0..number {
            threads.spawn(Queue::work_on_what_is_left)?;
        }
        threads.spawn(move |queue| queue.work_on_what_starves(patience))?;
        Ok(threads)
    }

    fn spawn(&self, work: impl FnOnce(&Queue) + Send + 'static) -> io::Result<()> {
        let queue = Arc::clone(&self.0);
        std::thread::Builder::new().name("hashing".into()).spawn(move || work(&queue)).map(drop)
    }

    /// Queues `job`, which is given memory that was used before. It may be done twice, at the same time.
    pub(super) fn submit(&self, job: impl Fn(&mut HashingMemory) + Send + Sync + 'static) {
        self.0.add(Arc::new(job));
    }

    /// As if one had starved, and so many behind it were still to be made.
    #[cfg(test)]
    pub(super) fn starve(&self, behind: usize) {
        self.0.jobs().behind = behind;
        self.0.starving.store(true, Ordering::Relaxed);
    }

    /// Whether one of them does the work of all: one has starved, and none was made since on what is left of the cores.
    pub(super) fn are_starving(&self) -> bool {
        self.0.starving.load(Ordering::Relaxed)
    }
}

impl Drop for HashingThreads {
    fn drop(&mut self) {
        self.0.jobs().closed = true;
        self.0.added.notify_all();
        self.0.look.notify_all();
    }
}

#[derive(Default)]
struct Queue {
    jobs: Mutex<Jobs>,
    /// For the threads that take what is left.
    added: Condvar,
    /// For the one that makes what starves.
    look: Condvar,
    starving: AtomicBool,
}

#[derive(Default)]
struct Jobs {
    /// Those that no thread has begun.
    waiting: VecDeque<Job>,
    /// Those, and those that are being done for the first time, in the order in which they came.
    undone: VecDeque<Job>,
    /// So many may be made without any patience.
    behind: usize,
    /// The thread that makes what starves waits for one of them to be done.
    watched: bool,
    closed: bool,
}

impl Queue {
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, job: Job) {
        let mut jobs = self.jobs();
        // While it watches one it sees the next when its patience is over: for each hash it would have to have a core, too.
        if jobs.behind > 0 || !jobs.watched {
            self.look.notify_one();
        }
        jobs.waiting.push_back(Arc::clone(&job));
        jobs.undone.push_back(job);
        self.added.notify_one();
    }

    fn work_on_what_is_left(&self) {
        take_what_is_left(NICENESS);
        let mut memory = HashingMemory::in_huge_pages();
        while let Some(job) = self.next() {
            job(&mut memory);
            let mut jobs = self.jobs();
            jobs.take(&job);
            jobs.behind = 0;
            self.starving.store(false, Ordering::Relaxed);
        }
    }

    fn next(&self) -> Option<Job> {
        let idle = |jobs: &mut Jobs| jobs.waiting.is_empty() && !jobs.closed;
        let mut jobs = self.added.wait_while(self.jobs(), idle).unwrap_or_else(PoisonError::into_inner);
        jobs.waiting.pop_front()
    }

    fn work_on_what_starves(&self, patience: Duration) {
        stand_back(NICENESS);
        // Not in huge pages: whoever switches them on may be starving with the switch in hand.
        let mut memory = HashingMemory::default();
        while let Some(job) = self.starved(patience) {
            job(&mut memory);
        }
    }

    fn starved(&self, patience: Duration) -> Option<Job> {
        let mut jobs = self.jobs();
        while !jobs.closed {
            let Some(oldest) = jobs.undone.front().cloned() else {
                jobs = self.look.wait(jobs).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if jobs.behind > 0 {
                jobs.behind -= 1;
                jobs.take(&oldest);
                return Some(oldest);
            }
            jobs.watched = true;
            let waited = self.look.wait_timeout_while(jobs, patience, |jobs| jobs.wait_for(&oldest));
            let (after, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            jobs = after;
            jobs.watched = false;
            if waited.timed_out() {
                jobs.behind = BEHIND;
                self.starving.store(true, Ordering::Relaxed);
            }
        }
        None
    }
}

impl Jobs {
    /// Whether there is nothing else to do than to wait until this one, the oldest, is done.
    fn wait_for(&self, job: &Job) -> bool {
        let is_undone = self.undone.front().is_some_and(|oldest| Arc::ptr_eq(oldest, job));
        is_undone && self.behind == 0 && !self.closed
    }

    /// Nobody else begins it, or begins it anew.
    fn take(&mut self, taken: &Job) {
        self.waiting.retain(|job| !Arc::ptr_eq(job, taken));
        self.undone.retain(|job| !Arc::ptr_eq(job, taken));
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use thread_priority::{NormalThreadSchedulePolicy, ThreadSchedulePolicy, thread_schedule_policy};

    use super::*;

    const IDLE: ThreadSchedulePolicy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    const HOUR: Duration = Duration::from_hours(1);

    fn takes_what_is_left() -> bool {
        thread_schedule_policy().is_ok_and(|policy| policy == IDLE)
    }

    fn priority() -> Option<i32> {
        rustix::process::getpriority_process(None).ok()
    }

    /// Its number, and whether one did it who takes what is left, or else with what priority.
    type Done = (usize, Option<i32>);

    /// So many jobs, those who tell what was done, and who lets those go on that are done on what is left: they starve before.
    fn submit_starving(threads: &HashingThreads, number: usize) -> (Receiver<Done>, Sender<()>) {
        let ((tell, told), (go_on, starved)) = (channel(), channel::<()>());
        let starved = Arc::new(Mutex::new(starved));
        for number in 0..number {
            let (tell, starved) = (tell.clone(), Arc::clone(&starved));
            threads.submit(move |_| {
                let priority = priority().filter(|_| !takes_what_is_left());
                if priority.is_none() {
                    _ = starved.lock().map(|starved| starved.recv());
                }
                _ = tell.send((number, priority));
            });
        }
        (told, go_on)
    }

    #[test]
    fn what_has_a_core_is_done_once_by_a_thread_that_takes_what_others_leave() {
        let threads = HashingThreads::with_patience(HOUR, 2).unwrap();
        let (told, go_on) = submit_starving(&threads, 100);
        drop((go_on, threads));
        let mut done: Vec<_> = told.iter().collect();
        done.sort_unstable();
        assert_eq!(done, (0..100).map(|number| (number, None)).collect::<Vec<_>>());
        assert!(!takes_what_is_left());
    }

    #[test]
    fn what_starves_is_made_by_one_that_gets_a_tenth_of_a_core() {
        let before = priority().unwrap();
        let threads = HashingThreads::with_patience(Duration::ZERO, 1).unwrap();
        let (told, go_on) = submit_starving(&threads, 3);
        let done: Vec<_> = told.iter().take(3).collect();
        assert_eq!(done, [0, 1, 2].map(|number| (number, Some((before + NICENESS).min(19)))));
        assert!(threads.are_starving());
        assert_eq!(priority(), Some(before));
        drop(go_on);
    }

    #[test]
    fn so_many_behind_it_are_made_too_and_then_it_is_seen_whether_one_has_a_core_again() {
        let threads = HashingThreads::with_patience(HOUR, 1).unwrap();
        threads.starve(2);
        let (told, go_on) = submit_starving(&threads, 4);
        let by = |done: Result<Done, _>| done.map(|(number, priority)| (number, priority.is_none()));
        assert_eq!([by(told.recv()), by(told.recv())], [Ok((0, false)), Ok((1, false))]);
        assert!(threads.are_starving());
        drop((go_on, threads));
        // What was begun is done once more, and the others by whoever begins them.
        let mut others: Vec<_> = told.iter().collect();
        others.retain(|done| ![(0, None), (1, None)].contains(done));
        assert_eq!(others, [(2, None), (3, None)]);
    }
}
