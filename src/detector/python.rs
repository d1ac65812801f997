//! The Python stack of the calling thread.
//!
//! The hook is often called with the interpreter's lock released (psycopg2 lets it
//! go around `PQexec`), so nothing that counts references will do. What CPython's
//! own `faulthandler` calls in a signal handler does: `_Py_DumpTraceback`, which
//! reads the thread's frames and writes text to a descriptor (Python/traceback.c).
//! A frame changes by its own thread alone, and that is here. CPython 3.11 and 3.12
//! export it; the frames of 3.13 and 3.14 are read by [`python_frames`](crate::python_frames), which writes the
//! same text; of the others we say so.

use core::ffi::{c_int, c_void};
use core::mem::transmute;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::*};

use crate::objects::list;
use crate::python_frames::{self as frames, Frame};
use forkguard_signal_safe::line::Line;
use forkguard_signal_safe::sys;

/// `PyGILState_GetThisThreadState`: reads thread-specific data, nothing else.
static THREAD_STATE: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// `_Py_DumpTraceback`.
static DUMP: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
/// What [`python_frames`](crate::python_frames) needs, in the order of `frames::Exports`.
static EXPORTS: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];
const NAMES: [&[u8]; 4] = [
    b"_PyRuntime",
    b"PyCode_Type",
    b"PyUnicode_Type",
    b"PyBytes_Type",
];

/// Looks for an interpreter among the objects that are loaded: in the constructor,
/// and where objects have come. Never in a hook: a child may not walk the list.
pub(crate) fn look() {
    if !THREAD_STATE.load(Relaxed).is_null() {
        return;
    }
    let mut found = None;
    list::each_sound_object(&mut |object| {
        // The first in the list is the one that is used: a program that is linked
        // with libpython may have copies of its variables (`R_*_COPY`).
        for (export, name) in EXPORTS.iter().zip(NAMES) {
            if export.load(Relaxed) == 0 {
                export.store(object.find_variable(name).unwrap_or(0), Relaxed);
            }
        }
        if found.is_none() {
            found = object.find(b"PyGILState_GetThisThreadState");
            if let (Some(_), Some(dump)) = (found, object.find(b"_Py_DumpTraceback")) {
                DUMP.store(dump.address as *mut (), Relaxed);
            }
        }
        true
    });
    if let Some(state) = found {
        THREAD_STATE.store(state.address as *mut (), Release);
    }
}

fn exports() -> frames::Exports {
    let [runtime, code, unicode, bytes] = EXPORTS.each_ref().map(|export| export.load(Relaxed));
    frames::Exports {
        runtime,
        code,
        unicode,
        bytes,
    }
}

/// This process's memory.
struct Own;

impl frames::Memory for Own {
    fn read(&self, address: usize, into: &mut [u8]) -> bool {
        sys::read_memory(address as *const c_void, into.len(), into) == into.len()
    }
}

/// Bytes of text that are read: a hundred frames, which is all that CPython writes,
/// take about 8,000.
const TEXT: usize = 16 * 1024;

/// The stack as CPython writes it. All zeroes is an empty one.
pub(crate) struct Python {
    text: [u8; TEXT],
    length: usize,
    missing: Option<&'static [u8]>,
}

impl Python {
    /// Writes this thread's stack here.
    pub(crate) fn dump(&mut self) {
        let (state, dump) = (THREAD_STATE.load(Acquire), DUMP.load(Relaxed));
        if state.is_null() {
            return;
        }
        // SAFETY: CPython's function of this name: no arguments, a pointer.
        let thread = unsafe { transmute::<*mut (), extern "C" fn() -> *mut c_void>(state)() };
        if thread.is_null() {
            return; // a thread that Python knows nothing of: none is missing
        }
        if dump.is_null() {
            match frames::write(&Own, &exports(), thread as usize, &mut self.text) {
                Ok(length) => self.length = length,
                Err(why) => self.missing = Some(why),
            }
            return;
        }
        let Ok(file) = sys::memory_file() else {
            self.missing = Some(b"no descriptor is free to write it to");
            return;
        };
        // SAFETY: CPython's function of this name (pycore_traceback.h); the state is
        // this thread's.
        unsafe { transmute::<*mut (), extern "C" fn(c_int, *mut c_void)>(dump)(file, thread) };
        self.length = sys::read_from(file, &mut self.text);
        sys::close(file);
    }

    /// Why there is none, where there could be one.
    pub(crate) fn missing(&self) -> Option<&'static [u8]> {
        self.missing
    }

    /// All of it, as written.
    pub(crate) fn text(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or(&[])
    }

    /// The same without the innermost frames of a package that was installed, the
    /// driver: what it sends for one line of the program, by however many of its
    /// own, is of one place in the code. All of it, where nothing else is there.
    pub(crate) fn text_above_the_driver(&self) -> &[u8] {
        let driver = self.lines().next().and_then(package);
        let Some(driver) = driver else {
            return self.text();
        };
        let above = self.lines().find(|line| package(line) != Some(driver));
        let start = self.text().as_ptr() as usize;
        let at = above.map_or(0, |line| line.as_ptr() as usize - start);
        self.text().get(at..).unwrap_or(&[])
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        // The first one is "Stack (most recent call first):".
        let lines = self.text().split(|byte| *byte == b'\n').skip(1);
        lines
            .map(<[u8]>::trim_ascii)
            .filter(|line| !line.is_empty())
    }

    /// The frames, the innermost first: `File "PATH", line N in NAME`.
    pub(crate) fn each_line(&self, mut each: impl FnMut(&[u8])) {
        self.lines().for_each(&mut each);
    }

    /// The frames as objects of a list. Some room is left for the C stack.
    pub(crate) fn write(&self, line: &mut Line) {
        const UP_TO: usize = 2800;
        for frame in self.lines().filter_map(Frame::read) {
            if line.length() > UP_TO {
                break;
            }
            line.object("", |line| {
                line.string("file", frame.file)
                    .number("line", frame.line)
                    .string("function", frame.function);
            });
        }
    }
}

/// The installed package that a frame is in, by its folder.
fn package(line: &[u8]) -> Option<&[u8]> {
    let path = Frame::read(line)?.file;
    [&b"/site-packages/"[..], b"/dist-packages/"]
        .iter()
        .find_map(|folder| {
            let at = path
                .windows(folder.len())
                .position(|part| part == *folder)?
                + folder.len();
            let name = path.get(at..)?.split(|byte| *byte == b'/').next()?;
            path.get(..at + name.len())
        })
}
