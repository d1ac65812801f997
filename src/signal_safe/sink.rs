//! Where lines go: standard error, or the file the user named.
//!
//! Programs close descriptors they did not open and put others under the same
//! number, 2 included. A line is written only to the file that was there at
//! the start (same device and inode); standard error is *not* duplicated, for
//! a duplicate in a daemon would hold open the pipe that its starter waits
//! on. The log file of ours is opened again when it went.

use core::ffi::{c_char, c_int, CStr};
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, AtomicU8, Ordering::*};

pub use super::level::Level;
use super::line::Line;
use super::sys::{self, KeepErrno};

static LEVEL: AtomicU8 = AtomicU8::new(Level::Warn as u8);

/// A descriptor and what was behind it: device and inode.
struct Target {
    fd: AtomicI32,
    device: AtomicU64,
    inode: AtomicU64,
}

impl Target {
    const fn new(fd: c_int) -> Self {
        Target {
            fd: AtomicI32::new(fd),
            device: AtomicU64::new(0),
            inode: AtomicU64::new(0),
        }
    }

    fn adopt(&self, fd: c_int) {
        if let Ok((device, inode)) = sys::file_identity(fd) {
            self.device.store(device, Relaxed);
            self.inode.store(inode, Relaxed);
            self.fd.store(fd, Release);
        }
    }

    /// The descriptor, if it still leads where it did.
    fn descriptor(&self) -> Option<c_int> {
        let fd = self.fd.load(Acquire);
        let then = (self.device.load(Relaxed), self.inode.load(Relaxed));
        (fd >= 0 && then != (0, 0) && sys::file_identity(fd) == Ok(then)).then_some(fd)
    }
}

static STANDARD_ERROR: Target = Target::new(-1);
static FILE: Target = Target::new(-1);
/// The file's absolute path, a C string that lives for ever; null for none.
static FILE_PATH: AtomicPtr<c_char> = AtomicPtr::new(core::ptr::null_mut());

/// Remembers what standard error is now, and takes `level` for the lines to come.
pub fn start(level: Level) {
    LEVEL.store(level as u8, Relaxed);
    STANDARD_ERROR.adopt(libc::STDERR_FILENO);
}

/// Sends lines to the file at `path` from now on.
pub fn use_file(path: &'static CStr) -> Result<(), sys::Errno> {
    open_file(path)?;
    FILE_PATH.store(path.as_ptr().cast_mut(), Release);
    Ok(())
}

/// Opens the file and moves it out of the way of the numbers that programs use
/// and expect: the lowest free number would be theirs next.
fn open_file(path: &CStr) -> Result<(), sys::Errno> {
    // Above the shells' 10 and 255, below FD_SETSIZE; not as high as the limit,
    // for the kernel copies the table up to the highest number at each fork.
    const OUT_OF_THE_WAY: core::ffi::c_long = 300;
    let low = sys::open_for_append(path)?;
    match sys::fcntl(low, libc::F_DUPFD_CLOEXEC, OUT_OF_THE_WAY) {
        Ok(high) => {
            sys::close(low);
            FILE.adopt(high);
        }
        Err(_) => FILE.adopt(low),
    }
    Ok(())
}

/// Whether lines of this level are wanted.
#[inline]
pub fn wants(level: Level) -> bool {
    level as u8 <= LEVEL.load(Relaxed)
}

/// Writes one line, whole or not at all, without waiting. `errno` is kept.
pub fn write(line: &mut Line) {
    let _errno = KeepErrno::now();
    let path = FILE_PATH.load(Acquire);
    let target = if path.is_null() {
        STANDARD_ERROR.descriptor()
    } else {
        FILE.descriptor().or_else(|| {
            // SAFETY: not null, so the C string that `use_file` was given for ever.
            open_file(unsafe { CStr::from_ptr(path) }).ok()?;
            FILE.descriptor()
        })
    };
    if let Some(fd) = target {
        sys::write_once(fd, line.ended());
    }
}

/// A line that begins as all of ours do: `forkguard[PID]: `.
pub fn line() -> Line {
    let mut line = Line::empty();
    line.push(b"forkguard[")
        .push_number(i64::from(sys::pid()))
        .push(b"]: ");
    line
}
