//! No fork while another thread is inside a library's lock on libpq's way.
//!
//! A child that connects, or only frees a TLS session, waits for ever if at
//! the fork another thread was inside a lock of OpenSSL, libkrb5 or the
//! resolver on libpq's behalf (seen: `gss_indicate_mechs`, `SSL_free`). libpq
//! takes those in few calls, each of them a step: those that begin, drive or
//! end a connection. A fork waits until no other thread is inside one and lets
//! none begin, within a bound.
//!
//! libpq's own blocking calls reach `PQconnectStart` and `PQconnectPoll`
//! through its table of imports (`readelf -r` of libpq 15, 17 and 18), so those
//! are seen as well. What comes after such an inner step is the wait for the
//! server's answer: so the end of an inner step ends the outer one, and a thread
//! that waits in `PQreset` for a socket is outside.
//!
//! A thread that is stuck in a step, say in a name look-up, costs one fork the
//! bound and not every later one. One that left a step by `siglongjmp` or
//! `pthread_cancel` is such a thread.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};

use super::exclusion::{Exclusion, Place, Waited};
use super::sink::{self, Level};
use super::{child, generation, stats};

#[link_section = ".data.forkguard"]
static STEPS: Exclusion<8> = Exclusion::none();
/// Whether a step has ever begun: before, a fork does not look. The one that is
/// under way while the first step of all begins is not waited for.
#[link_section = ".data.forkguard"]
static EVER: AtomicBool = AtomicBool::new(false);

/// The longest a fork waits, in milliseconds. 0: nothing here looks at anything.
static BOUND_MS: AtomicU32 = AtomicU32::new(0);

/// The library says it once in a process.
static SAID: AtomicBool = AtomicBool::new(false);

/// Begins, with this bound; 0 for never. By the constructor, unless the policy
/// is off.
pub fn start(milliseconds: u16) {
    BOUND_MS.store(u32::from(milliseconds), Relaxed);
}

/// A step that has begun on this thread.
pub struct Step(Place<'static>);

/// A step begins on this thread. One inside another is part of it. A step waits
/// for every fork that is waiting or under way: steps are long, and a fork would
/// never find a gap. `errno` is kept.
///
/// No guard that leaves when dropped: the real call may unwind
/// (`pthread_cancel`), and must not meet a landing pad of ours.
#[inline]
pub fn enter() -> Step {
    let bound = BOUND_MS.load(Relaxed);
    if bound == 0 {
        return Step(Place::NONE);
    }
    if !generation::is_settled() {
        child::without_handler();
    }
    if !EVER.load(Relaxed) {
        EVER.store(true, SeqCst);
    }
    // As long as a fork may wait for others, and as long again for its copy.
    Step(STEPS.enter(2 * u64::from(bound)))
}

/// The step ends, and the one it is in.
#[inline]
pub fn leave(step: Step) {
    STEPS.leave_all(step.0);
}

/// Whether this thread is inside one: what it connects to is a server of libpq's.
pub fn is_inside() -> bool {
    STEPS.is_inside(super::sys::this_thread()).is_some()
}

/// Whether a fork has anything to look at.
#[inline]
pub fn any() -> bool {
    EVER.load(Relaxed)
}

/// This thread is about to fork: waits for the others' steps. Its own does not
/// count: libpq may have called back. [`forked`] follows. `errno` is kept.
pub fn before_fork() -> Waited {
    if !generation::is_settled() {
        child::without_handler();
    }
    STEPS.before_fork(u64::from(BOUND_MS.load(Relaxed)))
}

/// This thread has forked, and goes on here. `errno` is kept.
pub fn forked(waited: Waited) {
    STEPS.forked();
    stats::FORK_WAITS.add(&waited);
    if waited.in_vain && sink::wants(Level::Warn) && !SAID.swap(true, Relaxed) {
        sink::say(Level::Warn, |line| {
            line.push(b"a fork waited ")
                .push_number((waited.microseconds / 1000) as i64)
                .push(b" ms for another thread that is inside a connection attempt, and went on: ")
                .push(
                    b"its child may hang in a lock of that thread's when it connects (said once)",
                );
        });
    } else if waited.microseconds > 0 {
        sink::say(Level::Debug, |line| {
            line.push(b"a fork waited ")
                .push_number(waited.microseconds as i64)
                .push(b" microseconds for connection attempts of other threads");
        });
    }
}

/// In a child.
pub fn reset() {
    STEPS.reset();
    if SAID.load(Relaxed) {
        SAID.store(false, Relaxed);
    }
}
