//! Which threads come first where cores are short: those that answer requests. On Linux a priority belongs to a thread; elsewhere it
//! would be the whole process that stands back, so nothing is done there.

#[cfg(target_os = "linux")]
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id, thread_schedule_policy,
};

/// The calling thread, and every thread that it starts from now on, stands back by `steps` (`nice`): whoever else is ready to run usually
/// comes first, and gets the larger part of a core while both want it. It can't be taken back.
#[cfg(target_os = "linux")]
pub fn stand_back(steps: i32) {
    if let Err(error) = rustix::process::nice(steps) {
        tracing::warn!(%error, "what is done beside answering requests is done at their priority");
    }
}

/// Nothing: a priority would be the whole process's.
#[cfg(not(target_os = "linux"))]
pub fn stand_back(_steps: i32) {}

/// The calling thread has a core only while no other thread wants it, and leaves it at once to one that does (`SCHED_IDLE`); where that
/// is not permitted it stands back by `steps`. While others want all cores it makes next to no progress. It can't be taken back.
#[cfg(target_os = "linux")]
pub fn take_what_is_left(steps: i32) {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    // This sets the policy and then a nice value, which an idle thread has no use for, and which may not be permitted.
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle).ok();
    if thread_schedule_policy().ok() != Some(idle) {
        stand_back(steps);
    }
}

/// Nothing: a priority would be the whole process's.
#[cfg(not(target_os = "linux"))]
pub fn take_what_is_left(_steps: i32) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_takes_what_is_left_is_idle_and_no_other_is() {
        let policy = || thread_schedule_policy().unwrap();
        let before = policy();
        let other = std::thread::spawn(move || {
            take_what_is_left(10);
            policy()
        });
        assert_eq!(other.join().unwrap(), ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle));
        assert_eq!(policy(), before);
    }
}
