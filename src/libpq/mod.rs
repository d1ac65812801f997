//! The libpqs of this process.
//!
//! A process can hold several at once: the system's, and those that Python
//! wheels bundle under other names and load `RTLD_LOCAL`. Which one a caller
//! gets is ld.so's business alone: nothing named `PQ…` is exported here. Each
//! libpq that is mapped is found *where it is* ([`crate::bind`]), and its entry points
//! are redirected to trampolines to the shims ([`crate::shims`]), a set of its own
//! for each libpq, so that a trampoline knows whose it is.

pub(crate) mod entry_points;
pub(crate) mod methods;
pub(crate) mod types;

use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering::*};

use entry_points::COUNT;

pub(crate) use entry_points::entry;

/// How many libpqs at once. A ninth is left alone.
pub(crate) const LIBRARIES: usize = 8;

/// One libpq. Written by [`crate::bind`], read by the shims.
pub(crate) struct Library {
    index: usize,
    /// Whether this place is taken.
    pub(crate) in_use: AtomicBool,
    /// Its own functions, by number; see [`Library::real`].
    pub(crate) real: [AtomicPtr<()>; COUNT],
    /// See [`Library::close_function`].
    pub(crate) close: AtomicPtr<()>,
    /// See [`Library::socket_function`].
    pub(crate) socket: AtomicPtr<()>,
    /// See [`Library::send_function`].
    pub(crate) send: AtomicPtr<()>,
    /// See [`Library::recv_function`].
    pub(crate) recv: AtomicPtr<()>,
    /// See [`Library::poll_function`].
    pub(crate) poll: AtomicPtr<()>,
}

impl Library {
    const fn numbered(index: usize) -> Self {
        Library {
            index,
            in_use: AtomicBool::new(false),
            real: [const { AtomicPtr::new(core::ptr::null_mut()) }; COUNT],
            close: AtomicPtr::new(core::ptr::null_mut()),
            socket: AtomicPtr::new(core::ptr::null_mut()),
            send: AtomicPtr::new(core::ptr::null_mut()),
            recv: AtomicPtr::new(core::ptr::null_mut()),
            poll: AtomicPtr::new(core::ptr::null_mut()),
        }
    }

    /// Its number: `library(index)` is this one.
    pub(crate) fn index(&self) -> usize {
        self.index
    }

    /// Its own function of this number (`entry_points::entry`); null if it has none.
    #[inline(always)]
    pub(crate) fn real(&self, entry_point: usize) -> *const () {
        match self.real.get(entry_point) {
            Some(real) => real.load(Relaxed),
            None => core::ptr::null(),
        }
    }

    /// What it called for `close`; null where that is to be found by name.
    pub(crate) fn close_function(&self) -> *const () {
        self.close.load(Relaxed)
    }

    /// What it called for `socket`; null where that is to be found by name.
    pub(crate) fn socket_function(&self) -> *const () {
        self.socket.load(Relaxed)
    }

    /// What it called for `send`; null where that is to be found by name.
    pub(crate) fn send_function(&self) -> *const () {
        self.send.load(Relaxed)
    }

    /// What it called for `recv`; null where that is to be found by name.
    pub(crate) fn recv_function(&self) -> *const () {
        self.recv.load(Relaxed)
    }

    /// What it called for `poll`; null where that is to be found by name.
    pub(crate) fn poll_function(&self) -> *const () {
        self.poll.load(Relaxed)
    }
}

/// Those of this process. Read by every call, and written when a libpq comes: apart from what a
/// fork's handlers write.
pub(crate) static LIBRARY: [Library; LIBRARIES] = [
    Library::numbered(0),
    Library::numbered(1),
    Library::numbered(2),
    Library::numbered(3),
    Library::numbered(4),
    Library::numbered(5),
    Library::numbered(6),
    Library::numbered(7),
];

/// The libpq of this number, below [`LIBRARIES`].
#[inline(always)]
pub(crate) fn library(index: usize) -> &'static Library {
    &LIBRARY[index % LIBRARIES]
}
