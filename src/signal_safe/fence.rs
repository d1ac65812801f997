//! No number is forgotten while a fork copies this process.
//!
//! The kernel copies the descriptors first and the memory a little later
//! (`copy_process`: `copy_files`, then `copy_mm`). A thread that closes a
//! session and opens another under the same number in between would leave the
//! child with the first one's socket and the second one's entry. So between
//! our prepare handler, which is the last to run before the copy, and our
//! parent handler, which is the first after it, entries are only added.
//!
//! Both sides wait for the other within a bound, and go on past it: a missed
//! race is rarer and better than a host that hangs.

use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering::*};

use super::sys;

/// For longer nobody waits here. A thread between [`enter`] and [`leave`] makes
/// at most a `dup(2)`; only a full machine keeps it from the processor for so long.
const BOUND_MS: u64 = 100;

/// The threads that are forking, by `pthread_self`; 0 is a free place. A
/// thread that finds no place forks without the fence.
#[link_section = ".data.forkguard"]
static FORKING: [AtomicUsize; 8] = [const { AtomicUsize::new(0) }; 8];

/// How many threads are between [`enter`] and [`leave`]. Signed: a fork from a
/// signal handler that interrupted one starts its child at 0, and the child then leaves.
#[link_section = ".data.forkguard"]
static FORGETTING: AtomicI32 = AtomicI32::new(0);

fn this_thread() -> usize {
    // SAFETY: takes nothing, reads a register of this thread.
    unsafe { libc::pthread_self() as usize }
}

fn wait_until(done: impl Fn() -> bool) {
    if done() {
        return;
    }
    let end = sys::now_ms() + BOUND_MS;
    while !done() && sys::now_ms() < end {
        sys::yield_now();
    }
}

/// Begins a change that makes the table forget what a number meant, or that
/// must not be seen half done by a fork: waits while another thread is forking.
/// [`leave`] follows. Not nested: the inner one would wait for a fork that
/// waits for the outer one.
pub fn enter() {
    let me = this_thread();
    let nobody_forks = || {
        FORKING
            .iter()
            .all(|place| [0, me].contains(&place.load(SeqCst)))
    };
    FORGETTING.fetch_add(1, SeqCst);
    if !nobody_forks() {
        FORGETTING.fetch_sub(1, SeqCst);
        wait_until(nobody_forks);
        FORGETTING.fetch_add(1, SeqCst);
    }
}

/// Ends what [`enter`] began.
pub fn leave() {
    FORGETTING.fetch_sub(1, SeqCst);
}

/// Runs `change` between [`enter`] and [`leave`].
pub fn forget<R>(change: impl FnOnce() -> R) -> R {
    enter();
    let result = change();
    leave();
    result
}

/// This thread is about to fork: waits for those who have entered.
pub fn raise() {
    let me = this_thread();
    if FORKING
        .iter()
        .any(|place| place.compare_exchange(0, me, SeqCst, Relaxed).is_ok())
    {
        wait_until(|| FORGETTING.load(SeqCst) <= 0);
    }
}

/// This thread has forked. Nothing is written where it had raised nothing: in
/// a parent each first write to a page after a fork costs a copy.
pub fn lower() {
    let me = this_thread();
    for place in &FORKING {
        if place.load(Relaxed) == me {
            place.store(0, SeqCst);
        }
    }
}

/// A child has no other thread, neither forking nor forgetting.
pub fn reset() {
    // Only what is not 0 already: the first write to a page costs a copy.
    for place in &FORKING {
        if place.load(Relaxed) != 0 {
            place.store(0, Relaxed);
        }
    }
    if FORGETTING.load(Relaxed) != 0 {
        FORGETTING.store(0, Relaxed);
    }
}
