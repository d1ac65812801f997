//! Counters of this process since it began or was forked.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One counter.
pub struct Counter(AtomicU64);

impl Counter {
    const fn new() -> Self {
        Counter(AtomicU64::new(0))
    }

    /// Adds to it.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// PostgreSQL sessions recognised or tracked by hand.
#[link_section = ".data.forkguard"]
pub static OPENED: Counter = Counter::new();
/// Inherited descriptors made dead in this process, duplicates counted.
#[link_section = ".data.forkguard"]
pub static ABANDONED: Counter = Counter::new();
/// Inherited descriptors that could not be made dead and are refused by the hooks.
#[link_section = ".data.forkguard"]
pub static REFUSED: Counter = Counter::new();
/// Inherited descriptors left alone, because they were handed over.
#[link_section = ".data.forkguard"]
pub static HANDED_OVER: Counter = Counter::new();

/// Begins anew, in a child.
pub fn reset() {
    for counter in [&OPENED, &ABANDONED, &REFUSED, &HANDED_OVER] {
        // Only what is not 0 already: the first write to a page costs a copy.
        if counter.get() != 0 {
            counter.0.store(0, Relaxed);
        }
    }
}
