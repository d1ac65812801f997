//! A call on a connection begins: followed by the journal, passed on, or, in a child, the one
//! before which an inherited session is made again.

use super::answer;
use super::request::Request;
use crate::boundary::{guarded, has_inherited_nothing, notice_fork};
use crate::libpq::calls::{CONNECTION_OK, FATAL_ERROR};
use crate::libpq::types::{PGconn, PGresult};
use crate::libpq::Library;
use crate::resume::{judge, redial, Judgement};
use crate::session::connection::{self, Connection, Fate, Inside, Role};
use crate::session::thread;
use crate::{memory, policy, tracker};
use forkguard_signal_safe::sys;

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

/// A call on a connection comes to the gate.
#[inline]
pub(super) fn cross(library: &Library, pgconn: PGconn, request: Request, role: Role) -> Crossing {
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
pub(super) fn fate(library: &Library, connection: &Connection) -> Fate {
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
                Judgement::Lost(loss) if policy::resumes() => connection.lose(&loss),
                Judgement::Lost(_) | Judgement::Nothing => connection.set_fate(Fate::Lost),
            }
        }
        connection.fate()
    })
}

/// A result that says what the dial said, as `PQexec` returns on a lost connection.
pub(super) fn failed_result(library: &Library, pgconn: PGconn) -> Option<PGresult> {
    library.make_empty_result(pgconn, FATAL_ERROR)
}
