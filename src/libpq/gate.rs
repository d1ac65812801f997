//! Whose libpq? Finds the real function for a caller.
//!
//! A process can hold several libpqs at once: the system's, and those that
//! Python wheels bundle under other names and load `RTLD_LOCAL`, where
//! `RTLD_NEXT` finds nothing. The real function is the one that the *caller*
//! would have got without us: the first in the scope of the object that the
//! return address lies in, which is the caller itself and what it is linked to.

use core::ffi::{c_char, c_void, CStr};
use core::sync::atomic::{AtomicUsize, Ordering::*};

use crate::interpose::loader;
use crate::signal_safe::sys::KeepErrno;

/// The functions, in the order of [`NAMES`].
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
#[allow(missing_docs)]
pub enum Function {
    GetCancel,
    FreeCancel,
    Cancel,
    RequestCancel,
    CancelCreate,
    CancelBlocking,
    CancelStart,
    CancelPoll,
    CancelFinish,
    ConnectStart,
    ConnectStartParams,
    ConnectPoll,
    ResetStart,
    ResetPoll,
    Reset,
    Finish,
    Socket,
}

const NAMES: [&CStr; 17] = [
    c"PQgetCancel",
    c"PQfreeCancel",
    c"PQcancel",
    c"PQrequestCancel",
    c"PQcancelCreate",
    c"PQcancelBlocking",
    c"PQcancelStart",
    c"PQcancelPoll",
    c"PQcancelFinish",
    c"PQconnectStart",
    c"PQconnectStartParams",
    c"PQconnectPoll",
    c"PQresetStart",
    c"PQresetPoll",
    c"PQreset",
    c"PQfinish",
    c"PQsocket",
];

/// An answer found before. Read without a lock: the return address is written
/// last and looked at twice.
struct Known {
    caller: AtomicUsize,
    real: AtomicUsize,
}

/// By return address and function; call sites are few, a collision costs a look-up.
const REMEMBERED: usize = 512;
static KNOWN: [Known; REMEMBERED] = [const {
    Known {
        caller: AtomicUsize::new(0),
        real: AtomicUsize::new(0),
    }
}; REMEMBERED];

/// The real function for the call whose return address is `caller`, or null:
/// no libpq of the caller's has it.
#[inline]
pub fn real(function: Function, caller: usize) -> *const c_void {
    let key = caller ^ (function as usize) << 56;
    let known = &KNOWN[(key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55) % REMEMBERED];
    if known.caller.load(Acquire) == key {
        let real = known.real.load(Acquire);
        if known.caller.load(Acquire) == key {
            return real as *const c_void;
        }
    }
    let real = look_up(function, caller);
    if !real.is_null() {
        known.caller.store(0, Release);
        known.real.store(real as usize, Release);
        known.caller.store(key, Release);
    }
    real
}

/// What was remembered may be gone: a library was unloaded.
pub fn forget_all() {
    for known in &KNOWN {
        known.caller.store(0, Release);
    }
}

#[cold]
fn look_up(function: Function, caller: usize) -> *const c_void {
    let _errno = KeepErrno::now();
    let name = NAMES[function as usize].as_ptr();
    let in_scope = object_of(caller as *const c_void)
        .map_or(core::ptr::null(), |object| scope_of(object, name));
    if !in_scope.is_null() && !is_ours(in_scope) {
        return in_scope;
    }
    // The caller's scope begins with us: a program linked to libpq, or preloaded.
    // SAFETY: a C string; the answer is compared and called with its own type.
    let next = unsafe { libc::dlsym(libc::RTLD_NEXT, name) };
    if is_ours(next) {
        core::ptr::null()
    } else {
        next
    }
}

/// The file of the object that an address lies in.
fn object_of(address: *const c_void) -> Option<*const c_char> {
    let mut found = core::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: dladdr(3) fills `found` where it succeeds.
    let found = unsafe {
        if libc::dladdr(address, found.as_mut_ptr()) == 0 {
            return None;
        }
        found.assume_init()
    };
    (!found.dli_fname.is_null()).then_some(found.dli_fname)
}

/// The symbol in an object that is loaded already, and in what it is linked to.
fn scope_of(object: *const c_char, name: *const c_char) -> *const c_void {
    // SAFETY: C strings; RTLD_NOLOAD loads nothing, and the count it adds is taken back.
    unsafe {
        let handle = libc::dlopen(object, libc::RTLD_LAZY | libc::RTLD_NOLOAD);
        if handle.is_null() {
            return core::ptr::null();
        }
        let found = libc::dlsym(handle, name);
        loader::give_back(handle);
        found
    }
}

fn is_ours(address: *const c_void) -> bool {
    let ours = object_of(is_ours as *const c_void);
    !address.is_null() && ours.is_some() && object_of(address) == ours
}
