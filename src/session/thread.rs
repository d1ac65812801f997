//! The call to libpq, or the reconnect, that this thread is in.

use core::cell::Cell;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::libpq::types::PGconn;

/// This process, or one before it, has reconnected a session.
static EVER: AtomicBool = AtomicBool::new(false);

std::thread_local! {
    // Const and without destructors: plain thread-local memory, usable in a
    // signal handler and at any moment of a thread's life.
    /// The connection that this thread is reconnecting.
    static RECONNECTION: Cell<Reconnection> = const { Cell::new(Reconnection::NOT) };
    /// The call of libpq's under way, where the detector is on.
    static CALL: Cell<Call> = const { Cell::new(NO_CALL) };
    /// The connection that was made last, by a call inside the one under way.
    static MADE: Cell<PGconn> = const { Cell::new(PGconn::NULL) };
}

/// Notes a connection that was made, or none.
pub(crate) fn set_made(pgconn: PGconn) {
    let _ = MADE.try_with(|made| made.set(pgconn));
}

/// Whether a call inside the one under way made it.
pub(crate) fn has_made(pgconn: PGconn) -> bool {
    MADE.try_with(Cell::get) == Ok(pgconn)
}

/// A reconnect under way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reconnection {
    /// Which libpq reconnects.
    pub library: usize,
    /// The number that the new socket is to have; -1 while nothing is reconnected.
    pub fd: i32,
    /// libpq has closed the number, and we have kept it: the next socket it
    /// makes goes there.
    pub kept: bool,
    /// Where on the stack the reconnect began: a call that stands higher is none of
    /// the reconnect's, which was left by an exception.
    pub frame: usize,
    /// When the reconnect's time is up, by `sys::now_us`, and that it was.
    pub ends_us: u64,
    /// A wait of libpq's was cut off then.
    pub out_of_time: bool,
}

impl Reconnection {
    /// No reconnect.
    pub(crate) const NOT: Reconnection = Reconnection {
        library: 0,
        fd: -1,
        kept: false,
        frame: 0,
        ends_us: 0,
        out_of_time: false,
    };

    /// The reconnect is done and its replay is not: no descriptor is to be kept or moved.
    pub(crate) fn replaying(self) -> Reconnection {
        Reconnection {
            library: usize::MAX,
            kept: false,
            ends_us: 0,
            ..self
        }
    }

    /// A reconnect that begins here.
    #[inline(never)]
    pub(crate) fn begin(library: usize, fd: i32, ends_us: u64) -> Reconnection {
        Reconnection {
            library,
            fd,
            frame: frame(),
            ends_us,
            ..Reconnection::NOT
        }
    }
}

/// A call of libpq's that the program made, for the detector.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    /// Its number among the entry points.
    pub function: usize,
    /// Where on the stack its trampoline stands; 0: there is none.
    pub frame: usize,
    /// The use of an inherited session in it has been told.
    pub told: bool,
}

const NO_CALL: Call = Call {
    function: 0,
    frame: 0,
    told: false,
};

/// The call under way on this thread. One that was left by a jump may be taken for
/// one under way, by a call that stands below it: a wrong name in a report.
pub(crate) fn call() -> Option<Call> {
    const DEEPEST: usize = 256 * 1024; // what TLS and Kerberos take below libpq
    let call = CALL.try_with(Cell::get).unwrap_or(NO_CALL);
    let frame = frame();
    (frame < call.frame && call.frame - frame < DEEPEST).then_some(call)
}

/// A call begins. False inside another one: libpq calls itself through the same doors.
pub(crate) fn begin_call(function: usize, frame: usize) -> bool {
    if call().is_some_and(|call| frame < call.frame) {
        return false;
    }
    let _ = CALL.try_with(|call| {
        call.set(Call {
            function,
            frame,
            told: false,
        });
    });
    true
}

/// It has ended.
pub(crate) fn end_call() {
    let _ = CALL.try_with(|call| call.set(NO_CALL));
}

/// The use in the call under way has been told.
pub(crate) fn call_is_told() {
    if let Some(mut now) = call() {
        now.told = true;
        let _ = CALL.try_with(|call| call.set(now));
    }
}

/// Bytes of stack below the beginning of a reconnect that are still its own.
const DEEPEST: usize = 64 * 1024;

/// The reconnect under way on this thread.
pub(crate) fn reconnection() -> Reconnection {
    let reconnection = RECONNECTION
        .try_with(Cell::get)
        .unwrap_or(Reconnection::NOT);
    // Between 4 KB above, for the callee that noted it, and what libpq's frames
    // and an event procedure's take: a reconnect that was left by a jump is none.
    let frame = frame();
    if frame < reconnection.frame + 4096 && reconnection.frame < frame + DEEPEST {
        reconnection
    } else {
        Reconnection::NOT
    }
}

/// Its time is up.
pub(crate) fn set_out_of_time() {
    set_reconnection(Reconnection {
        out_of_time: true,
        ..reconnection()
    });
}

/// Whether a reconnect may be under way on any thread: one load, for the hot path.
#[inline(always)]
pub(crate) fn may_reconnect() -> bool {
    EVER.load(Relaxed)
}

/// Whether one is under way.
pub(crate) fn is_reconnecting() -> bool {
    reconnection().fd >= 0
}

/// Changes it.
pub(crate) fn set_reconnection(reconnection: Reconnection) {
    if !may_reconnect() {
        EVER.store(true, Relaxed);
    }
    let _ = RECONNECTION.try_with(|its| its.set(reconnection));
}

/// About where this thread's stack is.
#[inline(always)]
pub(crate) fn frame() -> usize {
    let mark = 0u8;
    (&raw const mark) as usize
}
