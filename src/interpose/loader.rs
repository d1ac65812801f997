//! The dynamic loader: what was found out of a library ends with it.

use core::ffi::{c_int, c_void};

use super::hooks;

hooks! {
    // Apache unloads its modules and loads them again at a graceful restart:
    // the same call sites, and libpq perhaps elsewhere.
    unsafe fn dlclose(handle: *mut c_void) -> c_int => on_dlclose if false, else slow_dlclose {
        // SAFETY: the caller's arguments, unchanged.
        let result = unsafe { redhook::real!(dlclose)(handle) };
        #[cfg(target_arch = "x86_64")]
        crate::libpq::gate::forget_all();
        result
    }
}

/// The real `dlclose`, for a handle of a library that stays: nothing is forgotten.
///
/// # Safety
/// As dlclose(3).
pub unsafe fn give_back(handle: *mut c_void) {
    // SAFETY: the caller's promise.
    unsafe { redhook::real!(dlclose)(handle) };
}
