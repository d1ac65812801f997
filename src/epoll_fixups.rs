//! What this process's own epolls hold of an abandoned number.
//!
//! An event loop of a child may enter an inherited connection into its epoll
//! before it first speaks on it. An epoll holds the *description* it was given,
//! here the dead socket: when the number gets a new session the entry would stay
//! behind, awake for ever and out of reach (tried). So it is noted, and moved
//! along. No memory, no lock: a table of few places.

use core::ffi::c_int;
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering::*};

use forkguard_signal_safe::descriptors::{self, State};
use forkguard_signal_safe::sys;

struct Registration {
    /// The number, -1 while the registration is free, -2 while it is being written.
    fd: AtomicI32,
    epoll: AtomicI32,
    events: AtomicU32,
    data: AtomicU64,
}

/// One for each connection that a child watches before it has used it; what
/// finds no registration is as it would be without us.
static REGISTRATIONS: [Registration; 256] = [const {
    Registration {
        fd: AtomicI32::new(-1),
        epoll: AtomicI32::new(-1),
        events: AtomicU32::new(0),
        data: AtomicU64::new(0),
    }
}; 256];

fn is_own(epoll: c_int) -> bool {
    descriptors::find(epoll).is_some_and(|entry| {
        let word = entry.word();
        word.state() == State::Epoll && !word.is_inherited()
    })
}

/// `epoll_ctl` has done `command` with the abandoned `fd` in an epoll.
pub(crate) fn note_registration(
    epoll: c_int,
    command: c_int,
    fd: c_int,
    event: Option<libc::epoll_event>,
) {
    let is_its = |registration: &&Registration| {
        registration.fd.load(Acquire) == fd && registration.epoll.load(Relaxed) == epoll
    };
    let known = REGISTRATIONS.iter().find(is_its);
    let Some(event) = event.filter(|_| command != libc::EPOLL_CTL_DEL) else {
        if let Some(registration) = known {
            registration.fd.store(-1, Release);
        }
        return;
    };
    let free = |registration: &&Registration| {
        registration
            .fd
            .compare_exchange(-1, -2, AcqRel, Relaxed)
            .is_ok()
    };
    if let Some(registration) = known.or_else(|| REGISTRATIONS.iter().find(free)) {
        registration.epoll.store(epoll, Relaxed);
        registration.events.store(event.events, Relaxed);
        registration.data.store(event.u64, Relaxed);
        registration.fd.store(fd, Release);
    }
}

/// Puts something else under `fd` by `replace`, and enters it where what was
/// there had been.
pub(crate) fn replace_and_register<R>(fd: c_int, replace: impl FnOnce() -> R) -> R {
    let mut taken = [false; REGISTRATIONS.len()];
    for (registration, taken) in REGISTRATIONS.iter().zip(&mut taken) {
        if registration.fd.load(Acquire) == fd {
            let epoll = registration.epoll.load(Relaxed);
            *taken = is_own(epoll) && sys::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, fd, 0, 0).is_ok();
        }
    }
    let result = replace();
    for (registration, taken) in REGISTRATIONS.iter().zip(taken) {
        if taken {
            let (events, data) = (
                registration.events.load(Relaxed),
                registration.data.load(Relaxed),
            );
            let epoll = registration.epoll.load(Relaxed);
            let _ = sys::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, events, data);
        }
        if registration.fd.load(Relaxed) == fd {
            registration.fd.store(-1, Release);
        }
    }
    result
}
