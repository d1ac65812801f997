//! Which process owns a libpq object: this one, or one that it was forked from.
//!
//! A `PGconn` or `PGcancel` belongs to the process that made it, whatever has become of
//! its descriptor since: it holds the parent's cancel key. So the shims note the
//! generation in which each was made, and a child notes here which generations are its
//! own.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::*};

/// What was made in this generation or an earlier one is inherited.
#[link_section = ".data.forkguard"]
static INHERITED_UP_TO: AtomicU32 = AtomicU32::new(0);
/// The same where inherited objects are left alone, and their use reported. The one
/// above is not set then: to the shims nothing is inherited.
static LEFT_ALONE_UP_TO: AtomicU32 = AtomicU32::new(0);
/// Whether there was anything to inherit.
#[link_section = ".data.forkguard"]
static ANY_INHERITED: AtomicBool = AtomicBool::new(false);
/// Objects of libpq that the shims know.
#[link_section = ".data.forkguard"]
static KNOWN: AtomicUsize = AtomicUsize::new(0);

/// One more object, or one less.
pub fn count(more: bool) {
    if more {
        KNOWN.fetch_add(1, Relaxed);
    } else {
        KNOWN.fetch_sub(1, Relaxed);
    }
}

/// Whether the shims know any.
pub fn any_known() -> bool {
    KNOWN.load(Relaxed) != 0
}

/// In a child that is no new owner: what exists is inherited. `generation` is the
/// parent's; a second call changes nothing. `has_sessions`: the table of descriptors has
/// candidates.
pub fn inherit(generation: u32, has_sessions: bool) {
    INHERITED_UP_TO.fetch_max(generation, Relaxed);
    // A session without an object came past the shims: so may its cancel key.
    if KNOWN.load(Relaxed) != 0 || has_sessions {
        ANY_INHERITED.store(true, Release);
    }
}

/// As [`inherit`], where what is inherited is left alone.
pub fn leave_alone(generation: u32) {
    LEFT_ALONE_UP_TO.fetch_max(generation, Relaxed);
}

/// Whether an object made in `generation` is inherited and left alone.
pub fn is_left_alone(generation: u32) -> bool {
    generation <= LEFT_ALONE_UP_TO.load(Relaxed)
}

/// Whether this process has inherited any object: the hot path of the shims.
#[inline(always)]
pub fn any_inherited() -> bool {
    ANY_INHERITED.load(Relaxed)
}

/// Whether an object made in `generation` is inherited.
#[inline]
pub fn is_inherited(generation: u32) -> bool {
    generation <= INHERITED_UP_TO.load(Relaxed)
}

/// Whether this process was forked off one that was guarded.
#[inline]
pub fn is_child() -> bool {
    INHERITED_UP_TO.load(Relaxed) != 0
}
