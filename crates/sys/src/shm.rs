//! Memory that parent and forked children share, as an array of slots made of atomics.
//! Not here: what a slot means, or who may write which.
#![expect(
    unsafe_code,
    reason = "shared mappings are raw memory until they are typed here"
)]

use std::io;
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// `&[T]` in anonymous shared memory: made before fork, seen and changed by every process forked later.
///
/// `T` should hold atomics only. Whatever is `Sync` is sound here (a change from another process is like one from
/// another thread), but a pointer to the heap, or a lock that sleeps, means nothing to another process.
pub struct SharedSlots<T> {
    memory: NonNull<T>,
    count: usize,
}

// SAFETY: it only hands out `&T`, and `T: Sync` is demanded where one is made.
unsafe impl<T: Sync> Send for SharedSlots<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for SharedSlots<T> {}

impl<T: Default + Sync + 'static> SharedSlots<T> {
    /// `count` slots, each `T::default()`.
    pub fn new(count: usize) -> io::Result<Self> {
        const {
            assert!(
                !std::mem::needs_drop::<T>(),
                "a slot is never dropped, so it must own nothing"
            );
            assert!(align_of::<T>() <= 4096, "a mapping starts at a page");
        }
        let bytes = count
            .checked_mul(size_of::<T>())
            .and_then(NonZeroUsize::new);
        let bytes = bytes.ok_or(io::ErrorKind::InvalidInput)?;
        let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new anonymous mapping at a place the kernel chooses disturbs no memory of ours.
        let mapped = unsafe { mmap_anonymous(None, bytes, rights, MapFlags::MAP_SHARED)? };
        let slots = Self {
            memory: mapped.cast(),
            count,
        };
        for index in 0..count {
            // SAFETY: `index` < `count`, and the mapping is `count` slots long.
            let slot = unsafe { slots.memory.add(index) };
            // SAFETY: aligned, writable, and not referenced by anybody yet.
            unsafe { slot.write(T::default()) };
        }
        Ok(slots)
    }
}

impl<T> Deref for SharedSlots<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `new` initialized `count` slots, which stay mapped as long as `self`; nobody makes a `&mut`.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr(), self.count) }
    }
}

impl<T> Drop for SharedSlots<T> {
    fn drop(&mut self) {
        let bytes = self.count * size_of::<T>();
        // SAFETY: exactly what `new` mapped; the borrow checker knows of no reference into it any more.
        let _ = unsafe { munmap(self.memory.cast(), bytes) };
    }
}

impl<T> std::fmt::Debug for SharedSlots<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SharedSlots")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::{self, Fork};
    use std::sync::atomic::{AtomicU64, Ordering};

    #[derive(Default)]
    #[repr(align(64))]
    struct Slot(AtomicU64);

    #[test]
    fn a_forked_child_writes_what_the_parent_reads() {
        let slots = SharedSlots::<Slot>::new(100).unwrap();
        assert_eq!(slots.len(), 100);
        // SAFETY: the child only stores into memory that exists and ends itself.
        match unsafe { process::fork() }.unwrap() {
            Fork::Child => {
                slots[99].0.store(42, Ordering::Release);
                process::exit_now(0)
            }
            Fork::Parent(child) => assert!(process::wait(child).unwrap().success()),
        }
        assert_eq!(slots[99].0.load(Ordering::Acquire), 42);
        assert_eq!(slots[98].0.load(Ordering::Acquire), 0);
    }

    #[test]
    fn nothing_to_share_is_refused() {
        assert!(SharedSlots::<Slot>::new(0).is_err());
        assert!(SharedSlots::<Slot>::new(usize::MAX / 2).is_err());
    }
}
