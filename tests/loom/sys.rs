//! The system that a model runs on: its threads, its one clock and what is open under a number.

use core::ffi::{c_int, c_long, c_void};
use core::sync::atomic::{AtomicU64, Ordering::*};

pub use super::errno::Errno;

/// There is no `errno` to keep.
pub struct KeepErrno;

impl KeepErrno {
    pub fn now() -> Self {
        KeepErrno
    }
}

loom::thread_local! {
    static ME: std::cell::Cell<usize> = std::cell::Cell::new(1);
}

/// This thread is number `number` from now on: 2, 3, …; the first is 1.
pub fn begin_thread(number: usize) {
    ME.with(|me| me.set(number));
}

/// As addresses of control blocks: their lowest bits are free.
pub fn this_thread() -> usize {
    ME.with(std::cell::Cell::get) << 12
}

/// Time stands still: a bound of 0 is over at once, any other never.
pub fn now_us() -> u64 {
    0
}

/// Through the scheduler, whose locks order who waits. Without that loom may let a thread that
/// waits read values in turn that are long past, for ever.
pub fn yield_now() {
    static WAITS: AtomicU64 = AtomicU64::new(0);
    WAITS.fetch_add(1, AcqRel);
    loom::thread::yield_now();
    WAITS.fetch_add(1, AcqRel);
}

pub fn pause(_: c_long) {
    yield_now();
}

/// What is open under numbers 0 to 3: a socket's cookie, 0 for none.
static OPEN: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

/// A system call: it takes a lock or two in the kernel, so what was stored before is seen by who
/// sees its effect.
pub fn open(fd: c_int, cookie: u64) {
    OPEN[fd as usize].store(cookie, Release);
}

/// What is open under `fd`.
pub fn cookie(fd: c_int) -> u64 {
    OPEN[fd as usize].load(Acquire)
}

/// `SO_COOKIE` and no other.
pub fn socket_option<T: Copy + Default>(fd: c_int, _: c_int) -> Result<T, Errno> {
    assert_eq!(size_of::<T>(), size_of::<u64>());
    match cookie(fd) {
        0 => Err(Errno::EBADF),
        // SAFETY: `T` has the size of the number; the table asks for a number.
        cookie => Ok(unsafe { core::mem::transmute_copy::<u64, T>(&cookie) }),
    }
}

pub fn file_identity(_: c_int) -> Result<(u64, u64), Errno> {
    Err(Errno::EBADF)
}

/// Numbers from 1,024 on are no part of a model.
pub fn map(_: usize) -> Option<*mut c_void> {
    None
}

pub struct Emulated;

pub fn map_wiped_on_fork(_: usize) -> Result<Option<*mut c_void>, Emulated> {
    Ok(None)
}

pub fn knows_its_thread() -> bool {
    true
}

pub fn shares_memory_with(_: c_int) -> Result<bool, Errno> {
    Ok(false)
}

pub fn parent_pid() -> c_int {
    1
}

pub fn pid() -> c_int {
    1
}

pub fn pid_namespace() -> Result<u64, Errno> {
    Ok(1)
}
