//! What this process has counted since it began or was forked.
//!
//! The counters stand in the process's slot of the page that its tree of processes
//! shares ([`forkguard_proto::page`], [`super::tree`]), or, where it has none, in a slot of its
//! own memory. Besides them only the waits of forks are counted, for the C interface.

use core::sync::atomic::{AtomicU64, Ordering::*};

use super::exclusion::Waited;
use super::sys;
use super::{generation, tree};
pub use forkguard_proto::page::Count;
use forkguard_proto::page::{Slot, COUNTS, TEXT};

/// Adds to a counter. Nothing happens in a child of `vfork`, which runs in its
/// parent's memory, nor in a forked child that has not been looked after.
#[cold]
#[inline(never)]
pub fn count(what: Count, number: u64) {
    if number != 0 && generation::is_own_memory() {
        tree::in_slot(|slot| add(slot, what, number));
    }
}

/// An inherited session could not be made anew: the reason's code, and what it is about.
pub fn count_opaque(code: &[u8], detail: &[u8]) {
    if generation::is_own_memory() {
        tree::in_slot(|slot| {
            let between: &[u8] = if detail.is_empty() { b"" } else { b": " };
            let reason = code.iter().chain(between).chain(detail);
            set_reason(slot, reason.copied());
            add(slot, Count::Opaque, 1);
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

fn add(slot: &Slot, what: Count, number: u64) {
    if let Some(counter) = slot.counts.get(what as usize) {
        counter.fetch_add(number, Relaxed);
    }
    if matches!(what, Count::Opened | Count::Closed) {
        return;
    }
    let (seconds, nanoseconds) = sys::wall_clock();
    let now = seconds
        .wrapping_mul(1_000_000_000)
        .wrapping_add(nanoseconds);
    set_first(slot, what as u32 + 1, now);
    set_last(slot, what as u32 + 1, now);
}

fn set_first(slot: &Slot, event: u32, at: u64) {
    let first = &slot.first_event;
    if first.load(Relaxed) == 0 && first.compare_exchange(0, event, Relaxed, Relaxed).is_ok() {
        slot.first_at.store(at, Relaxed);
    }
}

fn set_last(slot: &Slot, event: u32, at: u64) {
    slot.last_event.store(event, Relaxed);
    slot.last_at.store(at, Relaxed);
}

/// Whoever finds another thread at it leaves it to that one.
fn set_reason(slot: &Slot, reason: impl Iterator<Item = u8>) {
    let turn = slot.reason_turn.load(Relaxed);
    let odd = turn.wrapping_add(1);
    if !turn.is_multiple_of(2)
        || slot
            .reason_turn
            .compare_exchange(turn, odd, Acquire, Relaxed)
            .is_err()
    {
        return;
    }
    core::sync::atomic::fence(Release);
    let mut length = 0;
    for (place, byte) in slot.reason.iter().zip(reason) {
        place.store(byte, Relaxed);
        length += 1;
    }
    slot.reason_length.store(length, Relaxed);
    slot.reason_turn.store(odd.wrapping_add(1), Release);
}

/// Moves what stands in one slot of this process to another one.
pub fn move_all(from: &Slot, to: &Slot) {
    for (from, to) in from.counts.iter().zip(&to.counts) {
        if from.load(Relaxed) != 0 {
            to.fetch_add(from.swap(0, Relaxed), Relaxed);
        }
    }
    let first = from.first_event.load(Relaxed);
    if first != 0 {
        set_first(to, first, from.first_at.load(Relaxed));
        let last_at = from.last_at.load(Relaxed);
        if last_at >= to.last_at.load(Relaxed) {
            set_last(to, from.last_event.load(Relaxed), last_at);
        }
    }
    let length = from.reason_length.load(Relaxed) as usize;
    if length != 0 {
        let reason = from.reason.iter().take(length.min(TEXT));
        set_reason(to, reason.map(|byte| byte.load(Relaxed)));
    }
    empty(from, None);
}

/// Forgets what stands in a slot; the counts are added to `retired`.
pub fn empty(slot: &Slot, retired: Option<&[AtomicU64; COUNTS]>) {
    // Only what is not 0 already: the first write to a page costs a copy.
    for (index, count) in slot.counts.iter().enumerate() {
        if count.load(Relaxed) != 0 {
            let counted = count.swap(0, Relaxed);
            if let Some(retired) = retired.and_then(|retired| retired.get(index)) {
                retired.fetch_add(counted, Relaxed);
            }
        }
    }
    for word in [&slot.first_at, &slot.last_at] {
        if word.load(Relaxed) != 0 {
            word.store(0, Relaxed);
        }
    }
    for word in [&slot.first_event, &slot.last_event, &slot.reason_length] {
        if word.load(Relaxed) != 0 {
            word.store(0, Relaxed);
        }
    }
    // Who wrote it may have been killed at it.
    let turn = slot.reason_turn.load(Relaxed);
    if !turn.is_multiple_of(2) {
        slot.reason_turn.store(turn.wrapping_add(1), Relaxed);
    }
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

/// Begins anew, in a child of `parent`.
pub fn reset(parent: core::ffi::c_int) {
    tree::reset(parent);
    for count in &FORK_WAITS.0 {
        if count.load(Relaxed) != 0 {
            count.store(0, Relaxed);
        }
    }
}
