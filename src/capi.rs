//! The C interface. Documented for its users in `include/forkguard.h`.
//!
//! Every function may be called from any thread, keeps `errno` where it
//! succeeds, and lets no panic out.

use core::ffi::{c_char, c_int};
use core::mem::size_of;
use std::panic::{catch_unwind, UnwindSafe};

use crate::boundary::notice_fork;
use crate::{policy, sessions};
use forkguard_signal_safe::descriptors::State;
use forkguard_signal_safe::stats::{self, Count};
use forkguard_signal_safe::sys::{self, Errno, KeepErrno};

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");

/// Runs `body`; a failure or a panic is -1 with `errno`.
fn answer(body: impl FnOnce() -> Result<c_int, Errno> + UnwindSafe) -> c_int {
    let errno = KeepErrno::now();
    notice_fork();
    match catch_unwind(body).unwrap_or(Err(Errno::EIO)) {
        Ok(value) => value,
        Err(why) => {
            drop(errno);
            sys::set_errno(why);
            -1
        }
    }
}

/// The library's version, `major.minor.patch`.
#[no_mangle]
pub(crate) extern "C" fn forkguard_version() -> *const c_char {
    VERSION.as_ptr().cast()
}

/// What the descriptor is: 0 none of ours, 1 a session of this process, 2 abandoned,
/// 3 inherited and left alone.
#[no_mangle]
pub(crate) extern "C" fn forkguard_state(fd: c_int) -> c_int {
    answer(move || {
        Ok(match sessions::state(fd) {
            State::None | State::Pending | State::Epoll => 0,
            State::Session => 1,
            State::Abandoned | State::Refused => 2,
            State::Inherited => 3,
        })
    })
}

/// Takes the stream socket at `fd` for a session from now on.
#[no_mangle]
pub(crate) extern "C" fn forkguard_track(fd: c_int) -> c_int {
    answer(move || {
        if !policy::is_active() {
            return Err(Errno::EPERM);
        }
        sessions::track(fd).map(|()| 0)
    })
}

/// Leaves the session at `fd` to the children to come.
#[no_mangle]
pub(crate) extern "C" fn forkguard_release(fd: c_int) -> c_int {
    answer(move || sessions::release(fd).map(|()| 0))
}

/// `struct forkguard_counters`: grows at its end only.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Counters {
    /// Sessions opened since the process began or was forked, each once.
    pub opened: u64,
    /// Of those and the ones handed over, open now.
    pub open_now: u64,
    /// Inherited descriptors made dead.
    pub abandoned: u64,
    /// Inherited descriptors that could not be made dead, and are refused.
    pub refused: u64,
    /// Inherited descriptors kept, because they were handed over.
    pub handed_over: u64,
    /// Forks by how long they waited for other threads' connection attempts.
    pub fork_waits: [u64; stats::WAITS],
    /// Inherited sessions made again.
    pub resumed: u64,
    /// Inherited sessions that could not be made again, or were not equal.
    pub lost: u64,
    /// Cancels that would have reached the parent's statement.
    pub cancels_held: u64,
}

/// Fills the first `size` bytes of `out`.
///
/// # Safety
/// `out` must be writable for `size` bytes.
#[no_mangle]
pub(crate) unsafe extern "C" fn forkguard_counters(out: *mut Counters, size: usize) -> c_int {
    answer(move || {
        if out.is_null() {
            return Err(Errno::EINVAL);
        }
        let counters = Counters {
            opened: stats::get(Count::Opened),
            open_now: sessions::open_now(),
            abandoned: stats::get(Count::Abandoned),
            refused: stats::get(Count::Refused),
            handed_over: stats::get(Count::HandedOver),
            fork_waits: stats::FORK_WAITS.get(),
            resumed: stats::get(Count::Resumed),
            lost: stats::get(Count::Opaque),
            cancels_held: stats::get(Count::CancelsHeld),
        };
        // SAFETY: the caller's promise for `size` bytes; what it knows of the
        // structure and we do not is zeroed.
        unsafe {
            core::ptr::write_bytes(out.cast::<u8>(), 0, size);
            let known = size.min(size_of::<Counters>());
            core::ptr::copy_nonoverlapping(
                (&raw const counters).cast::<u8>(),
                out.cast::<u8>(),
                known,
            );
        }
        Ok(0)
    })
}
