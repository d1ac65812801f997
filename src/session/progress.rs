//! Whether a process has gone on with a session since it forked.
//!
//! The server tells a child what its parent's backend holds *now*. That is what it held at the fork only
//! if the parent has sent nothing since. So each command is counted twice before it is sent: in the
//! record of the connection, which a child gets as it was at the fork, and in memory that is shared with
//! children. A child that finds the second ahead of the first knows that its parent has gone on: an order
//! of events, and no clock.

use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering::*};

use forkguard_signal_safe::{generation, sys};

/// As many as the table of connections has places.
const COUNTS: usize = 16384;

/// Shared memory, one for each process that has sessions of its own.
#[repr(C)]
struct Shared {
    /// Whose it is.
    generation: AtomicU32,
    /// How many of the counts are given away; never taken back.
    used: AtomicU32,
    counts: [AtomicU32; COUNTS],
}

static SHARED: AtomicPtr<Shared> = AtomicPtr::new(core::ptr::null_mut());

/// What is counted for one connection. Touched by the thread inside a call on it.
pub(crate) struct Progress {
    sent: AtomicU32,
    shared: AtomicPtr<AtomicU32>,
    /// The generation whose memory that is.
    of: AtomicU32,
}

impl Progress {
    /// Nothing is counted yet.
    pub(crate) const fn none() -> Self {
        Progress {
            sent: AtomicU32::new(0),
            shared: AtomicPtr::new(core::ptr::null_mut()),
            of: AtomicU32::new(0),
        }
    }

    /// This process's from now on: no count of another one's is touched again. Where there is no memory,
    /// nothing is counted, and a child takes the server's word for what it held at the fork.
    pub(crate) fn begin(&self) {
        let generation = generation::current();
        if self.of.load(Relaxed) == generation {
            return; // goes on: a child that was forked before still compares
        }
        let shared = new_count(generation).unwrap_or(core::ptr::null());
        self.sent.store(0, Relaxed);
        self.shared.store(shared.cast_mut(), Relaxed);
        self.of.store(generation, Relaxed);
    }

    /// A command is about to be sent. In this order: a fork between the two leaves them unlike the other
    /// way round, and the child then says "no" as soon as both are stored.
    #[inline]
    pub(crate) fn count(&self) {
        // SAFETY: null, or a count in memory that is never given back.
        if let Some(shared) = unsafe { self.shared.load(Relaxed).as_ref() } {
            let sent = self.sent.load(Relaxed).wrapping_add(1);
            self.sent.store(sent, Relaxed);
            shared.store(sent, Release);
        }
    }

    /// Whether the process that the connection was inherited from has sent anything on it since the fork.
    /// False where nothing tells.
    pub(crate) fn has_gone_on(&self) -> bool {
        // SAFETY: as in `count`; shared with the process that counts there.
        let shared = unsafe { self.shared.load(Relaxed).as_ref() };
        shared.is_some_and(|shared| {
            let ahead = shared.load(Acquire).wrapping_sub(self.sent.load(Relaxed));
            // Behind by one: the fork came between the two stores.
            ahead != 0 && ahead != u32::MAX
        })
    }
}

fn new_count(generation: u32) -> Option<*const AtomicU32> {
    let mut map = SHARED.load(Acquire);
    let is_own = |map: *mut Shared| {
        // SAFETY: null, or memory that is never given back.
        let map = unsafe { map.as_ref() };
        map.is_some_and(|map| map.generation.load(Relaxed) == generation)
    };
    if !is_own(map) {
        let new: *mut Shared =
            sys::map_shared_with_children(core::mem::size_of::<Shared>())?.cast();
        // SAFETY: just mapped, zeroed, of that size; a page is aligned for it.
        unsafe { &*new }.generation.store(generation, Relaxed);
        match SHARED.compare_exchange(map, new, AcqRel, Acquire) {
            Ok(_) => map = new,
            Err(winner) => {
                // SAFETY: whole, and nobody has seen it.
                unsafe { sys::unmap(new.cast(), core::mem::size_of::<Shared>()) };
                map = winner;
            }
        }
    }
    // SAFETY: as above.
    let map = unsafe { map.as_ref() }?;
    let place = map.used.fetch_add(1, Relaxed) as usize;
    map.counts.get(place).map(|count| &raw const *count)
}
