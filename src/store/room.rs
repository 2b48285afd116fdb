use std::io;
use std::path::Path;

use rustix::fs::StatVfs;

/// Writes are refused while the file system has less room than this, in bytes: sled does not get over a
/// write that failed, but a refusal passes as soon as there is room again.
const KEPT_FREE: u64 = 32 * 1024 * 1024;

/// The room on the file system that a store lies on, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// How much is free for this user.
    pub free: u64,
    /// How much there is for this user, with what is taken; without what the file system keeps for root.
    pub size: u64,
    /// With less than this free nothing is written.
    pub kept_free: u64,
}

impl Room {
    /// The room where `path` lies.
    ///
    /// # Errors
    /// When the file system does not say, or there is no such path.
    pub fn at(path: &Path) -> io::Result<Self> {
        Ok(Self::of(&rustix::fs::statvfs(path)?))
    }

    /// As `df` counts: what is kept for root is neither free nor taken, or a large disk would seem to fill while there is
    /// plenty of room.
    pub(super) fn of(file_system: &StatVfs) -> Self {
        let StatVfs { f_frsize: block, f_blocks: all, f_bfree: free, f_bavail: ours, .. } = *file_system;
        let taken = all.saturating_sub(free);
        Self {
            free: ours.saturating_mul(block),
            size: taken.saturating_add(ours).saturating_mul(block),
            kept_free: KEPT_FREE,
        }
    }

    /// Whether nothing is written any more until somebody makes room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.free < self.kept_free
    }

    /// Whether little more is free than what is kept so.
    #[must_use]
    pub fn is_almost_full(&self) -> bool {
        self.free < self.kept_free.saturating_mul(2)
    }

    /// Whether 85 % or more is taken, or it is almost full.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.free <= self.size / 100 * 15 || self.is_almost_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = 4096;

    /// So many blocks in all, free, and free for others than root.
    fn room([all, free, ours]: [u64; 3]) -> Room {
        let mut file_system = rustix::fs::statvfs("/").unwrap();
        (file_system.f_bsize, file_system.f_frsize) = (1, BLOCK);
        (file_system.f_blocks, file_system.f_bfree, file_system.f_bavail) = (all, free, ours);
        Room::of(&file_system)
    }

    #[test]
    fn what_is_kept_for_root_is_neither_free_nor_taken() {
        // 4 GB of which a fifth is root's: 16 % of the rest is free, 12.8 % of the whole.
        let spacious = room([1_000_000, 328_000, 128_000]);
        assert_eq!((spacious.free, spacious.size), (128_000 * BLOCK, 800_000 * BLOCK));
        assert!(!spacious.is_low());
        assert!(room([1_000_000, 319_000, 119_000]).is_low());
        assert!(room([1_000_000, 200_000, 0]).is_full());
    }

    #[test]
    fn a_small_disk_is_low_before_it_is_full() {
        let mib = 1024 * 1024 / BLOCK;
        let of = |free: u64| {
            let room = room([100 * mib, free * mib, free * mib]);
            (room.is_low(), room.is_almost_full(), room.is_full())
        };
        assert_eq!(of(64), (false, false, false));
        assert_eq!(of(63), (true, true, false));
        assert_eq!(of(32), (true, true, false));
        assert_eq!(of(31), (true, true, true));
    }

    #[test]
    fn a_file_system_that_says_nothing_is_full() {
        let nothing = room([0, 0, 0]);
        assert!(nothing.is_full() && nothing.is_low());
        assert!(Room::at(Path::new("/nonexistent")).is_err());
    }
}
