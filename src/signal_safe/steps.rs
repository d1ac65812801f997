//! No fork while another thread is inside a library's lock on libpq's way.
//!
//! A child that connects, or only frees a TLS session, waits for ever if at
//! the fork another thread was inside a lock of OpenSSL, libkrb5 or the
//! resolver on libpq's behalf (seen: `gss_indicate_mechs`, `SSL_free`). libpq
//! takes those in few calls, which this library sees ([`crate::libpq`] where
//! there is one for the processor): each is a step. A fork waits until no
//! other thread is inside one and lets none begin, within a bound.
//!
//! A thread that leaves a step by `longjmp` or `pthread_cancel`, and one that
//! is stuck in a name look-up, would cost every later fork the bound: a place
//! that a fork waited for in vain is not waited for again until the thread
//! enters anew.

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::*};

use super::sys;

/// The threads inside a step, by `pthread_self`; 0 is a free place. What finds
/// no place is not waited for.
#[link_section = ".data.forkguard"]
static INSIDE: [AtomicUsize; 64] = [const { AtomicUsize::new(0) }; 64];
/// In a place: waited for in vain. Thread handles are addresses: even.
const IN_VAIN: usize = 1;

/// How many threads are about to fork.
#[link_section = ".data.forkguard"]
static FORKING: AtomicUsize = AtomicUsize::new(0);

/// The longest a fork waits, or a step that would begin during one: milliseconds.
static BOUND_MS: AtomicUsize = AtomicUsize::new(100);

/// Whether a step has ever begun: before, a fork need not look.
#[link_section = ".data.forkguard"]
static EVER: AtomicBool = AtomicBool::new(false);

/// Whether a fork has anything to wait for.
#[inline]
pub fn any() -> bool {
    EVER.load(Relaxed)
}

/// Forks that waited, and those that waited in vain.
pub static WAITED: AtomicUsize = AtomicUsize::new(0);
/// See [`WAITED`].
pub static GAVE_UP: AtomicUsize = AtomicUsize::new(0);

/// Sets the bound.
pub fn set_bound(milliseconds: usize) {
    BOUND_MS.store(milliseconds, Relaxed);
}

fn this_thread() -> usize {
    // SAFETY: takes nothing, reads a register of this thread.
    unsafe { libc::pthread_self() as usize }
}

/// Where in a step: what [`enter`] returns and [`leave`] takes.
pub struct Place(Option<usize>);

/// A step begins on this thread. One inside another is part of it.
pub fn enter() -> Place {
    let me = this_thread();
    if INSIDE.iter().any(|place| place.load(Relaxed) == me) {
        return Place(None);
    }
    // A place left without leaving belongs to this thread again.
    if let Some(place) = INSIDE
        .iter()
        .position(|place| place.load(Relaxed) == me | IN_VAIN)
    {
        set(place, 0);
    }
    if !EVER.load(Relaxed) {
        EVER.store(true, SeqCst);
    }
    let claimed = claim(me);
    if FORKING.load(SeqCst) != 0 {
        // Out again, so that the fork does not wait for one that waits for it.
        if let Some(place) = claimed {
            set(place, 0);
        }
        wait_until(|| FORKING.load(SeqCst) == 0);
        return Place(claim(me));
    }
    Place(claimed)
}

fn claim(me: usize) -> Option<usize> {
    INSIDE
        .iter()
        .position(|place| place.compare_exchange(0, me, SeqCst, Relaxed).is_ok())
}

fn set(place: usize, value: usize) {
    if let Some(place) = INSIDE.get(place) {
        place.store(value, SeqCst);
    }
}

/// The step ends.
pub fn leave(place: Place) {
    if let Place(Some(place)) = place {
        set(place, 0);
    }
}

/// This thread is about to fork: waits for the others' steps, and holds new
/// ones back until [`forked`]. Its own step does not count: libpq may have
/// called back. False if it gave up.
pub fn before_fork() -> bool {
    let me = this_thread();
    FORKING.fetch_add(1, SeqCst);
    let busy = |place: &AtomicUsize| {
        let thread = place.load(SeqCst);
        thread != 0 && thread & IN_VAIN == 0 && thread != me
    };
    if !INSIDE.iter().any(busy) {
        return true;
    }
    WAITED.fetch_add(1, Relaxed);
    if wait_until(|| !INSIDE.iter().any(busy)) {
        return true;
    }
    GAVE_UP.fetch_add(1, Relaxed);
    for place in INSIDE.iter().filter(|place| busy(place)) {
        let thread = place.load(SeqCst);
        let _ = place.compare_exchange(thread, thread | IN_VAIN, SeqCst, Relaxed);
    }
    false
}

/// The fork is done, in the parent.
pub fn forked() {
    let _ = FORKING.fetch_update(SeqCst, Relaxed, |forking| forking.checked_sub(1));
}

/// In the child: nobody forks, nobody is inside but this thread.
pub fn reset() {
    let me = this_thread();
    for place in &INSIDE {
        let thread = place.load(Relaxed);
        if thread != 0 && thread != me {
            place.store(0, Relaxed);
        }
    }
    if FORKING.load(Relaxed) != 0 {
        FORKING.store(0, Relaxed);
    }
}

fn wait_until(done: impl Fn() -> bool) -> bool {
    let end = sys::now_ms() + BOUND_MS.load(Relaxed) as u64;
    // Most steps are over in microseconds; a TLS handshake's take milliseconds.
    let mut yields = 20;
    while !done() {
        if sys::now_ms() >= end {
            return false;
        }
        if yields > 0 {
            yields -= 1;
            sys::yield_now();
        } else {
            sys::pause(50_000);
        }
    }
    true
}
