//! A barrier between forks and sections that a fork must not cut in two.
//!
//! A thread is either *inside* such a section or *forking*. A fork waits until no other
//! thread is inside; a thread that wants to enter waits until the copies under way are
//! done. As in Dekker's algorithm each announces itself, then looks at the other, and where
//! both see each other the fork steps back. A thread that is inside waits for no fork that
//! began later. So neither a storm of forks nor one of entries keeps the other side from
//! its turn.
//!
//! All waits are bounded, and past the bound both go on: to miss a race is rarer and better
//! than to hang the host. A thread that never called `leave` (`siglongjmp`,
//! `pthread_cancel`) delays one fork by the bound; a fork that never called `after_fork`
//! delays one entry.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering::*};

use super::sys;

// Flags beside a thread in a place: `pthread_self` is the address of an aligned
// structure (glibc's `struct pthread`), its lowest bits are free.
/// Was waited for in vain, and is not waited for again.
const IN_VAIN: usize = 1;
/// The fork does not wait any more: the copy is under way.
const COPYING: usize = 2;
const FLAGS: usize = IN_VAIN | COPYING;

/// Places in a cache line. As many threads may fork at once; others fork
/// without waiting.
const PLACES: usize = 8;

/// A thread, with flags, in each place; 0 where it is free.
#[repr(align(64))]
struct Line([AtomicUsize; PLACES]);

impl Line {
    const fn empty() -> Self {
        Line([const { AtomicUsize::new(0) }; PLACES])
    }

    /// Takes a free place for `me`.
    fn claim(&self, me: usize) -> Option<&AtomicUsize> {
        let free = |place: &&AtomicUsize| place.compare_exchange(0, me, SeqCst, Relaxed).is_ok();
        self.0.iter().find(free)
    }
}

/// Up to `8 * LINES` threads inside; what finds no place is not waited for.
pub struct ForkBarrier<const LINES: usize> {
    inside: [Line; LINES],
    forking: Line,
    /// Forks done from each place: tells the next one of a storm from the one
    /// that is waited for.
    turns: [AtomicU32; PLACES],
}

/// A place taken, if there was one.
pub struct Entered<'a> {
    taken: Option<&'a AtomicUsize>,
    /// This thread was inside already.
    is_inner: bool,
}

impl Entered<'_> {
    /// None taken.
    pub const NONE: Entered<'static> = Entered {
        taken: None,
        is_inner: false,
    };
}

/// What a fork has waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waited {
    /// In microseconds; 0 where nobody was inside.
    pub microseconds: u64,
    /// Somebody still was when the time was up.
    pub in_vain: bool,
}

impl Waited {
    const NOT: Waited = Waited {
        microseconds: 0,
        in_vain: false,
    };
}

impl<const LINES: usize> ForkBarrier<LINES> {
    /// Nobody.
    pub const fn none() -> Self {
        ForkBarrier {
            inside: [const { Line::empty() }; LINES],
            forking: Line::empty(),
            turns: [const { AtomicU32::new(0) }; PLACES],
        }
    }

    /// This thread goes inside, after every fork that waits or copies: a fork
    /// would never find a gap otherwise. Within itself it counts once.
    #[inline]
    pub fn enter(&self, bound_ms: u64) -> Entered<'_> {
        let me = sys::this_thread();
        if let Some(taken) = self.is_inside(me) {
            return Entered {
                taken: Some(taken),
                is_inner: true,
            };
        }
        let place = self.claim(me);
        if self.is_any_forking(me) {
            self.leave(place);
            return self.behind_forks(me, &Bound::of(bound_ms));
        }
        place
    }

    #[cold]
    fn behind_forks(&self, me: usize, bound: &Bound) -> Entered<'_> {
        let turns = self.turns.each_ref().map(|turn| turn.load(SeqCst));
        let forks = || self.forking.0.iter().zip(&self.turns).zip(turns);
        let is_under_way = |thread: usize, turn: &AtomicU32, turn_then: u32| {
            is_of_other(thread, me) && turn.load(SeqCst) == turn_then
        };
        let over =
            || !forks().any(|((place, turn), then)| is_under_way(place.load(SeqCst), turn, then));
        if bound.wait_until(over).is_err() {
            // Left without an end, or so slow that waiting is no use: none of
            // these is waited for again.
            for ((place, turn), then) in forks() {
                let thread = place.load(SeqCst);
                if is_under_way(thread, turn, then) {
                    let _ = place.compare_exchange(thread, 0, SeqCst, Relaxed);
                }
            }
        }
        let place = self.claim(me);
        self.after_copies(me, bound);
        place
    }

    #[cold]
    fn after_copies(&self, me: usize, bound: &Bound) {
        let is_copy = |thread: usize| thread & COPYING != 0 && is_of_other(thread, me);
        let forks = || self.forking.0.iter();
        let over = || !forks().any(|place| is_copy(place.load(SeqCst)));
        if bound.wait_until(over).is_err() {
            for place in forks() {
                let thread = place.load(SeqCst);
                if is_copy(thread) {
                    let _ = place.compare_exchange(thread, 0, SeqCst, Relaxed);
                }
            }
        }
    }

    /// Where a thread looks first. Its own line, as far as there are lines for
    /// all, and so one line to look at and nobody else's writes to wait for.
    #[inline]
    fn home(&self, me: usize) -> usize {
        // 2^64 divided by the golden ratio spreads addresses that differ by the
        // size of a stack (Knuth's multiplicative hashing).
        (me.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) % LINES
    }

    /// This thread's place, if it is inside.
    #[inline]
    pub fn is_inside(&self, me: usize) -> Option<&AtomicUsize> {
        let line = self.inside.get(self.home(me))?;
        line.0.iter().find(|place| place.load(Relaxed) == me)
    }

    #[inline]
    fn claim(&self, me: usize) -> Entered<'_> {
        let home = self.home(me);
        let Some(line) = self.inside.get(home) else {
            return Entered::NONE;
        };
        for place in &line.0 {
            // Left without leaving: it is this thread's again.
            if place.load(Relaxed) == me | IN_VAIN {
                place.store(0, SeqCst);
            }
        }
        Entered {
            taken: line.claim(me).or_else(|| self.claim_anywhere(me)),
            is_inner: false,
        }
    }

    #[cold]
    fn claim_anywhere(&self, me: usize) -> Option<&AtomicUsize> {
        self.inside.iter().find_map(|line| line.claim(me))
    }

    #[inline]
    fn is_any_forking(&self, me: usize) -> bool {
        let mut forks = self.forking.0.iter();
        forks.any(|place| is_of_other(place.load(SeqCst), me))
    }

    /// This thread is not inside any more, unless it was before it entered here.
    #[inline]
    pub fn leave(&self, place: Entered<'_>) {
        if !place.is_inner {
            self.leave_all(place);
        }
    }

    /// This thread is not inside any more.
    #[inline]
    pub fn leave_all(&self, place: Entered<'_>) {
        let Some(place) = place.taken else {
            return;
        };
        // Not if it is another's by now. While it is this thread's, nobody else
        // does more than set a flag.
        if place.load(Relaxed) & !FLAGS == sys::this_thread() {
            place.store(0, Release);
        }
    }

    fn others_inside(&self, me: usize) -> bool {
        let mut places = self.inside.iter().flat_map(|line| &line.0);
        places.any(|place| is_waited_for(place.load(SeqCst), me))
    }

    /// This thread is about to fork: waits until no other is inside.
    /// [`after_fork`](Self::after_fork) follows.
    pub fn before_fork(&self, bound_ms: u64) -> Waited {
        let me = sys::this_thread();
        let Some(mine) = self.announce(me) else {
            return Waited::NOT;
        };
        // Where the announcement is gone, an entry has waited for this fork past
        // its bound, and nobody waits for it any more: it goes on.
        let change = |from: usize, to: usize| mine.compare_exchange(from, to, SeqCst, Relaxed);
        let copying = || {
            change(me, me | COPYING).is_err()
                || !self.others_inside(me)
                || change(me | COPYING, me).is_err()
        };
        if copying() {
            return Waited::NOT;
        }
        match Bound::of(bound_ms).wait_until(copying) {
            Ok(microseconds) => Waited {
                microseconds,
                in_vain: false,
            },
            Err(microseconds) => {
                for place in self.inside.iter().flat_map(|line| &line.0) {
                    let thread = place.load(SeqCst);
                    if is_waited_for(thread, me) {
                        let _ = place.compare_exchange(thread, thread | IN_VAIN, SeqCst, Relaxed);
                    }
                }
                let _ = change(me, me | COPYING);
                Waited {
                    microseconds,
                    in_vain: true,
                }
            }
        }
    }

    fn announce(&self, me: usize) -> Option<&AtomicUsize> {
        // This thread's already: a fork that was left, or the one whose handler
        // forks.
        let mut places = self.forking.0.iter();
        if let Some(mine) = places.find(|place| place.load(Relaxed) & !FLAGS == me) {
            mine.store(me, SeqCst);
            return Some(mine);
        }
        self.forking.claim(me)
    }

    /// This thread has forked. Nothing is written where it had not announced
    /// itself: in a parent each first write to a page after a fork costs a copy.
    pub fn after_fork(&self) {
        let me = sys::this_thread();
        for (place, turn) in self.forking.0.iter().zip(&self.turns) {
            if place.load(Relaxed) & !FLAGS == me {
                turn.fetch_add(1, SeqCst);
                place.store(0, SeqCst);
            }
        }
    }

    /// In a child only this thread is left, and it has forked.
    pub fn reset(&self) {
        let me = sys::this_thread();
        for place in &self.forking.0 {
            if place.load(Relaxed) != 0 {
                place.store(0, Relaxed);
            }
        }
        for place in self.inside.iter().flat_map(|line| &line.0) {
            if is_of_other(place.load(Relaxed), me) {
                place.store(0, Relaxed);
            }
        }
    }
}

#[inline]
fn is_of_other(thread: usize, me: usize) -> bool {
    thread & !FLAGS != me && thread != 0
}

fn is_waited_for(thread: usize, me: usize) -> bool {
    thread & IN_VAIN == 0 && is_of_other(thread, me)
}

/// How long waiting may take, from the moment this is made.
struct Bound {
    start_us: u64,
    microseconds: u64,
}

impl Bound {
    fn of(milliseconds: u64) -> Self {
        Bound {
            start_us: sys::now_us(),
            microseconds: milliseconds * 1000,
        }
    }

    /// Waits until `done`. The microseconds since the start; an error if they
    /// are up. `errno` is kept.
    fn wait_until(&self, done: impl Fn() -> bool) -> Result<u64, u64> {
        // Most waits are over in microseconds; a step of a TLS handshake, or the
        // copy of a large process, takes milliseconds.
        let mut yields = 20;
        loop {
            let is_done = done();
            let spent = sys::now_us().saturating_sub(self.start_us);
            if is_done {
                return Ok(spent);
            }
            if spent >= self.microseconds {
                return Err(spent);
            }
            if yields > 0 {
                yields -= 1;
                sys::yield_now();
            } else {
                sys::pause(50_000);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicU64};
    use std::thread;
    use std::time::{Duration, Instant};
    use std::vec::Vec;

    /// Longer than anything here takes, unless it waits in vain.
    const LONG: u64 = 10_000;

    /// Two threads "fork", more go inside, twelve of them with eight places in
    /// a line: nobody is inside during a copy, and neither side is kept from
    /// its turns.
    #[test]
    fn nobody_is_inside_during_a_copy_and_nobody_starves() {
        for (is_long, threads) in [(false, 4), (true, 4), (true, 12)] {
            let barrier: ForkBarrier<2> = ForkBarrier::none();
            let (inside, copying) = (AtomicU64::new(0), AtomicU64::new(0));
            let (forks, entries) = (AtomicU64::new(0), AtomicU64::new(0));
            let running = AtomicBool::new(true);
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        while running.load(Relaxed) {
                            let waited = barrier.before_fork(LONG);
                            copying.fetch_add(1, SeqCst);
                            assert!(!waited.in_vain, "waited in vain");
                            assert_eq!(inside.load(SeqCst), 0, "inside during a copy");
                            thread::yield_now();
                            assert_eq!(inside.load(SeqCst), 0, "inside during a copy");
                            copying.fetch_sub(1, SeqCst);
                            barrier.after_fork();
                            forks.fetch_add(1, Relaxed);
                        }
                    });
                }
                for _ in 0..threads {
                    scope.spawn(|| {
                        while running.load(Relaxed) {
                            let place = barrier.enter(LONG);
                            inside.fetch_add(1, SeqCst);
                            assert_eq!(copying.load(SeqCst), 0, "a copy while inside");
                            if is_long {
                                thread::yield_now();
                            }
                            inside.fetch_sub(1, SeqCst);
                            barrier.leave(place);
                            entries.fetch_add(1, Relaxed);
                        }
                    });
                }
                thread::sleep(Duration::from_millis(300));
                running.store(false, Relaxed);
            });
            let (forks, entries) = (forks.into_inner(), entries.into_inner());
            assert!(
                forks > 10 && entries > 10,
                "{forks} forks, {entries} entries"
            );
        }
    }

    /// Runs `body` on a thread that is gone afterwards.
    fn elsewhere(body: impl FnOnce() + Send) {
        thread::scope(|scope| scope.spawn(body).join().unwrap());
    }

    /// Goes inside and does not leave.
    fn stay(barrier: &ForkBarrier<2>) {
        barrier.enter(10);
    }

    fn is_quick(body: impl FnOnce()) -> bool {
        let start = Instant::now();
        body();
        start.elapsed() < Duration::from_millis(LONG / 2)
    }

    #[test]
    fn a_thread_that_went_away_costs_one_fork_the_bound() {
        let barrier: ForkBarrier<2> = ForkBarrier::none();
        elsewhere(|| stay(&barrier));
        let waited = barrier.before_fork(20);
        assert!(waited.in_vain && waited.microseconds >= 20_000);
        barrier.after_fork();
        assert_eq!(barrier.before_fork(LONG), Waited::NOT, "and not again");
        barrier.after_fork();
    }

    #[test]
    fn a_thread_that_left_by_a_jump_is_waited_for_again() {
        let barrier: ForkBarrier<2> = ForkBarrier::none();
        stay(&barrier);
        elsewhere(|| {
            assert!(barrier.before_fork(10).in_vain);
            barrier.after_fork();
        });
        let place = barrier.enter(10);
        elsewhere(|| {
            assert!(barrier.before_fork(10).in_vain, "it is inside");
            barrier.after_fork();
        });
        barrier.leave(place);
        elsewhere(|| assert_eq!(barrier.before_fork(LONG), Waited::NOT));
    }

    #[test]
    fn a_fork_that_never_ends_costs_one_entry_the_bound() {
        let barrier: ForkBarrier<2> = ForkBarrier::none();
        elsewhere(|| assert_eq!(barrier.before_fork(10), Waited::NOT));
        let enter = |bound| barrier.leave(barrier.enter(bound));
        enter(20);
        assert!(is_quick(|| enter(LONG)), "and not again");
        // The same for one that was left while it waited.
        let place = barrier.enter(10);
        elsewhere(|| {
            barrier.announce(sys::this_thread());
        });
        barrier.leave(place);
        enter(20);
        assert!(is_quick(|| enter(LONG)), "and not again");
    }

    #[test]
    fn an_entry_lets_a_waiting_fork_go_first() {
        let barrier: ForkBarrier<2> = ForkBarrier::none();
        let place = barrier.enter(LONG);
        let (forked, entered) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                assert!(barrier.before_fork(LONG).microseconds > 0);
                forked.store(true, SeqCst);
                barrier.after_fork();
            });
            while barrier
                .forking
                .0
                .iter()
                .all(|place| place.load(SeqCst) == 0)
            {
                thread::yield_now();
            }
            scope.spawn(|| {
                let place = barrier.enter(LONG);
                assert!(forked.load(SeqCst), "went first");
                entered.store(true, SeqCst);
                barrier.leave(place);
            });
            thread::sleep(Duration::from_millis(20));
            assert!(!forked.load(SeqCst) && !entered.load(SeqCst));
            barrier.leave(place);
        });
        assert!(entered.into_inner());
    }

    #[test]
    fn a_thread_does_not_wait_for_itself() {
        let barrier: ForkBarrier<2> = ForkBarrier::none();
        let outer = barrier.enter(LONG);
        assert_eq!(barrier.before_fork(LONG), Waited::NOT);
        // In a handler of its own fork.
        assert!(is_quick(|| barrier.leave(barrier.enter(LONG))));
        barrier.after_fork();
        barrier.leave(outer);
    }

    #[test]
    fn within_itself_it_counts_once() {
        let barrier: ForkBarrier<2> = ForkBarrier::none();
        let is_inside = || barrier.is_inside(sys::this_thread()).is_some();
        let (outer, inner) = (barrier.enter(1), barrier.enter(1));
        barrier.leave(inner);
        assert!(is_inside(), "until the outermost leaves");
        barrier.leave(outer);
        assert!(!is_inside());
        let (outer, inner) = (barrier.enter(1), barrier.enter(1));
        barrier.leave_all(inner);
        assert!(!is_inside(), "or one leaves for all");
        barrier.leave_all(outer);
        assert!(!is_inside());
    }

    #[test]
    fn a_child_starts_from_its_own_thread() {
        let barrier: ForkBarrier<2> = ForkBarrier::none();
        // One in the other: a thread may have the address of one that is gone.
        elsewhere(|| {
            stay(&barrier);
            elsewhere(|| assert!(barrier.before_fork(1).in_vain));
        });
        let mine = barrier.enter(1);
        barrier.reset();
        assert!(barrier.is_inside(sys::this_thread()).is_some());
        barrier.leave(mine);
        let places = barrier.inside.iter().chain([&barrier.forking]);
        assert!(places
            .flat_map(|line| &line.0)
            .all(|place| place.load(SeqCst) == 0));
    }

    /// `cargo test --release --lib what_an_entry_costs -- --ignored --nocapture`
    #[test]
    #[ignore = "a measurement"]
    fn what_an_entry_costs() {
        static BARRIER: ForkBarrier<8> = ForkBarrier::none();
        const ROUNDS: u32 = 10_000_000;
        let mut costs: Vec<f64> = (0..9)
            .map(|_| {
                let start = Instant::now();
                for _ in 0..ROUNDS {
                    BARRIER.leave(core::hint::black_box(BARRIER.enter(100)));
                }
                start.elapsed().as_nanos() as f64 / f64::from(ROUNDS)
            })
            .collect();
        costs.sort_by(f64::total_cmp);
        std::println!("enter and leave: {:.1} ns", costs[4]);
    }
}
