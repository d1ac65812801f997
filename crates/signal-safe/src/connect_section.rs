//! No fork happens while another thread is inside a lock of a library that libpq uses.
//!
//! Suppose that at the fork another thread is inside a lock of OpenSSL, libkrb5 or the
//! resolver on libpq's behalf. A child that connects, or only frees a TLS session, then
//! waits for ever (seen: `gss_indicate_mechs`, `SSL_free`). libpq takes such locks in few
//! calls: those that begin, drive or end a connection. Each of them is a connect section.
//! A fork waits, within a bound, until no other thread is inside one, and lets none begin.
//!
//! libpq's own blocking calls reach `PQconnectStart` and `PQconnectPoll` through its table
//! of imports (`readelf -r` of libpq 15, 17 and 18), so those are seen as well. After such
//! an inner section libpq waits for the server's answer. So the end of an inner section
//! ends the outer one, and a thread that waits in `PQreset` for a socket is outside.
//!
//! A thread that is stuck in a section, say in a name look-up, costs one fork the bound and
//! not every later one. So does a thread that left a section by `siglongjmp` or
//! `pthread_cancel`.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::*};

use super::fork_barrier::{Entered, ForkBarrier, Waited};
use super::sink::{self, Level};
use super::{stats, sys};

#[link_section = ".data.forkguard"]
static BARRIER: ForkBarrier<8> = ForkBarrier::none();
/// Whether a section has ever begun. Before that a fork does not look. A section that is
/// under way while the first of all begins is not waited for.
#[link_section = ".data.forkguard"]
static WAS_ENTERED: AtomicBool = AtomicBool::new(false);

/// The longest a fork waits, in milliseconds. 0: nothing here looks at anything.
static BOUND_MS: AtomicU32 = AtomicU32::new(0);

/// The warning is logged once in a process.
static WARNED: AtomicBool = AtomicBool::new(false);

/// Begins, with this bound; 0 for never. By the constructor, unless the policy
/// is off.
pub fn start(milliseconds: u16) {
    BOUND_MS.store(u32::from(milliseconds), Relaxed);
}

/// A section that has begun on this thread.
pub struct Section(Entered<'static>);

/// Begins a section on this thread. A section inside another is part of it. It waits for
/// every fork that is waiting or under way: sections are long, and a fork would never find
/// a gap. `errno` is kept. The caller has noticed a fork before.
///
/// This is no guard that leaves when dropped: the real call may unwind
/// (`pthread_cancel`), and must not meet a landing pad of ours.
#[inline]
pub fn enter() -> Section {
    let bound = BOUND_MS.load(Relaxed);
    if bound == 0 {
        return Section(Entered::NONE);
    }
    if !WAS_ENTERED.load(Relaxed) {
        WAS_ENTERED.store(true, SeqCst);
    }
    // As long as a fork may wait for others, and as long again for its copy.
    Section(BARRIER.enter(2 * u64::from(bound)))
}

/// Ends the section, and the one it is in.
#[inline]
pub fn leave(section: Section) {
    BARRIER.leave_all(section.0);
}

/// Whether this thread is inside one: what it connects to is a server of libpq's.
pub fn is_inside() -> bool {
    BARRIER.is_inside(sys::this_thread()).is_some()
}

/// Whether a fork has anything to look at.
#[inline]
pub fn was_entered() -> bool {
    WAS_ENTERED.load(Relaxed)
}

/// This thread is about to fork: waits for the other threads' sections. Its own does not
/// count, for libpq may have called back. [`after_fork`] follows. `errno` is kept. The
/// caller has noticed a fork before.
pub fn before_fork() -> Waited {
    BARRIER.before_fork(u64::from(BOUND_MS.load(Relaxed)))
}

/// This thread has forked, and goes on here. `errno` is kept.
pub fn after_fork(waited: Waited) {
    BARRIER.after_fork();
    stats::FORK_WAITS.add(&waited);
    if waited.in_vain && sink::wants(Level::Warn) && !WARNED.swap(true, Relaxed) {
        sink::say(Level::Warn, |line| {
            line.push(b"a fork waited ")
                .push_number((waited.microseconds / 1000) as i64)
                .push(b" ms for another thread that is inside a connection attempt, and went on: ")
                .push(b"its child may hang on a lock of that thread when it connects (said once)");
        });
    } else if waited.microseconds > 0 {
        sink::say(Level::Debug, |line| {
            line.push(b"a fork waited ")
                .push_number(waited.microseconds as i64)
                .push(b" microseconds for connection attempts of other threads");
        });
    }
}

/// Resets all in a child.
pub fn reset() {
    BARRIER.reset();
    if WARNED.load(Relaxed) {
        WARNED.store(false, Relaxed);
    }
}
