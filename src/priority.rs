//! Which threads come first where cores are short: those that answer requests.

/// The calling thread, and every thread that it starts from now on, stands back by `steps` (`nice`): whoever else is ready to run comes
/// first, and gets the larger part of a core while both want it. It can't be taken back. On Linux a priority belongs to a thread;
/// elsewhere it would be the whole process that stands back, so nothing is done there.
#[cfg(target_os = "linux")]
pub fn stand_back(steps: i32) {
    if let Err(error) = rustix::process::nice(steps) {
        tracing::warn!(%error, "what is done beside answering requests is done at their priority");
    }
}

/// Nothing: a priority would be the whole process's.
#[cfg(not(target_os = "linux"))]
pub fn stand_back(_steps: i32) {}
