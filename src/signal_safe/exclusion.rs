//! Forks and what must not happen during one, each waiting for the other.
//!
//! Threads are either *inside* something that a fork must not cut in two, or
//! *forking*. A fork waits until nobody else is inside; who would go inside
//! waits until the copies under way are done. Dekker's way: each announces
//! itself, then looks at the other, and where both see each other the fork
//! steps back. Who is inside waits for no fork that began later, so neither a
//! storm of forks nor one of connections keeps the other side from its turn.
//!
//! All waits are bounded, and past the bound both go on: a race that is missed
//! is rarer and better than a host that hangs. A thread that went away without
//! leaving (`siglongjmp`, `pthread_cancel`) costs one fork the bound.

use core::sync::atomic::{AtomicUsize, Ordering::*};

use super::sys;

// Flags beside a thread in a place: `pthread_self` is the address of an aligned
// structure (glibc's `struct pthread`), its lowest bits are free.
/// Was waited for in vain, and is not waited for again.
const IN_VAIN: usize = 1;
/// The fork does not wait any more: the copy is under way.
const COPYING: usize = 2;
const FLAGS: usize = IN_VAIN | COPYING;

/// How many threads may fork at once; others fork without waiting.
const FORKS: usize = 8;

/// Up to `N` threads inside; what finds no place is not waited for.
pub struct Exclusion<const N: usize> {
    inside: [AtomicUsize; N],
    forking: [AtomicUsize; FORKS],
}

/// A place taken; none if there was no free one, or the thread had one already.
pub struct Place(Option<usize>);

impl<const N: usize> Exclusion<N> {
    /// Nobody.
    pub const fn none() -> Self {
        Exclusion {
            inside: [const { AtomicUsize::new(0) }; N],
            forking: [const { AtomicUsize::new(0) }; FORKS],
        }
    }

    /// This thread goes inside, after the forks whose copy is under way. Within
    /// itself it counts once.
    pub fn enter(&self, bound_ms: u64) -> Place {
        let me = sys::this_thread();
        if self.inside.iter().any(|place| place.load(Relaxed) == me) {
            return Place(None);
        }
        let place = self.claim_inside(me);
        if !wait_until(bound_ms, || !self.copies_under_way(me)) {
            // A fork may have been left without an end (a prepare handler that
            // throws): it is not waited for again.
            for place in &self.forking {
                let thread = place.load(SeqCst);
                if thread & COPYING != 0 && thread & !FLAGS != me {
                    let _ = place.compare_exchange(thread, 0, SeqCst, Relaxed);
                }
            }
        }
        place
    }

    fn claim_inside(&self, me: usize) -> Place {
        for place in &self.inside {
            // Left without leaving: it is this thread's again.
            if place.load(Relaxed) == me | IN_VAIN {
                place.store(0, SeqCst);
            }
        }
        let free = |place: &AtomicUsize| place.compare_exchange(0, me, SeqCst, Relaxed).is_ok();
        Place(self.inside.iter().position(free))
    }

    fn copies_under_way(&self, me: usize) -> bool {
        self.forking.iter().any(|place| {
            let thread = place.load(SeqCst);
            thread & COPYING != 0 && thread & !FLAGS != me
        })
    }

    /// It is not inside any more.
    pub fn leave(&self, place: Place) {
        let me = sys::this_thread();
        if let Some(place) = place.0.and_then(|place| self.inside.get(place)) {
            for mine in [me, me | IN_VAIN] {
                let _ = place.compare_exchange(mine, 0, SeqCst, Relaxed);
            }
        }
    }

    fn others_inside(&self, me: usize) -> bool {
        self.inside
            .iter()
            .any(|place| is_other(place.load(SeqCst), me))
    }

    /// This thread is about to fork: waits until no other is inside.
    /// [`forked`](Self::forked) follows. False if it gave up.
    pub fn before_fork(&self, bound_ms: u64) -> bool {
        let me = sys::this_thread();
        let mine = self
            .forking
            .iter()
            .position(|place| place.compare_exchange(0, me, SeqCst, Relaxed).is_ok());
        let Some(mine) = mine.and_then(|mine| self.forking.get(mine)) else {
            return true;
        };
        let copying = || {
            mine.store(me | COPYING, SeqCst);
            if !self.others_inside(me) {
                return true;
            }
            mine.store(me, SeqCst);
            false
        };
        if wait_until(bound_ms, copying) {
            return true;
        }
        for place in &self.inside {
            let thread = place.load(SeqCst);
            if is_other(thread, me) {
                let _ = place.compare_exchange(thread, thread | IN_VAIN, SeqCst, Relaxed);
            }
        }
        mine.store(me | COPYING, SeqCst);
        false
    }

    /// This thread has forked. Nothing is written where it had not announced
    /// itself: in a parent each first write to a page after a fork costs a copy.
    pub fn forked(&self) {
        let me = sys::this_thread();
        for place in &self.forking {
            if place.load(Relaxed) & !FLAGS == me {
                place.store(0, SeqCst);
            }
        }
    }

    /// In a child only this thread is left, and it has forked.
    pub fn reset(&self) {
        let me = sys::this_thread();
        for place in &self.forking {
            if place.load(Relaxed) != 0 {
                place.store(0, Relaxed);
            }
        }
        for place in &self.inside {
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
fn wait_until(milliseconds: u64, done: impl Fn() -> bool) -> bool {
    if done() {
        return true;
    }
    let end = sys::now_ms() + milliseconds;
    // Most waits are over in microseconds; the copy of a large process takes milliseconds.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU64};

    /// Two threads "fork", four go inside: nobody is inside during a copy, and
    /// neither side is kept from its turns.
    #[test]
    fn nobody_is_inside_during_a_copy_and_nobody_starves() {
        let exclusion: Exclusion<8> = Exclusion::none();
        let (inside, copying) = (AtomicU64::new(0), AtomicU64::new(0));
        let (forks, entries) = (AtomicU64::new(0), AtomicU64::new(0));
        let running = AtomicBool::new(true);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while running.load(Relaxed) {
                        let waited = exclusion.before_fork(5000);
                        copying.fetch_add(1, SeqCst);
                        assert!(waited && inside.load(SeqCst) == 0, "inside during a copy");
                        std::thread::yield_now();
                        assert_eq!(inside.load(SeqCst), 0, "inside during a copy");
                        copying.fetch_sub(1, SeqCst);
                        exclusion.forked();
                        forks.fetch_add(1, Relaxed);
                    }
                });
            }
            for _ in 0..4 {
                scope.spawn(|| {
                    while running.load(Relaxed) {
                        let place = exclusion.enter(5000);
                        inside.fetch_add(1, SeqCst);
                        assert_eq!(copying.load(SeqCst), 0, "a copy while inside");
                        inside.fetch_sub(1, SeqCst);
                        exclusion.leave(place);
                        entries.fetch_add(1, Relaxed);
                    }
                });
            }
            std::thread::sleep(std::time::Duration::from_millis(300));
            running.store(false, Relaxed);
        });
        let (forks, entries) = (forks.into_inner(), entries.into_inner());
        assert!(
            forks > 10 && entries > 10,
            "{forks} forks, {entries} entries"
        );
    }

    #[test]
    fn a_thread_that_went_away_costs_one_fork_the_bound() {
        let exclusion: Exclusion<2> = Exclusion::none();
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    exclusion.enter(10);
                })
                .join()
                .unwrap();
        });
        assert!(!exclusion.before_fork(20), "waits in vain");
        exclusion.forked();
        let start = std::time::Instant::now();
        assert!(exclusion.before_fork(10_000), "and not again");
        exclusion.forked();
        assert!(start.elapsed().as_secs() < 5);
    }

    #[test]
    fn a_fork_that_never_ends_costs_one_entry_the_bound() {
        let exclusion: Exclusion<2> = Exclusion::none();
        std::thread::scope(|scope| {
            scope
                .spawn(|| assert!(exclusion.before_fork(10)))
                .join()
                .unwrap();
        });
        exclusion.leave(exclusion.enter(20));
        let start = std::time::Instant::now();
        exclusion.leave(exclusion.enter(10_000));
        assert!(start.elapsed().as_secs() < 5, "and not again");
    }
}
