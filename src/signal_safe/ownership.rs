//! Whose a libpq object is: this process's, or one that it inherited.
//!
//! A `PGconn` or `PGcancel` belongs to the process that made it, whatever has
//! become of its descriptor since: it holds the parent's cancel key. So the gate
//! notes the generation each was made in, and a child draws a line here.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::*};

use super::descriptors;

/// What was made in this generation or an earlier one is inherited.
#[link_section = ".data.forkguard"]
static INHERITED_UP_TO: AtomicU32 = AtomicU32::new(0);
/// The same line where inherited objects are left alone, and their use told. The
/// one above is not drawn then: to the gate nothing is inherited.
static TOLD_UP_TO: AtomicU32 = AtomicU32::new(0);
/// Whether there was anything to inherit.
#[link_section = ".data.forkguard"]
static ANY_INHERITED: AtomicBool = AtomicBool::new(false);
/// Objects of libpq that the gate knows.
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

/// Whether the gate knows any.
pub fn any_known() -> bool {
    KNOWN.load(Relaxed) != 0
}

/// In a child that is nobody's heir: what exists is inherited. `generation` is
/// the parent's; drawing the line twice draws it once.
pub fn inherit(generation: u32) {
    INHERITED_UP_TO.fetch_max(generation, Relaxed);
    // A session without an object came past the gate: so may its cancel key.
    if KNOWN.load(Relaxed) != 0 || descriptors::any() {
        ANY_INHERITED.store(true, Release);
    }
}

/// As [`inherit`], where what is inherited is left alone.
pub fn leave_alone(generation: u32) {
    TOLD_UP_TO.fetch_max(generation, Relaxed);
}

/// Whether an object made in `generation` is inherited and left alone.
pub fn is_left_alone(generation: u32) -> bool {
    generation <= TOLD_UP_TO.load(Relaxed)
}

/// Whether this process has inherited any object: the hot path of the gate.
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
