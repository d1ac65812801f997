//! Where lines go: standard error, or the file the user named.
//!
//! Programs close descriptors they did not open and put others under the same
//! number, 2 included. A line is written only to the file that was there at
//! the start (same device and inode); standard error is *not* duplicated, for
//! a duplicate in a daemon would hold open the pipe that its starter waits
//! on. The log file of ours is opened again when it went.
//!
//! The file may be a socket of a syslog daemon or of journald (`/dev/log`). Then each line is a
//! datagram, with the priority that syslog(3) puts before it and without a newline.

use core::ffi::{c_char, CStr};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, Ordering::*};

use super::line::Line;
use super::sys::{self, Errno};
use super::verified_descriptor::VerifiedDescriptor;
pub use forkguard_proto::level::{Format, Level};

static LEVEL: AtomicU8 = AtomicU8::new(Level::Warn as u8);
static IS_JSON: AtomicBool = AtomicBool::new(false);

static STANDARD_ERROR: VerifiedDescriptor = VerifiedDescriptor::none();
static FILE: VerifiedDescriptor = VerifiedDescriptor::none();
/// The file's absolute path, a C string that lives for ever; null for none.
static FILE_PATH: AtomicPtr<c_char> = AtomicPtr::new(core::ptr::null_mut());
/// Whether the file is a daemon's socket.
static IS_SYSLOG: AtomicBool = AtomicBool::new(false);

/// Remembers what standard error is now, and takes `level` and `format` for the
/// lines to come.
pub fn start(level: Level, format: Format) {
    LEVEL.store(level as u8, Relaxed);
    IS_JSON.store(format == Format::Json, Relaxed);
    STANDARD_ERROR.adopt(libc::STDERR_FILENO);
}

/// Sends lines to the file at `path` from now on.
pub fn use_file(path: &'static CStr) -> Result<(), Errno> {
    open_file(path)?;
    FILE_PATH.store(path.as_ptr().cast_mut(), Release);
    Ok(())
}

/// Sends lines to the syslog daemon whose socket is at `path` from now on.
pub fn use_syslog(path: &'static CStr) -> Result<(), Errno> {
    IS_SYSLOG.store(true, Relaxed);
    let opened = use_file(path);
    IS_SYSLOG.store(opened.is_ok(), Relaxed);
    opened
}

fn open_file(path: &CStr) -> Result<(), Errno> {
    let low = if IS_SYSLOG.load(Relaxed) {
        open_socket(path)?
    } else {
        sys::open_for_append(path)?
    };
    let fd = sys::move_out_of_the_way(low).unwrap_or(low);
    if FILE.adopt(fd) {
        return Ok(());
    }
    // It could not be found again, and the next line would open one more.
    sys::close(fd);
    Err(Errno::EPERM)
}

fn open_socket(path: &CStr) -> Result<core::ffi::c_int, Errno> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let fd = sys::socket(libc::AF_UNIX, kind)?;
    sys::connect_to_path(fd, path).inspect_err(|_| {
        sys::close(fd);
    })?;
    Ok(fd)
}

/// Whether lines of this level are wanted.
#[inline]
pub fn wants(level: Level) -> bool {
    level as u8 <= LEVEL.load(Relaxed)
}

/// Writes a line of this level, if it is wanted: `fill` says its message, then its
/// facts. Whole or not at all, without waiting; `errno` is kept.
#[inline]
pub fn say(level: Level, fill: impl FnOnce(&mut Line)) {
    if wants(level) {
        say_it(level, fill);
    }
}

/// As [`say`], of the level `error`, whatever lines are wanted: for what the policy
/// has asked for by name.
pub fn say_always(fill: impl FnOnce(&mut Line)) {
    // A reader that is only slow is waited for, and one that reads nothing for so
    // long not a second time.
    const PATIENCE_MS: u32 = 200;
    static PATIENT: AtomicBool = AtomicBool::new(true);
    if let Some(fd) = target().filter(|_| PATIENT.load(Relaxed)) {
        if !sys::wait_to_write(fd, PATIENCE_MS) {
            PATIENT.store(false, Relaxed);
        }
    }
    say_it(Level::Error, fill);
}

/// Out of line: the caller's stack does not grow by what a line takes.
#[cold]
#[inline(never)]
fn say_it(level: Level, fill: impl FnOnce(&mut Line)) {
    let mut line = begun(level);
    fill(&mut line);
    write(line.ended());
}

/// A line that begins as all of ours do: `forkguard[PID]: `, or with the fields
/// that every object has.
fn begun(level: Level) -> Line {
    let pid = i64::from(sys::pid());
    let is_json = IS_JSON.load(Relaxed);
    let mut line = Line::empty(if is_json { Format::Json } else { Format::Text });
    if IS_SYSLOG.load(Relaxed) {
        line.begin_datagram(priority(level), pid);
    } else if !is_json {
        line.push(b"forkguard[").push_number(pid).push(b"]: ");
    }
    if !is_json {
        return line;
    }
    let (seconds, nanoseconds) = sys::wall_clock();
    line.string("time", &rfc3339(seconds, nanoseconds / 1000))
        .string("level", level.name().as_bytes())
        .string("program", b"forkguard")
        .number("pid", pid);
    line.begin_message();
    line
}

/// Facility and severity as syslog(3) adds them up.
fn priority(level: Level) -> i64 {
    let severity = match level {
        Level::Off | Level::Error => libc::LOG_ERR,
        Level::Warn => libc::LOG_WARNING,
        Level::Info => libc::LOG_INFO,
        Level::Debug | Level::Trace => libc::LOG_DEBUG,
    };
    i64::from(libc::LOG_DAEMON | severity)
}

/// `2026-11-27T18:03:54.123456Z`
fn rfc3339(seconds: u64, microseconds: u64) -> [u8; 27] {
    let (year, month, day) = date(seconds / 86_400);
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    let parts = [
        (0..4, year),
        (5..7, month),
        (8..10, day),
        (11..13, seconds / 3600 % 24),
        (14..16, seconds / 60 % 60),
        (17..19, seconds % 60),
        (20..26, microseconds),
    ];
    for (places, value) in parts {
        let mut rest = value;
        for digit in text.get_mut(places).unwrap_or(&mut []).iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
    }
    text
}

/// Year, month and day, so many days after 1970 began: counted from the first of
/// March of the year 0, so that a leap day is a year's last (Howard Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // 0 is March
    let (next, number) = if month < 10 {
        (0, month + 3)
    } else {
        (1, month - 9)
    };
    (
        era * 400 + year + next,
        number,
        day - (153 * month + 2) / 5 + 1,
    )
}

/// Writes to where lines go.
fn write(line: &[u8]) {
    let Some(fd) = target() else {
        return;
    };
    if !IS_SYSLOG.load(Relaxed) {
        let _ = sys::write_once(fd, line);
        return;
    }
    let datagram = line.strip_suffix(b"\n").unwrap_or(line);
    let path = FILE_PATH.load(Acquire);
    let peer_has_gone = [Errno::ECONNREFUSED, Errno::ENOTCONN];
    if sys::write_once(fd, datagram).is_err_and(|errno| peer_has_gone.contains(&errno)) {
        // A daemon that was restarted has a new socket at the same path.
        // SAFETY: there is a file, so the path is the C string that `use_syslog` was given for ever.
        if sys::connect_to_path(fd, unsafe { CStr::from_ptr(path) }).is_ok() {
            let _ = sys::write_once(fd, datagram);
        }
    }
}

/// The descriptor to write to.
fn target() -> Option<core::ffi::c_int> {
    let path = FILE_PATH.load(Acquire);
    if path.is_null() {
        STANDARD_ERROR.descriptor()
    } else {
        FILE.descriptor().or_else(|| {
            // SAFETY: not null, so the C string that `use_file` was given for ever.
            open_file(unsafe { CStr::from_ptr(path) }).ok()?;
            FILE.descriptor()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_as_date_says() {
        // `date -u -d @N +%FT%TZ`
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000Z"),
            (951_868_800, "2000-03-01T00:00:00.000000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000000Z"),
            (1_798_761_599, "2026-12-31T23:59:59.000000Z"),
            (1_798_761_600, "2027-01-01T00:00:00.000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000Z"),
        ] {
            assert_eq!(rfc3339(seconds, 0), text.as_bytes(), "{text}");
        }
        assert_eq!(&rfc3339(0, 123_456)[19..], b".123456Z");
    }
}
