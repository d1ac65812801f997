//! Who made a cancel object, looked up from signal handlers.
//!
//! A `PGcancel` holds a backend's process id and secret key. Made before the
//! fork, or in the child from an inherited connection, it would cancel the
//! *parent's* statement, over a connection of its own that no dead socket
//! stops. `PQcancel` may be called from a signal handler, so nothing here
//! locks or allocates.

use core::ffi::c_int;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::*};

use super::descriptors::{self, State};
use super::generation;

struct Place {
    cancel: AtomicUsize,
    /// The generation that made it; 0: made of an inherited connection.
    generation: AtomicU32,
    /// The session's, for one that was handed over.
    identity: AtomicU64,
    /// The `PQcancel` of the libpq that made it: to look that up takes locks.
    real: AtomicUsize,
}

/// Cancel objects alive. Programs have one a connection; what finds no place
/// is [`Owner::Unknown`].
const PLACES: usize = 4096;
static TABLE: [Place; PLACES] = [const {
    Place {
        cancel: AtomicUsize::new(0),
        generation: AtomicU32::new(0),
        identity: AtomicU64::new(0),
        real: AtomicUsize::new(0),
    }
}; PLACES];

/// Whose session a cancel object cancels.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// This process's.
    Ours,
    /// A parent's.
    Parents,
    /// Not recorded.
    Unknown,
}

/// Places are looked for from here on: the address, spread.
fn places(cancel: usize) -> impl Iterator<Item = &'static Place> {
    // Fibonacci hashing; far enough for a table that is nearly full.
    const LOOKED_AT: usize = 64;
    let start = cancel.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    (0..LOOKED_AT).filter_map(move |step| TABLE.get(start.wrapping_add(step) % PLACES))
}

/// Records an object just made of the connection at `fd`; `real` is kept for
/// [`real_of`].
pub fn record(cancel: usize, fd: c_int, real: usize) {
    if cancel == 0 {
        return;
    }
    forget(cancel);
    let generation = if is_inherited(fd) {
        0
    } else {
        generation::current()
    };
    let identity = descriptors::find(fd).map_or(0, |entry| entry.identity());
    for place in places(cancel) {
        // Claimed with a value that no address has, filled, then published.
        const CLAIMED: usize = 1;
        if place
            .cancel
            .compare_exchange(0, CLAIMED, AcqRel, Relaxed)
            .is_ok()
        {
            place.generation.store(generation, Relaxed);
            place.identity.store(identity, Relaxed);
            place.real.store(real, Relaxed);
            place.cancel.store(cancel, Release);
            return;
        }
    }
}

/// Forgets an object about to be freed.
pub fn forget(cancel: usize) {
    for place in places(cancel) {
        let _ = place.cancel.compare_exchange(cancel, 0, AcqRel, Relaxed);
    }
}

/// Whether the connection at `fd` is a parent's.
pub fn is_inherited(fd: c_int) -> bool {
    descriptors::find(fd).is_some_and(|entry| {
        matches!(entry.word().state(), State::Abandoned | State::Refused) && entry.is_still(fd)
    })
}

/// Whether a session is this process's: handed over, or kept through `daemon(3)`.
fn is_own_session(identity: u64) -> bool {
    let mut found = false;
    descriptors::for_each(|_, entry| {
        found |= entry.word().state() == State::Session && entry.identity() == identity;
    });
    found
}

/// What was recorded with it; 0 if nothing was.
pub fn real_of(cancel: usize) -> usize {
    let place = places(cancel).find(|place| place.cancel.load(Acquire) == cancel);
    place.map_or(0, |place| place.real.load(Relaxed))
}

/// Whose it is.
pub fn owner(cancel: usize) -> Owner {
    for place in places(cancel) {
        if place.cancel.load(Acquire) == cancel {
            let generation = place.generation.load(Relaxed);
            let ours = generation == generation::current()
                || generation != 0 && is_own_session(place.identity.load(Relaxed));
            return if ours { Owner::Ours } else { Owner::Parents };
        }
    }
    Owner::Unknown
}
