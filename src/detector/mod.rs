//! The detector: `FORKGUARD_POLICY=report` and `abort`.
//!
//! Nothing is abandoned, resumed or refused. Each *use* of an inherited session in a
//! child is reported, with the stacks that led there, once for each place in the code.
//! Sending or receiving a byte, `shutdown` (the hooks see those), and a cancel that would
//! reach the parent's statement (the shims see it) each count as a use. Closing the
//! descriptor does not, and reading the reply to the child's own request is not counted
//! again. Where libpq sends, the shims have noted which of its functions was called
//! ([`crate::session::thread`]); that call is reported once, however much it sends.
//!
//! The child handler gives inherited sessions a state of their own
//! ([`State::Inherited`]). Its number is odd, as are those of all states that a hook looks
//! at before bytes move ([`forkguard_signal_safe::descriptors`]). Under the other
//! policies no entry has this state, and nothing here is called.
//!
//! Hooks are called in signal handlers, and in children of threaded parents. So this
//! module takes no lock, and no memory but what the kernel maps for one report.

pub(crate) mod deduplication;
pub(crate) mod python;
pub(crate) mod stack;

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicBool, Ordering::*};

use crate::boundary::{guarded, notice_fork};
use crate::libpq::entry_points::{entry, NAMES};
use crate::libpq::types::PGconn;
use crate::libpq::Library;
use crate::observer::Observer;
use crate::session::thread;
use crate::shims::cancel;
use crate::{observer, peer, tracker};
use deduplication::Seen;
use forkguard_signal_safe::descriptors::{Entry, PeerText, State, ASKED};
use forkguard_signal_safe::line::Line;
use forkguard_signal_safe::processor;
use forkguard_signal_safe::stats::{self, Count};
use forkguard_signal_safe::sys::{self, KeepErrno};
use forkguard_signal_safe::{child, descriptors, generation, sink};
use python::Python;
use stack::Stack;

static ABORTS: AtomicBool = AtomicBool::new(false);
/// A use was reported and this process is being ended.
static ENDING: AtomicBool = AtomicBool::new(false);

static OBSERVER: Observer = Observer {
    bytes_move: report_moving_bytes,
    call_begins: report_cancel,
    objects_came: python::look,
};

/// Reports uses from now on, and ends the child that made one, if `aborts`. Once,
/// by the constructor.
pub(crate) fn start(aborts: bool) {
    ABORTS.store(aborts, Relaxed);
    child::leave_alone();
    stack::start();
    python::look();
    observer::register(&OBSERVER);
}

/// What was done to a session, and whose it is.
struct Use<'a> {
    /// The function of libc's, or for a cancel of libpq's.
    call: &'a str,
    /// The function of libpq's that the program called.
    function: Option<&'a str>,
    /// -1 where it is closed in this process.
    fd: c_int,
    peer: PeerText,
    opened_in: u64,
    /// What stands below it on the stack is libpq's and ours; 0 for nothing.
    frame: usize,
}

/// Bytes are about to move on an inherited session: out, if `sends`. `errno` is kept.
#[cold]
#[inline(never)]
fn report_moving_bytes(fd: c_int, entry: Entry, call: &str, sends: bool) {
    let _errno = KeepErrno::now();
    let word = entry.word();
    if word.state() != State::Inherited || !generation::is_own_memory() || !entry.is_still(fd) {
        return;
    }
    if ENDING.load(Relaxed) {
        // By the program's own handler of SIGABRT, which ends here.
        return sys::die(libc::SIGABRT);
    }
    if !sends && word.has(ASKED) {
        return;
    }
    if sends {
        entry.set_flag(ASKED, true);
    }
    let within = thread::call();
    if within.is_some_and(|within| within.told) {
        return;
    }
    thread::call_is_told();
    report_use(&Use {
        call,
        function: within.and_then(|within| NAMES.get(within.function).copied()),
        fd,
        peer: peer::text_of(fd),
        opened_in: word.generation(),
        frame: within.map_or(0, |within| within.frame),
    });
}

/// An outermost call at the shims: whether it cancels what another process runs.
/// In a signal handler, too. `errno` is kept.
fn report_cancel(library: &Library, function: usize, object: usize, frame: usize) {
    if !matches!(
        function,
        entry::PQcancel | entry::PQrequestCancel | entry::PQcancelStart | entry::PQcancelBlocking
    ) {
        return;
    }
    let _errno = KeepErrno::now();
    notice_fork();
    if !generation::is_own_memory() {
        return;
    }
    let found = if function == entry::PQrequestCancel {
        // SAFETY: the first argument of that function.
        let pgconn = unsafe { PGconn::at(object) };
        let fd = library.socket(pgconn);
        tracker::inherited_at(fd).map(|entry| (fd, entry.word().generation()))
    } else {
        cancel::of_another(object)
    };
    let Some((fd, opened_in)) = found else { return };
    let name = NAMES.get(function).copied().unwrap_or("?");
    thread::call_is_told();
    report_use(&Use {
        call: name,
        function: Some(name),
        fd,
        peer: peer::text_of(fd),
        opened_in,
        frame,
    });
}

/// Bytes of stack for a report: a signal handler may have called from an alternate
/// one of 8 KB, of which the unwinder takes 4 and a line as much.
const STACK: usize = 128 * 1024;

/// The largest page of any kernel (64 KB on arm64), and a multiple of every smaller one.
const LARGEST_PAGE: usize = 64 * 1024;

/// What one report needs, in memory of its own. No page is smaller than 4 KB.
#[repr(C, align(4096))]
struct Scratch<'a> {
    /// Nobody may write here: the end of a stack that is too small after all.
    guard: [u8; LARGEST_PAGE],
    room: [u8; STACK],
    /// Here the stack begins, downwards.
    what: Option<&'a Use<'a>>,
    stack: Stack,
    python: Python,
}

fn report_use(what: &Use) {
    if ENDING.load(Relaxed) {
        // As above, by a cancel.
        return sys::die(libc::SIGABRT);
    }
    // A handler would run on the report's stack, and might use a session itself.
    let blocked = sys::block_signals();
    if let Some(memory) = sys::map(size_of::<Scratch>()) {
        let scratch = memory.cast::<Scratch>();
        let start = memory as usize;
        let _ = sys::protect(start..start + LARGEST_PAGE, libc::PROT_NONE);
        // SAFETY: the mapping is of a Scratch's size, page-aligned and zeroed, of
        // which that is a value: no use, and numbers. Its stack is used by this report alone.
        unsafe {
            (&raw mut (*scratch).what).write(Some(what));
            let top = (&raw mut (*scratch).what).cast();
            processor::on_stack(memory, report, top);
            sys::unmap(memory, size_of::<Scratch>());
        }
    } else if ABORTS.load(Relaxed) {
        headline(what, |_| {});
    }
    sys::set_blocked(blocked);
    if ABORTS.load(Relaxed) {
        ENDING.store(true, Relaxed);
        sys::raise_and_die(libc::SIGABRT);
    }
}

extern "C" fn report(scratch: *mut c_void) {
    guarded((), || {
        let scratch = scratch.cast::<Scratch>();
        // SAFETY: `report_use`'s, beyond the part that is this stack; nobody else has it.
        let (what, stack, python) = unsafe {
            (
                (*scratch).what,
                &mut (*scratch).stack,
                &mut (*scratch).python,
            )
        };
        if let Some(what) = what {
            stack.walk(what.frame);
            python.dump();
            write_report(what, stack, python);
        }
    });
}

fn write_report(what: &Use, stack: &Stack, python: &Python) {
    let site = if python.text().is_empty() {
        deduplication::c(what.function.unwrap_or(what.call), stack.addresses())
    } else {
        deduplication::python(python.text_above_the_driver())
    };
    match deduplication::seen(site) {
        _ if ABORTS.load(Relaxed) => {}
        Seen::First => {}
        Seen::Before => return,
        Seen::NoRoom { said: true } => return,
        Seen::NoRoom { said: false } => {
            say(&[b"too many places in the code: this process reports no more"]);
            return;
        }
    }
    stats::count(Count::Reported, 1);
    let is_json = headline(what, |line| {
        if let Some(why) = python.missing() {
            line.string("python_missing", why);
        }
        if let Some(why) = stack.missing() {
            line.string("c_missing", why);
        }
        line.list("python_stack", |line| python.write(line));
        line.list("c_stack", |line| stack.write(line));
    });
    if is_json {
        return;
    }
    if let Some(why) = python.missing() {
        say(&[b"  no Python stack: ", why]);
    }
    python.each_line(|text| say(&[b"  python: ", text]));
    if let Some(why) = stack.missing() {
        say(&[b"  no C stack: ", why]);
    }
    stack.say(|fill| {
        sink::say_always(|line| {
            line.push(b"report:   c: ");
            fill(line);
        });
    });
    if python.text().is_empty() {
        stack.say_how_to_read();
    }
    say(&[b"  next: open this connection after the fork, or run with FORKGUARD_POLICY=resume; the innermost call comes first"]);
    if ABORTS.load(Relaxed) {
        say(&[b"  this process ends with SIGABRT (FORKGUARD_POLICY=abort)"]);
    }
}

fn say(parts: &[&[u8]]) {
    sink::say_always(|line| {
        line.push(b"report: ");
        for part in parts {
            line.push(part);
        }
    });
}

/// The first line of a block of text, or the whole object with `stacks` at its end.
/// Returns whether it was that.
fn headline(what: &Use, stacks: impl FnOnce(&mut Line)) -> bool {
    let owner = generation::ancestor(what.opened_in);
    let known = what.fd >= 0;
    let mut json = false;
    sink::say_always(|line| {
        json = line.is_json();
        line.push(b"report: ");
        line.push(what.function.unwrap_or(what.call).as_bytes());
        if what.function.is_some_and(|function| function != what.call) {
            line.push(b" (").push(what.call.as_bytes()).push(b")");
        }
        if known {
            line.push(b" on descriptor ")
                .push_number(i64::from(what.fd));
            line.push(b" (")
                .push(descriptors::trimmed(&what.peer))
                .push(b")");
        }
        line.push(b": the session was opened by ");
        match owner {
            Some(pid) => line.push(b"process ").push_number(i64::from(pid)),
            None => line.push(b"an ancestor"),
        };
        line.push(b" and inherited by fork");
        line.string("event", b"use")
            .string("call", what.call.as_bytes());
        if let Some(function) = what.function {
            line.string("libpq", function.as_bytes());
        }
        if known {
            line.number("descriptor", i64::from(what.fd));
            line.string("peer", descriptors::trimmed(&what.peer));
        }
        if let Some(pid) = owner {
            line.number("opened_by", i64::from(pid));
        }
        stacks(line);
    });
    json
}
