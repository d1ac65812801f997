//! Calls libpq's real functions, and tells the observer.

use crate::boundary::guarded;
use crate::libpq::entry_points::NAMES;
use crate::libpq::Library;
use crate::observer;
use crate::session::thread;
use forkguard_signal_safe::sink::{self, Level};
use forkguard_signal_safe::sys::KeepErrno;

/// Calls libpq's real function of this name: a jump, where nothing follows and
/// there is no observer.
macro_rules! real {
    ($library:expr, $name:ident, $first:expr $(, $argument:expr)*) => {{
        let library: &$crate::libpq::Library = $library;
        let real = library.real($crate::libpq::entry_points::entry::$name);
        let first = $crate::libpq::types::ToWord::word($first);
        type Function = unsafe extern "C-unwind" fn(usize $(, $crate::shims::call_real::word!($argument))*) -> usize;
        // SAFETY: a trampoline is only called once `bind` has stored the
        // function it stands for, with so many arguments, all of the integer
        // class (entry_points.rs). They are the caller's.
        let call = || unsafe {
            let call = core::mem::transmute::<*const (), Function>(real);
            call(first $(, $crate::libpq::types::ToWord::word($argument))*)
        };
        let word = if $crate::policy::observes_calls() {
            let number = $crate::libpq::entry_points::entry::$name;
            let begun = $crate::shims::call_real::observe_call(library, number, first, $crate::session::thread::frame());
            let result = call();
            if begun {
                $crate::session::thread::end_call();
            }
            result
        } else {
            call()
        };
        // SAFETY: the function's result, of the type that its entry point has.
        unsafe { $crate::libpq::types::FromWord::of_word(word) }
    }};
}
macro_rules! word {
    ($argument:expr) => {
        usize
    };
}
pub(super) use {real, word};

/// A call to libpq's function of this number begins, on the object that is its first
/// argument; its shim stands at `frame`. Whether it is one to be ended. `errno` is kept.
#[cold]
#[inline(never)]
pub(super) extern "C" fn observe_call(
    library: &Library,
    function: usize,
    object: usize,
    frame: usize,
) -> bool {
    // The observer runs other people's code: unwinders, Python's.
    let _errno = KeepErrno::now();
    if sink::wants(Level::Trace) {
        log_call(library, function);
    }
    let Some(observer) = observer::registered() else {
        return false;
    };
    let begun = thread::begin_call(function, frame);
    if begun {
        guarded((), || {
            (observer.call_begins)(library, function, object, frame)
        });
    }
    begun
}

/// Logs a call.
#[cold]
#[inline(never)]
extern "C" fn log_call(library: &Library, function: usize) {
    sink::say(Level::Trace, |line| {
        line.push(NAMES.get(function).copied().unwrap_or("?").as_bytes())
            .push(b" of libpq ")
            .push_number(library.index() as i64);
    });
}
