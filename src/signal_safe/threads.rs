//! Which threads are somewhere: places for a few, taken without a lock.

use core::sync::atomic::{AtomicUsize, Ordering::*};

use super::sys;

/// In a place: was waited for in vain, and is not waited for again. A thread
/// may have left by `siglongjmp` or `pthread_cancel` without saying so.
/// `pthread_self` is an address: its lowest bit is free.
const IN_VAIN: usize = 1;

/// Up to `N` threads. What finds no place is not known to be there.
pub struct Threads<const N: usize>([AtomicUsize; N]);

/// A place taken; none, if there was no free one or the thread had one already.
pub struct Place(Option<usize>);

fn this_thread() -> usize {
    // SAFETY: takes nothing, reads a register of this thread.
    unsafe { libc::pthread_self() as usize }
}

impl<const N: usize> Threads<N> {
    /// Nobody.
    pub const fn none() -> Self {
        Threads([const { AtomicUsize::new(0) }; N])
    }

    /// This thread is here from now on. Within itself it counts once.
    pub fn enter(&self) -> Place {
        let me = this_thread();
        for place in &self.0 {
            let thread = place.load(Relaxed);
            if thread == me {
                return Place(None);
            }
            // Left without leaving: it is this thread's again.
            if thread == me | IN_VAIN {
                place.store(0, SeqCst);
            }
        }
        let free = |place: &AtomicUsize| place.compare_exchange(0, me, SeqCst, Relaxed).is_ok();
        Place(self.0.iter().position(free))
    }

    /// It is not here any more.
    pub fn leave(&self, place: Place) {
        if let Some(place) = place.0.and_then(|place| self.0.get(place)) {
            place.store(0, SeqCst);
        }
    }

    /// It is not here any more, wherever it entered. Nothing is written where
    /// it had not: in a parent each first write to a page after a fork costs a copy.
    pub fn leave_all(&self) {
        let me = this_thread();
        for place in &self.0 {
            if place.load(Relaxed) & !IN_VAIN == me {
                place.store(0, SeqCst);
            }
        }
    }

    /// Whether another thread is here that is worth waiting for.
    pub fn has_others(&self) -> bool {
        let me = this_thread();
        self.0.iter().any(|place| is_other(place.load(SeqCst), me))
    }

    /// Waits until no other thread is here, at most so long. Those that are
    /// here then are not waited for again until they enter anew.
    pub fn wait_for_others(&self, milliseconds: u64) -> bool {
        if !self.has_others() || wait_until(milliseconds, || !self.has_others()) {
            return true;
        }
        let me = this_thread();
        for place in &self.0 {
            let thread = place.load(SeqCst);
            if is_other(thread, me) {
                let _ = place.compare_exchange(thread, thread | IN_VAIN, SeqCst, Relaxed);
            }
        }
        false
    }

    /// Only this thread is left: in a child. Written where it must be.
    pub fn reset(&self) {
        let me = this_thread();
        for place in &self.0 {
            let thread = place.load(Relaxed);
            if thread != 0 && thread != me {
                place.store(0, Relaxed);
            }
        }
    }
}

fn is_other(thread: usize, me: usize) -> bool {
    thread != 0 && thread & IN_VAIN == 0 && thread != me
}

/// Waits until `done`, at most so long.
pub fn wait_until(milliseconds: u64, done: impl Fn() -> bool) -> bool {
    let end = sys::now_ms() + milliseconds;
    // Most waits are over in microseconds; a TLS handshake's step takes milliseconds.
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
