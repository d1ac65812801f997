//! The gate: where every redirected call to libpq passes.
//!
//! Each libpq has entrances of its own, one for each redirected function, so
//! what is called tells whose function is meant ([`crate::libpq`]). They know
//! each `PGconn` ([`crate::session::connection`]) and each `PGcancel` ([`cancel`]), keep the
//! journal of what is sent ([`commands`]), and in a child make an inherited
//! session anew before the first call that needs it ([`crate::resume`]).
//!
//! An entrance holds no value with a `Drop` across the real call:
//! `pthread_cancel` and `longjmp` leave through it. What it does besides is
//! [`guarded`]: a panic of ours ends there.

mod answer;
pub mod cancel;
pub mod commands;
pub mod established;
pub mod status_queries;

use core::ffi::c_int;
use core::mem::transmute;
use core::sync::atomic::Ordering::*;

use crate::boundary::{guarded, has_inherited_nothing, notice_fork};
use crate::libpq::calls::{CONNECTION_OK, FATAL_ERROR};
use crate::libpq::entry_points::{entry_points, NAMES, REDIRECTED};
use crate::libpq::types::{FromWord, PGconn, PGresult, Text, ToWord};
use crate::libpq::{library, Library, LIBRARIES};
use crate::resume::{judge, redial, Judgement};
use crate::session::connection::{self, Connection, Fate, Inside, Role, SessionState};
use crate::session::journal::Rules;
use crate::session::loss::Loss;
use crate::session::thread;
use crate::signal_safe::descriptors::State;
use crate::signal_safe::sink::{self, Level};
use crate::signal_safe::sys::{self, Errno, KeepErrno};
use crate::signal_safe::{descriptors, stats};
use crate::{epoll_fixups, memory, observer, policy, processor, tracker};
use forkguard_sql::{Cause, Mode};

/// A call to libpq's function of this number begins, on the object that is its first
/// argument; its entrance stands at `frame`. Whether it is one to be ended. `errno` is kept.
#[cold]
#[inline(never)]
extern "C" fn observe(library: &Library, function: usize, object: usize, frame: usize) -> bool {
    // The observer runs other people's code: unwinders, Python's.
    let _errno = KeepErrno::now();
    if sink::wants(sink::Level::Trace) {
        tell(library, function);
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

fn rules(state: &SessionState) -> Rules<'static> {
    let settings = policy::resume_settings();
    Rules {
        mode: Mode {
            standard_conforming_strings: state.standard_strings,
            ascii_safe: state.ascii_safe,
            server: state.server,
            trusted: &settings.trusted,
        },
        limit: settings.journal_limit,
        pipeline: state.pipeline,
    }
}

/// Calls libpq's real function of this name: a jump, where nothing follows and
/// nobody looks on.
macro_rules! real {
    ($library:expr, $name:ident, $first:expr $(, $argument:expr)*) => {{
        let library: &$crate::libpq::Library = $library;
        let real = library.real($crate::libpq::entry_points::entry::$name);
        let first = $crate::libpq::types::ToWord::word($first);
        type Function = unsafe extern "C-unwind" fn(usize $(, $crate::shims::word!($argument))*) -> usize;
        // SAFETY: an entrance is only called once `bind` has stored the
        // function it stands for, with so many arguments, all of the integer
        // class (entry_points.rs). They are the caller's.
        let call = || unsafe {
            let call = core::mem::transmute::<*const (), Function>(real);
            call(first $(, $crate::libpq::types::ToWord::word($argument))*)
        };
        let word = if $crate::policy::observes_calls() {
            let number = $crate::libpq::entry_points::entry::$name;
            let begun = $crate::shims::observe(library, number, first, $crate::session::thread::frame());
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
use {real, word};

/// What a call on a connection finds at the gate.
pub enum Crossing {
    /// Nothing to do but the call.
    Pass,
    /// An outermost call on a session of this process, followed by its journal.
    In(Inside<'static>),
    /// An inherited session could not be dialled anew: libpq holds the reason.
    Failed,
    /// It was not dialled: this is the result that the server's answer would have made.
    Answered(PGresult),
}

/// What a call asks of the server.
#[derive(Clone, Copy)]
pub enum Request<'a> {
    /// Nothing.
    None,
    /// A statement, by the simple protocol.
    Simple(Text<'a>),
    /// A statement without parameters, by the extended protocol.
    Extended(Text<'a>),
    /// To close the prepared statement of this name.
    ClosePrepared(Text<'a>),
    /// To close a portal.
    ClosePortal,
    /// Anything else.
    Other,
}

/// A call on a connection comes to the gate.
#[inline]
fn cross(library: &Library, pgconn: PGconn, request: Request, role: Role) -> Crossing {
    if !has_inherited_nothing() {
        return cross_in_child(library, pgconn, request, role);
    }
    if !policy::resumes() {
        return Crossing::Pass;
    }
    enter(pgconn, role)
}

#[inline(always)]
fn enter(pgconn: PGconn, role: Role) -> Crossing {
    match connection::find(pgconn).and_then(|known| known.enter(role)) {
        Some(inside) => Crossing::In(inside),
        None => Crossing::Pass,
    }
}

#[cold]
#[inline(never)]
fn cross_in_child(library: &Library, pgconn: PGconn, request: Request, role: Role) -> Crossing {
    notice_fork();
    if thread::is_dialling() {
        return Crossing::Pass; // libpq calls itself, or an event procedure does
    }
    let Some(connection) = connection::find(pgconn) else {
        return Crossing::Pass;
    };
    if connection.is_inherited() {
        match fate(library, connection) {
            Fate::Resumable if !matches!(request, Request::None) => {
                return resume(library, connection, request, role);
            }
            _ if connection.is_inherited() => return Crossing::Pass,
            _ => {}
        }
    }
    if policy::resumes() {
        enter(pgconn, role)
    } else {
        Crossing::Pass
    }
}

/// A dial was left in the middle (`pthread_cancel`, an exception): what it has
/// made is nobody's session.
fn give_up_half_a_dial(library: &Library, connection: &Connection) {
    if connection.is_half_dialled() && !thread::is_dialling() {
        connection.set_fate(Fate::Lost);
        let fd = library.socket(connection.pgconn());
        if tracker::is_own_session(fd) {
            sys::shutdown(fd);
        }
    }
}

/// Bytes: more than a verdict, its reason and its line take.
const JUDGING: usize = 16 * 1024;

fn resume(
    library: &Library,
    connection: &'static Connection,
    request: Request,
    role: Role,
) -> Crossing {
    // Inside from here on: a child forked by another thread finds half a dial.
    let Some(mut inside) = connection.enter(role) else {
        return Crossing::Pass;
    };
    if role == Role::Waits {
        let result = answer::without_server(library, connection, &mut inside, request);
        if let Some(result) = result {
            inside.leave();
            return Crossing::Answered(result);
        }
    }
    connection.set_half_dialled(true);
    // Not guarded as a whole: libpq's calls in it may unwind.
    let resumed = redial::resume(library, connection, &mut inside);
    connection.set_half_dialled(false);
    if resumed {
        return Crossing::In(inside);
    }
    inside.leave();
    if library.status(connection.pgconn()) == CONNECTION_OK {
        Crossing::Pass
    } else {
        Crossing::Failed
    }
}

/// What becomes of an inherited connection; one that was left to this process
/// is its own afterwards. `errno` is kept.
fn fate(library: &Library, connection: &Connection) -> Fate {
    guarded(Fate::Lost, || {
        give_up_half_a_dial(library, connection);
        if connection.fate() == Fate::Open {
            if !memory::is_plenty(JUDGING) {
                return Fate::Lost; // for this time: libpq finds it lost by itself
            }
            match judge(library, connection) {
                Judgement::Ours => connection.leave_to_us(),
                Judgement::Resumable => {
                    connection.nobody_inside();
                    connection.set_fate(Fate::Resumable);
                }
                Judgement::Lost(loss) if policy::resumes() => lose(connection, &loss),
                Judgement::Lost(_) | Judgement::Nothing => connection.set_fate(Fate::Lost),
            }
        }
        connection.fate()
    })
}

/// An inherited session is lost in this process, and the log says why.
pub fn lose(connection: &Connection, loss: &Loss) {
    connection.set_fate(Fate::Lost);
    let Cause { reason, detail } = loss.cause();
    stats::count_opaque(reason.code().as_bytes(), detail);
    let fd = connection.fd.load(Relaxed);
    sink::say(Level::Warn, |line| {
        line.push(b"the session on descriptor ")
            .push_number(i64::from(fd))
            .push(b", inherited, is lost in this child: ")
            .push(reason.sentence().as_bytes());
        if !detail.is_empty() {
            line.push(b": ").push(detail);
        }
        line.push(b" (")
            .push(reason.code().as_bytes())
            .push(b"); ")
            .push(reason.hint().as_bytes());
        line.string("event", b"lost")
            .number("descriptor", i64::from(fd))
            .string("reason", reason.code().as_bytes())
            .string("text", reason.sentence().as_bytes())
            .string("detail", detail)
            .string("hint", reason.hint().as_bytes());
    });
}

/// A result that says what the dial said, as `PQexec` returns on a lost connection.
fn failed_result(library: &Library, pgconn: PGconn) -> Option<PGresult> {
    library.make_empty_result(pgconn, FATAL_ERROR)
}

/// A function's address, for the tables.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Entrance(*const ());

// SAFETY: the address of a function is anybody's.
unsafe impl Sync for Entrance {}

impl Entrance {
    /// The address.
    #[inline]
    pub fn address(self) -> usize {
        self.0 as usize
    }
}

/// The entrance of libpq `L` for one function: says which libpq is meant, behind
/// the caller's arguments, and jumps to what all of them share.
macro_rules! entrance {
    ($shared:path: $($argument:ident)*) => {{
        unsafe extern "C-unwind" fn entrance<const L: usize>($($argument: usize),*) -> usize {
            type Shared = unsafe extern "C-unwind" fn($(word!($argument),)* &Library) -> usize;
            // Compiled and never called: so many arguments, and they and the result are words.
            // SAFETY: the caller's arguments.
            let _ = || unsafe { $shared($(FromWord::of_word($argument),)* library(L)).word() };
            // As words and not by their types, for then this is a jump: nobody touches the result.
            // SAFETY: the caller's arguments; words, as above, each in a register or a place of its own.
            unsafe { transmute::<*const (), Shared>($shared as *const ())($($argument,)* library(L)) }
        }
        Entrance(entrance::<L> as *const ())
    }};
    ($shared:path, 1) => { entrance!($shared: a) };
    ($shared:path, 2) => { entrance!($shared: a b) };
    ($shared:path, 3) => { entrance!($shared: a b c) };
    ($shared:path, 4) => { entrance!($shared: a b c d) };
    ($shared:path, 5) => { entrance!($shared: a b c d e) };
    ($shared:path, 7) => { entrance!($shared: a b c d e f g) };
    ($shared:path, 8) => { entrance!($shared: a b c d e f g h) };
}

macro_rules! entrances {
    (redirected { $($room:ident { $($name:ident $arity:tt,)* })* } $($rest:tt)*) => {
        const fn entrances<const L: usize>() -> [Entrance; REDIRECTED] {
            [$($(entrance!($room::$name, $arity),)*)*]
        }
    };
}
entry_points! { entrances! {} }

/// The entrances, by libpq and function.
pub static ENTRANCES: [[Entrance; REDIRECTED]; LIBRARIES] = [
    entrances::<0>(),
    entrances::<1>(),
    entrances::<2>(),
    entrances::<3>(),
    entrances::<4>(),
    entrances::<5>(),
    entrances::<6>(),
    entrances::<7>(),
];

macro_rules! for_each_libpq {
    ($function:ident) => {
        [
            Entrance($function::<0> as *const ()),
            Entrance($function::<1> as *const ()),
            Entrance($function::<2> as *const ()),
            Entrance($function::<3> as *const ()),
            Entrance($function::<4> as *const ()),
            Entrance($function::<5> as *const ()),
            Entrance($function::<6> as *const ()),
            Entrance($function::<7> as *const ()),
        ]
    };
}

/// What libpq `L` calls for `close`, by libpq.
pub static CLOSE: [Entrance; LIBRARIES] = for_each_libpq!(libpq_close);
/// What libpq `L` calls for `socket`, by libpq.
pub static SOCKET: [Entrance; LIBRARIES] = for_each_libpq!(libpq_socket);
/// What libpq `L` calls for `send`, by libpq.
pub static SEND: [Entrance; LIBRARIES] = for_each_libpq!(libpq_send);
/// What libpq `L` calls for `recv`, by libpq.
pub static RECV: [Entrance; LIBRARIES] = for_each_libpq!(libpq_recv);
/// What libpq `L` calls for `poll`, by libpq.
pub static POLL: [Entrance; LIBRARIES] = for_each_libpq!(libpq_poll);

/// Calls what libpq `L` called before, or the function of that name where it is to be found by name.
macro_rules! what_it_called {
    ($held:expr, $by_name:ident ( $($argument:ident : $kind:ty),* ) -> $result:ty) => {{
        let held: *const () = $held;
        // SAFETY: null, or what libpq called before, a function of this name; the caller's arguments.
        unsafe {
            if held.is_null() {
                processor::$by_name($($argument),*)
            } else {
                transmute::<*const (), unsafe extern "C-unwind" fn($($kind),*) -> $result>(held)($($argument),*)
            }
        }
    }};
}

/// Whether libpq must not move bytes on a socket: one of its own making, by a process
/// before this one, and not left to this one.
///
/// All that libpq does goes through `send`, `recv` and `poll` in the end, TLS and GSS
/// included (fe-secure.c, `pqsecure_raw_read`, `pqsecure_raw_write`; fe-misc.c,
/// `PQsocketPoll`), the farewell of `PQfinish` as well. So this holds for every session
/// that is lost here, whatever stands before our hooks, and whatever has become of the
/// number: a new session gets its socket from libpq's `socket`.
#[inline(always)]
fn is_anothers(fd: c_int) -> bool {
    !has_inherited_nothing() && is_anothers_in_child(fd)
}

#[cold]
#[inline(never)]
extern "C" fn is_anothers_in_child(fd: c_int) -> bool {
    let _errno = KeepErrno::now();
    notice_fork();
    if !descriptors::is_inherited_libpqs(fd) {
        return false;
    }
    // One that has said nothing yet is for our own `send` to judge, which puts a dead socket there: libpq
    // keeps a failed send to itself and waits for an answer (fe-misc.c, `write_failed`), and the program's
    // own poll would wait on the live socket for ever (tried).
    if descriptors::find(fd).is_some_and(|entry| entry.word().state() == State::Pending) {
        return false;
    }
    if tracker::is_own_session(fd) {
        descriptors::note_libpqs_socket(fd); // handed over: the kernel is asked once
        return false;
    }
    true
}

/// libpq sends: as on a connection whose other end is gone, where it must not.
unsafe extern "C-unwind" fn libpq_send<const L: usize>(
    fd: c_int,
    buffer: usize,
    length: usize,
    flags: c_int,
) -> isize {
    if is_anothers(fd) {
        sys::set_errno(Errno::EPIPE);
        return -1;
    }
    what_it_called!(library(L).send_function(),
        send_by_name(fd: c_int, buffer: usize, length: usize, flags: c_int) -> isize)
}

/// libpq receives: end of file, where it must not.
unsafe extern "C-unwind" fn libpq_recv<const L: usize>(
    fd: c_int,
    buffer: usize,
    length: usize,
    flags: c_int,
) -> isize {
    if is_anothers(fd) {
        return 0;
    }
    what_it_called!(library(L).recv_function(),
        recv_by_name(fd: c_int, buffer: usize, length: usize, flags: c_int) -> isize)
}

/// libpq waits, for one socket at a time: no longer, where nothing will come.
unsafe extern "C-unwind" fn libpq_poll<const L: usize>(
    list: *mut libc::pollfd,
    count: libc::nfds_t,
    timeout: c_int,
) -> c_int {
    if count == 1 {
        // SAFETY: one entry, which is libpq's.
        let asked = unsafe { &mut *list };
        if is_anothers(asked.fd) {
            asked.revents = asked.events & (libc::POLLIN | libc::POLLOUT) | libc::POLLHUP;
            return 1;
        }
    }
    what_it_called!(library(L).poll_function(),
        poll_by_name(list: *mut libc::pollfd, count: libc::nfds_t, timeout: c_int) -> c_int)
}

/// libpq closes a descriptor. That of the connection being dialled anew is
/// kept: nothing else may get the number before the new socket does.
unsafe extern "C-unwind" fn libpq_close<const L: usize>(fd: c_int) -> c_int {
    let dialling = thread::dialling();
    if fd >= 0 && dialling.fd == fd && dialling.library == L && !dialling.kept {
        thread::set_dialling(thread::Dialling {
            kept: true,
            ..dialling
        });
        return 0;
    }
    what_it_called!(library(L).close_function(), close_by_name(fd: c_int) -> c_int)
}

/// libpq makes a socket. The one that takes a kept number's place is moved there.
unsafe extern "C-unwind" fn libpq_socket<const L: usize>(
    family: c_int,
    kind: c_int,
    protocol: c_int,
) -> c_int {
    let made = what_it_called!(library(L).socket_function(),
        socket_by_name(family: c_int, kind: c_int, protocol: c_int) -> c_int);
    let dialling = thread::dialling();
    let stands = if made >= 0 && dialling.kept && dialling.library == L {
        guarded(made, || moved(made, kind, dialling))
    } else {
        made
    };
    if stands >= 0 {
        descriptors::note_libpqs_socket(stands);
    }
    stands
}

fn moved(made: c_int, kind: c_int, dialling: thread::Dialling) -> c_int {
    tracker::given_up(dialling.fd);
    let flags = if kind & libc::SOCK_CLOEXEC != 0 {
        libc::O_CLOEXEC
    } else {
        0
    };
    let moved = || sys::dup3(made, dialling.fd, flags);
    if epoll_fixups::moved_along(dialling.fd, moved).is_err() {
        return made;
    }
    sys::close(made);
    thread::set_dialling(thread::Dialling {
        kept: false,
        ..dialling
    });
    dialling.fd
}

/// A line for who wants to see every call.
#[cold]
#[inline(never)]
extern "C" fn tell(library: &Library, function: usize) {
    sink::say(Level::Trace, |line| {
        line.push(NAMES.get(function).copied().unwrap_or("?").as_bytes())
            .push(b" of libpq ")
            .push_number(library.index() as i64);
    });
}
