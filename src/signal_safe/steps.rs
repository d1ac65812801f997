//! No fork while another thread is inside a library's lock on libpq's way.
//!
//! A child that connects, or only frees a TLS session, waits for ever if at
//! the fork another thread was inside a lock of OpenSSL, libkrb5 or the
//! resolver on libpq's behalf (seen: `gss_indicate_mechs`, `SSL_free`). libpq
//! takes those in few calls, which this library sees (the room `libpq`, where
//! there is one for the processor): each is a step. A fork waits until no
//! other thread is inside one and lets none begin, within a bound.
//!
//! A thread that leaves a step by `longjmp` or `pthread_cancel`, and one that
//! is stuck in a name look-up, costs one fork the bound, and not every later one.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};

use super::threads::{wait_until, Place, Threads};

#[link_section = ".data.forkguard"]
static INSIDE: Threads<64> = Threads::none();
#[link_section = ".data.forkguard"]
static FORKING: Threads<8> = Threads::none();
/// Whether a step has ever begun: before, a fork need not look.
#[link_section = ".data.forkguard"]
static EVER: AtomicBool = AtomicBool::new(false);

/// The longest a fork waits, or a step that would begin during one: milliseconds.
static BOUND_MS: AtomicU32 = AtomicU32::new(100);

/// Sets the bound.
pub fn set_bound(milliseconds: u32) {
    BOUND_MS.store(milliseconds, Relaxed);
}

fn bound() -> u64 {
    u64::from(BOUND_MS.load(Relaxed))
}

/// Whether a fork has anything to wait for.
#[inline]
pub fn any() -> bool {
    EVER.load(Relaxed)
}

/// A step begins on this thread. One inside another is part of it.
pub fn enter() -> Place {
    if !EVER.load(Relaxed) {
        EVER.store(true, SeqCst);
    }
    let place = INSIDE.enter();
    if !FORKING.has_others() {
        return place;
    }
    // Out again, so that the fork does not wait for one that waits for it.
    INSIDE.leave(place);
    wait_until(bound(), || !FORKING.has_others());
    INSIDE.enter()
}

/// The step ends.
pub fn leave(place: Place) {
    INSIDE.leave(place);
}

/// This thread is about to fork: waits for the others' steps, and holds new
/// ones back until [`forked`]. Its own step does not count: libpq may have
/// called back. False if it gave up.
pub fn before_fork() -> bool {
    FORKING.enter();
    INSIDE.wait_for_others(bound())
}

/// This thread has forked.
pub fn forked() {
    FORKING.leave_all();
}

/// A child has no other thread, and this one has forked.
pub fn reset() {
    FORKING.leave_all();
    FORKING.reset();
    INSIDE.reset();
}
