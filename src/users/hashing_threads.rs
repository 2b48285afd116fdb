//! The threads that hash passwords: their own, and behind every other thread where cores are short.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use super::hashing_memory::HashingMemory;
use crate::priority::stand_back;

/// How far the threads stand back: whoever else is ready to run comes first, and while both want a core a hash gets
/// about a tenth of it (docs/decisions/0016).
const NICENESS: i32 = 10;

type Job = Box<dyn FnOnce(&mut HashingMemory) + Send>;

/// As many threads as passwords may be hashed at once, each with the memory of one hash. They end, after what they have
/// begun, when this is dropped.
pub(super) struct HashingThreads(Sender<Job>);

impl HashingThreads {
    /// Starts `number` threads.
    ///
    /// # Errors
    /// When the system has none to give.
    pub(super) fn start(number: usize) -> std::io::Result<Self> {
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..number {
            let queue = Arc::clone(&queue);
            std::thread::Builder::new().name("hashing".into()).spawn(move || work(&queue))?;
        }
        Ok(Self(jobs))
    }

    /// Queues `job`, which is given memory that was used before.
    pub(super) fn submit(&self, job: impl FnOnce(&mut HashingMemory) + Send + 'static) {
        // A job that can't be queued is dropped, which whoever waits for its outcome sees.
        self.0.send(Box::new(job)).ok();
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    stand_back(NICENESS);
    let mut memory = HashingMemory::default();
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        job(&mut memory);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn they_alone_stand_back() {
        let priority = || rustix::process::getpriority_process(None).unwrap();
        let before = priority();
        let threads = HashingThreads::start(1).unwrap();
        let (tell, told) = channel();
        threads.submit(move |_| tell.send(priority()).unwrap());
        assert_eq!(told.recv().unwrap(), (before + NICENESS).min(19));
        assert_eq!(priority(), before);
    }
}
