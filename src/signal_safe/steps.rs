//! No fork while another thread is inside a library's lock on libpq's way.
//!
//! A child that connects, or only frees a TLS session, waits for ever if at
//! the fork another thread was inside a lock of OpenSSL, libkrb5 or the
//! resolver on libpq's behalf (seen: `gss_indicate_mechs`, `SSL_free`). libpq
//! takes those in few calls, which this library sees (the room `libpq`, where
//! there is one for the processor): each is a step. A fork waits until no
//! other thread is inside one and lets none begin, within a bound.
//!
//! A thread that is stuck in a name look-up costs one fork the bound, and not
//! every later one.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};

use super::exclusion::{Exclusion, Place};

#[link_section = ".data.forkguard"]
static STEPS: Exclusion<64> = Exclusion::none();
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

/// A step begins on this thread. One inside another is part of it. A step lets
/// a fork that waits go first: steps are long, and a fork would never find a gap.
pub fn enter() -> Place {
    if !EVER.load(Relaxed) {
        EVER.store(true, SeqCst);
    }
    STEPS.enter(true, bound())
}

/// The step ends.
pub fn leave(place: Place) {
    STEPS.leave(place);
}

/// This thread is about to fork: waits for the others' steps. Its own does not
/// count: libpq may have called back. [`forked`] follows. False if it gave up.
pub fn before_fork() -> bool {
    STEPS.before_fork(bound())
}

/// This thread has forked.
pub fn forked() {
    STEPS.forked();
}

/// In a child.
pub fn reset() {
    STEPS.reset();
}
