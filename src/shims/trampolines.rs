//! The trampolines: one for each libpq and each redirected function, so that the address called
//! says which libpq is meant. A trampoline adds its libpq behind the caller's arguments, and jumps
//! to the shim that all libpqs share.

use core::mem::transmute;

use super::call_real::word;
use super::imports::{libpq_close, libpq_poll, libpq_recv, libpq_send, libpq_socket};
use super::{cancel, commands, established, status_queries};
use crate::bind::{Targets, Trampoline};
use crate::libpq::entry_points::{entry_points, REDIRECTED};
use crate::libpq::types::{FromWord, ToWord};
use crate::libpq::{library, Library, LIBRARIES};

/// The trampoline of libpq `L` for one function: says which libpq is meant, behind
/// the caller's arguments, and jumps to what all of them share.
macro_rules! trampoline {
    ($shared:path: $($argument:ident)*) => {{
        unsafe extern "C-unwind" fn trampoline<const L: usize>($($argument: usize),*) -> usize {
            type Shared = unsafe extern "C-unwind" fn($(word!($argument),)* &Library) -> usize;
            // Compiled and never called: so many arguments, and they and the result are words.
            // SAFETY: the caller's arguments.
            let _ = || unsafe { $shared($(FromWord::of_word($argument),)* library(L)).word() };
            // As words and not by their types, for then this is a jump: nobody touches the result.
            // SAFETY: the caller's arguments; words, as above, each in a register or a place of its own.
            unsafe { transmute::<*const (), Shared>($shared as *const ())($($argument,)* library(L)) }
        }
        Trampoline::to(trampoline::<L> as *const ())
    }};
    ($shared:path, 1) => { trampoline!($shared: a) };
    ($shared:path, 2) => { trampoline!($shared: a b) };
    ($shared:path, 3) => { trampoline!($shared: a b c) };
    ($shared:path, 4) => { trampoline!($shared: a b c d) };
    ($shared:path, 5) => { trampoline!($shared: a b c d e) };
    ($shared:path, 7) => { trampoline!($shared: a b c d e f g) };
    ($shared:path, 8) => { trampoline!($shared: a b c d e f g h) };
}

macro_rules! trampolines {
    (redirected { $($shims:ident { $($name:ident $arity:tt,)* })* } $($rest:tt)*) => {
        const fn trampolines<const L: usize>() -> [Trampoline; REDIRECTED] {
            [$($(trampoline!($shims::$name, $arity),)*)*]
        }
    };
}
entry_points! { trampolines! {} }

/// The trampolines, by libpq and function.
static TRAMPOLINES: [[Trampoline; REDIRECTED]; LIBRARIES] = [
    trampolines::<0>(),
    trampolines::<1>(),
    trampolines::<2>(),
    trampolines::<3>(),
    trampolines::<4>(),
    trampolines::<5>(),
    trampolines::<6>(),
    trampolines::<7>(),
];

macro_rules! for_each_libpq {
    ($function:ident) => {
        [
            Trampoline::to($function::<0> as *const ()),
            Trampoline::to($function::<1> as *const ()),
            Trampoline::to($function::<2> as *const ()),
            Trampoline::to($function::<3> as *const ()),
            Trampoline::to($function::<4> as *const ()),
            Trampoline::to($function::<5> as *const ()),
            Trampoline::to($function::<6> as *const ()),
            Trampoline::to($function::<7> as *const ()),
        ]
    };
}

/// What a libpq calls in the place of its own functions, and of libc's.
pub(crate) const fn targets(instead_of: fn(&[u8], usize) -> Option<usize>) -> Targets {
    Targets {
        functions: &TRAMPOLINES,
        close: for_each_libpq!(libpq_close),
        socket: for_each_libpq!(libpq_socket),
        send: for_each_libpq!(libpq_send),
        recv: for_each_libpq!(libpq_recv),
        poll: for_each_libpq!(libpq_poll),
        instead_of,
    }
}
