//! The memory of one hash after the other.

#[cfg(target_os = "linux")]
use std::sync::{Mutex, PoisonError};

use argon2::Block;
#[cfg(target_os = "linux")]
use rustix::thread::{disable_transparent_huge_pages, transparent_huge_pages_are_disabled};

/// Memory that hashes are made in. What one leaves is there until the next: Argon2 fills all that it uses before it reads it
/// (RFC 9106, section 3.2).
#[derive(Default)]
pub(super) struct HashingMemory {
    blocks: Vec<Block>,
    in_huge_pages: bool,
}

impl HashingMemory {
    /// Memory in huge pages, if the kernel has some for it. Who asks for more of it waits for others who do.
    pub(super) fn in_huge_pages() -> Self {
        Self { in_huge_pages: true, ..Self::default() }
    }

    /// So many blocks of a KiB.
    pub(super) fn blocks(&mut self, number: usize) -> &mut [Block] {
        if self.blocks.len() < number {
            let mut grow = || self.blocks.resize(number, Block::new());
            if self.in_huge_pages { in_huge_pages(grow) } else { grow() }
        }
        &mut self.blocks[..number]
    }
}

/// What `allocate` touches first comes in huge pages, if the kernel gives any to who asks for them, as the allocator does: a hash reads
/// all over its memory, and is 3 % faster so (docs/decisions/0016). For everything else `main` has switched them off.
#[cfg(target_os = "linux")]
fn in_huge_pages(allocate: impl FnOnce()) {
    let _alone = SWITCH.lock().unwrap_or_else(PoisonError::into_inner);
    switched_on(allocate);
}

/// The switch is the process's, so there is one who may move it.
#[cfg(target_os = "linux")]
static SWITCH: Mutex<()> = Mutex::new(());

#[cfg(target_os = "linux")]
fn switched_on(allocate: impl FnOnce()) {
    let disabled = transparent_huge_pages_are_disabled().unwrap_or(false);
    if disabled {
        disable_transparent_huge_pages(false).ok();
    }
    allocate();
    if disabled {
        disable_transparent_huge_pages(true).ok();
    }
}

#[cfg(not(target_os = "linux"))]
fn in_huge_pages(allocate: impl FnOnce()) {
    allocate();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_and_is_never_larger_than_asked_for() {
        for mut memory in [HashingMemory::default(), HashingMemory::in_huge_pages()] {
            for number in [64, 16, 128, 64] {
                assert_eq!(memory.blocks(number).len(), number);
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn huge_pages_are_as_they_were_afterwards() {
        let _alone = SWITCH.lock().unwrap();
        let disabled = || transparent_huge_pages_are_disabled().unwrap();
        for before in [true, false] {
            disable_transparent_huge_pages(before).unwrap();
            switched_on(|| assert!(!disabled()));
            assert_eq!(disabled(), before);
        }
    }
}
