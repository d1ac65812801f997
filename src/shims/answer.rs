//! Commands on an inherited session that need no server.
//!
//! A destructor that deallocates its statements at the child's exit would otherwise make a
//! connection to do so, or wait for a server that is away. If the session has not been made again
//! yet, a command that only takes something away from it changes the journal, and is answered as the
//! server would. The end of a transaction is answered in the same way.

use std::boxed::Box;

use super::request::Request;
use crate::boundary::guarded;
use crate::libpq::methods::COMMAND_OK;
use crate::libpq::types::{PGconn, PGresult};
use crate::libpq::Library;
use crate::session::connection::{Connection, Inside};
use crate::session::journal::{Journal, Rules, Standing};
use forkguard_signal_safe::sink::{self, Level};

/// What the request leaves of the session, and its command tag; nothing where only the server knows.
fn left_by(
    journal: &Journal,
    request: Request,
    standing: Standing,
    rules: &Rules,
) -> Option<(Option<Box<Journal>>, &'static [u8])> {
    let (after, tag) = match request {
        Request::Simple(text) => journal.removed(text.bytes()?, false, standing, rules)?,
        Request::Extended(text) => journal.removed(text.bytes()?, true, standing, rules)?,
        Request::ClosePrepared(name) => (
            journal.closed(name.bytes()?, standing, rules)?,
            b"".as_slice(),
        ),
        // No portal exists outside of a transaction, nor in one that has only read, and closing a
        // portal that does not exist is no error.
        Request::ClosePortal if standing != Standing::Failed => return Some((None, b"")),
        Request::ClosePortal | Request::None | Request::Other => return None,
    };
    Some((Some(Box::new(after)), tag))
}

/// The result of a call that waits, if it is known without a server. The session is
/// inherited, resumable, and has not been made again.
pub(crate) fn without_server(
    library: &Library,
    connection: &Connection,
    inside: &mut Inside,
    request: Request,
) -> Option<PGresult> {
    let pgconn = connection.pgconn();
    let result = guarded(None, || {
        let state = inside.state();
        let standing = Standing::of(connection.transaction_status(library));
        let left = left_by(&state.journal, request, standing, &state.rules());
        let (after, tag) = left?;
        let result = empty_result(library, pgconn, tag)?;
        if let Some(after) = after {
            state.journal = *after;
            if standing != Standing::Idle && !state.journal.is_in_transaction() {
                connection.end_transaction();
            }
        }
        let fd = i64::from(library.socket(pgconn));
        sink::say(Level::Debug, |line| {
            line.push(b"answered for the inherited session on descriptor ")
                .push_number(fd)
                .push(b", without its server: ")
                .push(if tag.is_empty() { b"close" } else { tag });
            line.string("event", b"answered").number("descriptor", fd);
        });
        Some(result)
    });
    if let Some(result) = &result {
        // As libpq does with each result. Not guarded: the program's own, which may unwind.
        library.fire_create_events(pgconn, result);
    }
    result
}

/// `PGRES_COMMAND_OK` with this command tag, and nothing of an earlier error in the connection.
fn empty_result(library: &Library, pgconn: PGconn, tag: &[u8]) -> Option<PGresult> {
    if !library.clear_error(pgconn) {
        return None;
    }
    let result = library.make_empty_result(pgconn, COMMAND_OK)?;
    // The result's own `cmdStatus`, an array of CMDSTATUS_LEN, 64, bytes in every version
    // (libpq-int.h); the longest tag here has 17.
    let status = library.command_tag_array(&result).cast::<u8>();
    if status.is_null() {
        library.clear(Some(result));
        return None;
    }
    // SAFETY: as above; nobody else knows the result yet.
    unsafe {
        core::ptr::copy_nonoverlapping(tag.as_ptr(), status, tag.len());
        *status.add(tag.len()) = 0;
    }
    Some(result)
}
