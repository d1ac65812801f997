//! Arithmetic on one slot of the page of counters.

use core::sync::atomic::{AtomicU64, Ordering::*};

use super::sys;
use forkguard_proto::page::{Count, Slot, COUNTS, TEXT};

/// Adds to a counter, and notes the event.
pub fn add(slot: &Slot, what: Count, number: u64) {
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

/// Writes the reason. If another thread is already writing it, does nothing.
pub fn set_reason(slot: &Slot, reason: impl Iterator<Item = u8>) {
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

/// Moves the contents of one slot of this process to another one.
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

/// Empties a slot; the counts are added to `retired`.
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
    // The writer may have been killed while it wrote.
    let turn = slot.reason_turn.load(Relaxed);
    if !turn.is_multiple_of(2) {
        slot.reason_turn.store(turn.wrapping_add(1), Relaxed);
    }
}
