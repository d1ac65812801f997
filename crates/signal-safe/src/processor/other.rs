//! All processors that have no file of their own.

use core::ffi::c_void;

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

/// Calls a function by its name.
macro_rules! by_name {
    ($(#[$about:meta])* $own:ident = $name:literal ( $($argument:ident : $kind:ty),* ) -> $result:ty) => {
        $(#[$about])*
        pub unsafe extern "C-unwind" fn $own($($argument: $kind),*) -> $result {
            extern "C-unwind" {
                #[link_name = $name]
                fn named($($argument: $kind),*) -> $result;
            }
            // SAFETY: the caller's promise.
            unsafe { named($($argument),*) }
        }
    };
}

/// Exports nothing.
#[macro_export]
macro_rules! tail_jump {
    ($name:ident, $before:path) => {};
}

/// Exports nothing.
#[macro_export]
macro_rules! indirect_function {
    ($name:ident, $resolver:path) => {};
}
