//! Any processor that nothing is written for.

use core::ffi::{c_int, c_void};

/// Whether `dlsym` is interposed, and libpq's functions can be redirected.
pub const HAS_TRAMPOLINE: bool = false;

/// No relocation of an object is one that holds a function's address.
pub fn is_function_address(_: u32) -> bool {
    false
}

/// This thread, as `pthread_self(3)` names it.
#[inline]
pub fn this_thread() -> usize {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::pthread_self() as usize }
}

/// The same.
pub fn this_pthread() -> libc::pthread_t {
    this_thread() as libc::pthread_t
}

/// Calls `body` with `argument`, on the stack that is there.
///
/// # Safety
/// None here; elsewhere `top` is the end of memory for a stack.
pub unsafe extern "C" fn on_stack(
    argument: *mut c_void,
    body: extern "C" fn(*mut c_void),
    _top: *mut c_void,
) {
    body(argument);
}

/// `close`, by its name.
///
/// # Safety
/// As close(2).
pub unsafe extern "C-unwind" fn close_by_name(fd: c_int) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { libc::close(fd) }
}

/// `socket`, by its name.
///
/// # Safety
/// As socket(2).
pub unsafe extern "C-unwind" fn socket_by_name(
    family: c_int,
    kind: c_int,
    protocol: c_int,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { libc::socket(family, kind, protocol) }
}

/// `send`, by its name.
///
/// # Safety
/// As send(2).
pub unsafe extern "C-unwind" fn send_by_name(
    fd: c_int,
    buffer: usize,
    length: usize,
    flags: c_int,
) -> isize {
    // SAFETY: the caller's promise.
    unsafe { libc::send(fd, buffer as *const c_void, length, flags) }
}

/// `recv`, by its name.
///
/// # Safety
/// As recv(2).
pub unsafe extern "C-unwind" fn recv_by_name(
    fd: c_int,
    buffer: usize,
    length: usize,
    flags: c_int,
) -> isize {
    // SAFETY: the caller's promise.
    unsafe { libc::recv(fd, buffer as *mut c_void, length, flags) }
}

/// `poll`, by its name.
///
/// # Safety
/// As poll(2).
pub unsafe extern "C-unwind" fn poll_by_name(
    list: *mut libc::pollfd,
    count: libc::nfds_t,
    timeout: c_int,
) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { libc::poll(list, count, timeout) }
}

/// Nothing is exported, so nobody looks this up.
#[cfg(not(test))]
pub const LOOK_AROUND: &core::ffi::CStr = c"";
