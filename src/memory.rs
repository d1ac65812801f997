//! The allocator of this library: libc's, with a last reserve behind it.
//!
//! Rust's collections end the process when an allocation fails; inside
//! somebody else's process that is not ours to do. Where `malloc` returns
//! nothing, a small reserve in the library's own data answers, and
//! [`is_plenty`] tells the modules that allocate to leave it at that.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering::*};
use std::alloc::System;

/// Bytes. An entry of the sessions' map takes about 200, its growth a few
/// thousand at once; half is left when [`is_plenty`] says no.
const RESERVE: usize = 64 * 1024;

#[repr(align(64))]
struct Reserve(UnsafeCell<[u8; RESERVE]>);

// SAFETY: the bytes are handed out by `USED`, each to one owner.
unsafe impl Sync for Reserve {}

static RESERVED: Reserve = Reserve(UnsafeCell::new([0; RESERVE]));
/// How much of it is used (lower half), by how many blocks (upper half): when
/// the last is given back, all is free again.
static USED: AtomicU64 = AtomicU64::new(0);
const BLOCK: u64 = 1 << 32;

fn used(state: u64) -> usize {
    (state & (BLOCK - 1)) as usize
}

/// Whether `bytes` could be allocated now, with the reserve's last half to spare.
pub(crate) fn is_plenty(bytes: usize) -> bool {
    let layout = Layout::array::<u64>(bytes / 8 + 1);
    used(USED.load(Relaxed)) < RESERVE / 2
        && layout.is_ok_and(|layout| {
            // SAFETY: of some size; given back at once with the same layout.
            unsafe {
                let probe = System.alloc(layout);
                System.dealloc(probe, layout); // free(3) takes null
                !probe.is_null()
            }
        })
}

struct Allocator;

#[cfg_attr(not(test), global_allocator)]
static ALLOCATOR: Allocator = Allocator;

impl Allocator {
    fn reserve(&self, layout: Layout) -> *mut u8 {
        let start = RESERVED.0.get().cast::<u8>();
        let mut state = USED.load(Relaxed);
        loop {
            let begin = used(state).next_multiple_of(layout.align().min(64));
            let end = begin.saturating_add(layout.size());
            if end > RESERVE || layout.align() > 64 {
                return core::ptr::null_mut();
            }
            let new = (state & !(BLOCK - 1)) + BLOCK + end as u64;
            match USED.compare_exchange_weak(state, new, Acquire, Relaxed) {
                // SAFETY: `begin..end` lies within the reserve.
                Ok(_) => return unsafe { start.add(begin) },
                Err(now) => state = now,
            }
        }
    }

    fn give_back(&self) {
        let mut state = USED.load(Relaxed);
        loop {
            let left = state - BLOCK;
            let new = if left < BLOCK { 0 } else { left };
            match USED.compare_exchange_weak(state, new, Release, Relaxed) {
                Ok(_) => return,
                Err(now) => state = now,
            }
        }
    }

    fn is_reserve(&self, memory: *mut u8) -> bool {
        let start = RESERVED.0.get() as usize;
        (start..start + RESERVE).contains(&(memory as usize))
    }
}

// SAFETY: memory comes from `System` or from the reserve, each block from one
// of them; what the reserve gave is given again when all of it came back.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise on `layout` is passed on.
        let memory = unsafe { System.alloc(layout) };
        if memory.is_null() {
            self.reserve(layout)
        } else {
            memory
        }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if self.is_reserve(memory) {
            self.give_back();
        } else {
            // SAFETY: not from the reserve, so from `System`, with this layout.
            unsafe { System.dealloc(memory, layout) };
        }
    }
}
