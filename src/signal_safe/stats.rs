//! Counters of this process since it began or was forked.

use core::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::exclusion::Waited;

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

/// How many kinds of wait are told apart.
pub const WAITS: usize = 7;

/// Forks by how long they waited: not at all; less than 10 and 100 microseconds,
/// 1 and 10 milliseconds; longer; in vain.
pub struct Waits([Counter; WAITS]);

impl Waits {
    const fn new() -> Self {
        Waits([const { Counter::new() }; WAITS])
    }

    /// One more fork.
    pub fn add(&self, waited: &Waited) {
        let kind = match waited.microseconds {
            _ if waited.in_vain => 6,
            0 => 0,
            1..10 => 1,
            10..100 => 2,
            100..1_000 => 3,
            1_000..10_000 => 4,
            _ => 5,
        };
        if let Some(counter) = self.0.get(kind) {
            counter.add(1);
        }
    }

    /// The counts.
    pub fn get(&self) -> [u64; WAITS] {
        self.0.each_ref().map(Counter::get)
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

/// Inherited sessions made anew.
#[link_section = ".data.forkguard"]
pub static RESUMED: Counter = Counter::new();
/// Inherited sessions that could not be, or were not equal.
#[link_section = ".data.forkguard"]
pub static OPAQUE: Counter = Counter::new();

/// Forks that looked whether another thread was inside a step.
#[link_section = ".data.forkguard"]
pub static FORK_WAITS: Waits = Waits::new();

/// Begins anew, in a child.
pub fn reset() {
    let counters = [
        &OPENED,
        &ABANDONED,
        &REFUSED,
        &HANDED_OVER,
        &RESUMED,
        &OPAQUE,
    ];
    for counter in counters.into_iter().chain(&FORK_WAITS.0) {
        // Only what is not 0 already: the first write to a page costs a copy.
        if counter.get() != 0 {
            counter.0.store(0, Relaxed);
        }
    }
}
