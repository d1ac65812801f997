//! What this process has counted since it began or was forked.
//!
//! The counters are in the process's slot of the page that its tree of processes
//! shares ([`forkguard_proto::page`], [`super::tree`]), or, where it has none, in a slot of its
//! own memory. Besides them only the waits of forks are counted, for the C interface.

use core::sync::atomic::{AtomicU64, Ordering::*};

use super::fork_barrier::Waited;
use super::{generation, slot, tree};
pub use forkguard_proto::page::Count;

/// Adds to a counter. Nothing happens in a child of `vfork`, which runs in its
/// parent's memory, nor in a forked child that has not been looked after.
#[cold]
#[inline(never)]
pub fn count(what: Count, number: u64) {
    if number != 0 && generation::is_own_memory() {
        tree::in_slot(|slot| slot::add(slot, what, number));
    }
}

/// An inherited session could not be made again: the reason's code, and what it is about.
pub fn count_opaque(code: &[u8], detail: &[u8]) {
    if generation::is_own_memory() {
        tree::in_slot(|slot| {
            let between: &[u8] = if detail.is_empty() { b"" } else { b": " };
            let reason = code.iter().chain(between).chain(detail);
            slot::set_reason(slot, reason.copied());
            slot::add(slot, Count::Opaque, 1);
        });
    }
}

/// A counter.
pub fn get(what: Count) -> u64 {
    tree::slots_to_read()
        .filter_map(|slot| slot.counts.get(what as usize))
        .map(|count| count.load(Relaxed))
        .fold(0, u64::wrapping_add)
}

/// How many kinds of wait are told apart.
pub const WAITS: usize = 7;

/// Forks by how long they waited: not at all; less than 10 and 100 microseconds,
/// 1 and 10 milliseconds; longer; in vain.
pub struct Waits([AtomicU64; WAITS]);

impl Waits {
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
            counter.fetch_add(1, Relaxed);
        }
    }

    /// The counts.
    pub fn get(&self) -> [u64; WAITS] {
        self.0.each_ref().map(|count| count.load(Relaxed))
    }
}

/// Forks that looked whether another thread was inside a step.
#[link_section = ".data.forkguard"]
pub static FORK_WAITS: Waits = Waits([const { AtomicU64::new(0) }; WAITS]);

/// Begins at zero, in a child of `parent`.
pub fn reset(parent: core::ffi::c_int) {
    tree::reset(parent);
    for count in &FORK_WAITS.0 {
        if count.load(Relaxed) != 0 {
            count.store(0, Relaxed);
        }
    }
}
