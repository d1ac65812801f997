//! The beginning of each call on a connection. It is followed by the journal, or passed on; in a child
//! an inherited session is made again first.

use super::answer;
use super::request::Request;
use crate::boundary::{guarded, has_inherited_nothing, notice_fork};
use crate::libpq::methods::{CONNECTION_OK, FATAL_ERROR};
use crate::libpq::types::{PGconn, PGresult};
use crate::libpq::Library;
use crate::resume::{check_eligibility, reconnect, Checked};
use crate::session::connection::{self, Connection, Eligibility, Inside, Role};
use crate::session::thread;
use crate::{memory, policy, tracker};
use forkguard_signal_safe::sys;

/// What a call on a connection finds at the shims.
pub(crate) enum Entered {
    /// Nothing to do but the call.
    Pass,
    /// An outermost call on a session of this process, followed by its journal.
    In(Inside<'static>),
    /// An inherited session could not be reconnected: libpq holds the reason.
    Failed,
    /// It was not reconnected: this is the result that the server's answer would have made.
    Answered(PGresult),
}

/// A call on a connection begins.
#[inline]
pub(super) fn enter(library: &Library, pgconn: PGconn, request: Request, role: Role) -> Entered {
    if !has_inherited_nothing() {
        return enter_in_child(library, pgconn, request, role);
    }
    if !policy::resumes() {
        return Entered::Pass;
    }
    enter_own(pgconn, role)
}

#[inline(always)]
fn enter_own(pgconn: PGconn, role: Role) -> Entered {
    match connection::find(pgconn).and_then(|known| known.enter(role)) {
        Some(inside) => Entered::In(inside),
        None => Entered::Pass,
    }
}

#[cold]
#[inline(never)]
fn enter_in_child(library: &Library, pgconn: PGconn, request: Request, role: Role) -> Entered {
    notice_fork();
    if thread::is_reconnecting() {
        return Entered::Pass; // libpq calls itself, or an event procedure does
    }
    let Some(connection) = connection::find(pgconn) else {
        return Entered::Pass;
    };
    if connection.is_inherited() {
        match check_inherited(library, connection) {
            Eligibility::Resumable if !matches!(request, Request::None) => {
                return resume(library, connection, request, role);
            }
            _ if connection.is_inherited() => return Entered::Pass,
            _ => {}
        }
    }
    if policy::resumes() {
        enter_own(pgconn, role)
    } else {
        Entered::Pass
    }
}

/// A reconnect was left in the middle (`pthread_cancel`, an exception): what it has
/// made is nobody's session.
fn give_up_half_a_reconnect(library: &Library, connection: &Connection) {
    if connection.is_half_reconnected() && !thread::is_reconnecting() {
        connection.set_eligibility(Eligibility::Lost);
        let fd = library.socket(connection.pgconn());
        if tracker::is_own_session(fd) {
            sys::shutdown(fd);
        }
    }
}

/// Bytes: more than a verdict, its reason and its line take.
const CHECKING: usize = 16 * 1024;

fn resume(
    library: &Library,
    connection: &'static Connection,
    request: Request,
    role: Role,
) -> Entered {
    // Inside from here on: a child forked by another thread finds half a reconnect.
    let Some(mut inside) = connection.enter(role) else {
        return Entered::Pass;
    };
    if role == Role::Waits {
        let result = answer::without_server(library, connection, &mut inside, request);
        if let Some(result) = result {
            inside.leave();
            return Entered::Answered(result);
        }
    }
    connection.set_half_reconnected(true);
    // Not guarded as a whole: libpq's calls in it may unwind.
    let resumed = reconnect::resume(library, connection, &mut inside);
    connection.set_half_reconnected(false);
    if resumed {
        return Entered::In(inside);
    }
    inside.leave();
    if library.status(connection.pgconn()) == CONNECTION_OK {
        Entered::Pass
    } else {
        Entered::Failed
    }
}

/// What becomes of an inherited connection; one that was left to this process
/// is its own afterwards. `errno` is kept.
pub(super) fn check_inherited(library: &Library, connection: &Connection) -> Eligibility {
    guarded(Eligibility::Lost, || {
        give_up_half_a_reconnect(library, connection);
        if connection.eligibility() == Eligibility::Unchecked {
            if !memory::is_plenty(CHECKING) {
                return Eligibility::Lost; // for this time: libpq finds it lost by itself
            }
            match check_eligibility(library, connection) {
                Checked::Ours => connection.leave_to_us(),
                Checked::Resumable => {
                    connection.nobody_inside();
                    connection.set_eligibility(Eligibility::Resumable);
                }
                Checked::Lost(loss) if policy::resumes() => connection.lose(&loss),
                Checked::Lost(_) | Checked::Nothing => {
                    connection.set_eligibility(Eligibility::Lost)
                }
            }
        }
        connection.eligibility()
    })
}

/// A result that says what the reconnect said, as `PQexec` returns on a lost connection.
pub(super) fn failed_result(library: &Library, pgconn: PGconn) -> Option<PGresult> {
    library.make_empty_result(pgconn, FATAL_ERROR)
}
