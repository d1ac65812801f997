//! The entry points that send commands and read their results.

#![allow(non_snake_case)] // libpq's names

use core::ffi::{c_char, c_int, c_void};
use core::mem::take;
use core::ptr::null;
use std::format;

use super::call_real::real;
use super::enter::{enter, failed_result, Entered};
use super::request::Request;
use crate::boundary::guarded;
use crate::libpq::methods::{
    Parameters, COMMAND_OK, COPY_BOTH, COPY_IN, COPY_OUT, EMPTY_QUERY, NONFATAL_ERROR,
    PIPELINE_ABORTED, PIPELINE_SYNC, SINGLE_TUPLE, SQLSTATE, TUPLES_CHUNK, TUPLES_OK,
};
use crate::libpq::types::{FromWord, Oid, PGconn, PGresult, Text};
use crate::libpq::Library;
use crate::session::connection::{Inside, Role};
use crate::session::journal::{Effects, Journal, Outcome, Rules, Standing};
use crate::session::set_config::Parameter;
use crate::session::state::SessionState;
use forkguard_sql::Reason;

fn standing(library: &Library, pgconn: PGconn) -> Standing {
    Standing::of(library.transaction_status(pgconn))
}

/// Notes what is about to be sent. Nothing of it counts before it is answered.
fn about_to_send(
    library: &Library,
    pgconn: PGconn,
    inside: &mut Inside,
    read: impl FnOnce(&mut Journal, &Rules) -> Effects,
) {
    inside.count_command();
    guarded((), || {
        let state = inside.state();
        state.ran = true;
        let rules = state.rules();
        state.sending = read(&mut state.journal, &rules);
        if !state.sending.is_none() {
            state.standing = standing(library, pgconn);
        }
    });
}

/// Before a call about a prepared statement: a replay's own unnamed one is dropped where it is
/// meant. By a simple query, which drops it (exec_simple_query in postgres.c): a round trip that
/// hardly any program causes, and not every replay.
fn drop_unnamed_of_ours(library: &Library, pgconn: PGconn, inside: &mut Inside, name: Text) {
    // A null name is none, and libpq says so.
    if name.bytes().is_some_and(<[u8]>::is_empty) {
        drop_unnamed(library, pgconn, inside);
    }
}

#[inline]
fn drop_unnamed(library: &Library, pgconn: PGconn, inside: &mut Inside) {
    let idle = || !matches!(standing(library, pgconn), Standing::Other);
    if inside.state().journal.unnamed_is_ours() && idle() {
        let allowed = inside.allow(Role::Many); // what it sends is ours
        library.clear(library.execute(pgconn, c"".into()));
        inside.allow_again(allowed);
        inside.state().journal.set_unnamed_is_ours(false);
    }
}

/// After a call that sends and returns: was it taken?
fn was_sent(inside: &mut Inside, taken: bool) {
    guarded((), || {
        let state = inside.state();
        let effects = take(&mut state.sending);
        if !taken {
            return state.journal.not_sent(&effects);
        }
        if state.pipeline {
            return state.journal.sent_in_pipeline(effects);
        }
        if !effects.is_none() {
            if !state.sent.is_none() {
                state.journal.set_opaque(Reason::CommandsOverlapped);
            }
            state.sent = effects;
            state.expect_an_answer();
        }
    });
}

/// After a call that sends and waits for the one result that counts.
fn was_done(library: &Library, pgconn: PGconn, inside: &mut Inside, result: Option<&PGresult>) {
    let state = inside.state();
    if state.sending.is_none() && state.sent.is_none() {
        return;
    }
    guarded((), || {
        let state = inside.state();
        let effects = take(&mut state.sending);
        if !take(&mut state.sent).is_none() {
            // libpq threw the results of the command before away.
            return state.journal.set_opaque(Reason::CommandsOverlapped);
        }
        let Some(result) = result else {
            return state.journal.set_opaque(Reason::NoResult);
        };
        state.expect_an_answer();
        take_result(library, state, result);
        finish(library, pgconn, state, effects);
    });
}

/// Notes how one result of a command with effects came out.
fn take_result(library: &Library, state: &mut SessionState, result: &PGresult) {
    match library.result_status(result) {
        EMPTY_QUERY | COMMAND_OK | TUPLES_OK | SINGLE_TUPLE | TUPLES_CHUNK | NONFATAL_ERROR => {
            state.rolled_back = library.command_tag(result).bytes() == Some(b"ROLLBACK");
        }
        COPY_OUT | COPY_IN | COPY_BOTH => {
            state.journal.set_opaque(Reason::CopyAmongChanges);
        }
        status => {
            state.failed = true;
            // Every error of the server's has a code. One without is libpq's own, which
            // had no memory for the answer, say: the server may well have done it.
            let code = library.result_error_field(result, SQLSTATE);
            if status != PIPELINE_ABORTED && code.bytes().is_none() {
                let reason = Reason::AnswerLost;
                state.journal.set_opaque(reason);
            }
        }
    }
}

fn finish(library: &Library, pgconn: PGconn, state: &mut SessionState, effects: Effects) {
    let outcome = Outcome {
        failed: state.failed,
        rolled_back: state.rolled_back,
        before: state.before,
        after: standing(library, pgconn),
    };
    let rules = state.rules();
    state.journal.done(effects, outcome, &rules);
    state.read_mode(library, pgconn);
}

/// A call that sends a command and returns its result.
macro_rules! waits {
    ($($name:ident ( $pgconn:ident $(, $argument:ident : $kind:ty)* ) $(of $prepared:ident)? asks $request:expr => |$journal:ident, $rules:ident| $read:expr;)*) => {$(
        /// See the entry point of this name.
        ///
        /// # Safety
        /// The caller's arguments are libpq's.
        #[allow(clippy::too_many_arguments)] // PQexecParams has eight
        #[inline(never)]
        pub(crate) unsafe extern "C-unwind" fn $name($pgconn: PGconn $(, $argument: $kind)*, library: &Library) -> Option<PGresult> {
            match enter(library, $pgconn, $request, Role::Waits) {
                Entered::Answered(result) => Some(result),
                Entered::Pass => real!(library, $name, $pgconn $(, $argument)*),
                Entered::Failed => failed_result(library, $pgconn),
                Entered::In(mut inside) => {
                    $(drop_unnamed_of_ours(library, $pgconn, &mut inside, $prepared);)?
                    about_to_send(library, $pgconn, &mut inside, |$journal, $rules| $read);
                    let result: Option<PGresult> = real!(library, $name, $pgconn $(, $argument)*);
                    was_done(library, $pgconn, &mut inside, result.as_ref());
                    inside.leave();
                    result
                }
            }
        }
    )*};
}

/// A call that sends a command and leaves its results to `PQgetResult`.
macro_rules! sends {
    ($($name:ident ( $pgconn:ident $(, $argument:ident : $kind:ty)* ) $(of $prepared:ident)? => |$journal:ident, $rules:ident| $read:expr;)*) => {$(
        /// See the entry point of this name.
        ///
        /// # Safety
        /// The caller's arguments are libpq's.
        #[allow(clippy::too_many_arguments)] // PQexecParams has eight
        #[inline(never)]
        pub(crate) unsafe extern "C-unwind" fn $name($pgconn: PGconn $(, $argument: $kind)*, library: &Library) -> c_int {
            match enter(library, $pgconn, Request::Other, Role::Sends) {
                Entered::Pass => real!(library, $name, $pgconn $(, $argument)*),
                Entered::Failed | Entered::Answered(_) => 0,
                Entered::In(mut inside) => {
                    $(drop_unnamed_of_ours(library, $pgconn, &mut inside, $prepared);)?
                    about_to_send(library, $pgconn, &mut inside, |$journal, $rules| $read);
                    let taken = real!(library, $name, $pgconn $(, $argument)*);
                    let state = inside.state();
                    if state.pipeline || !state.sending.is_none() {
                        was_sent(&mut inside, taken == 1);
                    }
                    inside.leave();
                    taken
                }
            }
        }
    )*};
}

fn simple(journal: &mut Journal, rules: &Rules, text: Text) -> Effects {
    text.bytes()
        .map_or_else(Effects::default, |text| journal.read_simple(text, rules))
}

/// The parameter `$number` of an execution, whose arrays are the caller's.
fn parameter<'a>(sent: &Parameters, number: u16) -> Option<Parameter<'a>> {
    let place = usize::from(number).checked_sub(1)?;
    // libpq's own bounds (fe-exec.c, `PQ_QUERY_PARAM_MAX_LIMIT`), and it reads no null array.
    let count = usize::try_from(sent.count).ok()?;
    if place >= count.min(65_535) || sent.values.is_null() {
        return None;
    }
    // SAFETY: the caller's arrays of `count` elements each, or null, which libpq reads, too,
    // as soon as this call goes on: the types, a C string or so many bytes, and 1 for binary.
    unsafe {
        let binary = !sent.formats.is_null() && *sent.formats.add(place) != 0;
        let value = *sent.values.add(place);
        let value = match (value.is_null(), binary) {
            (true, _) => None,
            (false, false) => Some(Text::of_word(value as usize).bytes()?),
            (false, true) if sent.lengths.is_null() => return None, // libpq refuses it
            (false, true) => {
                let length = usize::try_from(*sent.lengths.add(place)).ok()?;
                Some(core::slice::from_raw_parts(value.cast(), length))
            }
        };
        Some(Parameter {
            kind: match sent.types.is_null() {
                true => 0,
                false => *sent.types.add(place),
            },
            binary,
            value,
        })
    }
}

fn extended(journal: &mut Journal, rules: &Rules, text: Text, sent: Parameters) -> Effects {
    text.bytes().map_or_else(Effects::default, |text| {
        journal.read_extended(text, &|number| parameter(&sent, number), rules)
    })
}

fn prepare(
    journal: &mut Journal,
    rules: &Rules,
    name: Text,
    query: Text,
    count: c_int,
    types: *const Oid,
) -> Effects {
    let (Some(name), Some(query)) = (name.bytes(), query.bytes()) else {
        return Effects::default();
    };
    let types: &[Oid] = match u16::try_from(count) {
        Ok(count @ 1..) if !types.is_null() => {
            // SAFETY: the caller's array of so many type ids, which libpq reads, too.
            unsafe { core::slice::from_raw_parts(types, count.into()) }
        }
        _ => &[],
    };
    journal.prepare(name, query, types, rules)
}

fn execute(journal: &mut Journal, rules: &Rules, name: Text, sent: Parameters) -> Effects {
    name.bytes().map_or_else(Effects::default, |name| {
        journal.execute(name, rules, &|number| parameter(&sent, number))
    })
}

fn close(journal: &mut Journal, name: Text) -> Effects {
    name.bytes()
        .map_or_else(Effects::default, |name| journal.close(name))
}

waits! {
    PQexec(pgconn, query: Text) asks Request::Simple(query) => |journal, rules| simple(journal, rules, query);
    PQexecParams(pgconn, query: Text, count: c_int, types: *const Oid, values: *const *const c_char, lengths: *const c_int, formats: *const c_int, format: c_int)
        asks if count == 0 { Request::Extended(query) } else { Request::Other } =>
        |journal, rules| extended(journal, rules, query, Parameters { count, types, values, lengths, formats });
    PQprepare(pgconn, name: Text, query: Text, count: c_int, types: *const Oid) asks Request::Other =>
        |journal, rules| prepare(journal, rules, name, query, count, types);
    PQexecPrepared(pgconn, name: Text, count: c_int, values: *const *const c_char, lengths: *const c_int, formats: *const c_int, format: c_int) of name asks Request::Other =>
        |journal, rules| execute(journal, rules, name, Parameters { count, types: null(), values, lengths, formats });
    PQdescribePrepared(pgconn, name: Text) of name asks Request::Other => |_journal, _rules| Effects::default();
    PQdescribePortal(pgconn, name: Text) asks Request::Other => |_journal, _rules| Effects::default();
    PQclosePrepared(pgconn, name: Text) asks Request::ClosePrepared(name) => |journal, _rules| close(journal, name);
    PQclosePortal(pgconn, name: Text) asks Request::ClosePortal => |_journal, _rules| Effects::default();
    PQfn(pgconn, function: Oid, buffer: *mut c_int, length: *mut c_int, is_int: c_int, arguments: *const c_void, count: c_int) asks Request::Other =>
        |journal, _rules| journal.unknown(Reason::FunctionByNumber);
}

sends! {
    PQsendQuery(pgconn, query: Text) => |journal, rules| simple(journal, rules, query);
    PQsendQueryParams(pgconn, query: Text, count: c_int, types: *const Oid, values: *const *const c_char, lengths: *const c_int, formats: *const c_int, format: c_int) =>
        |journal, rules| extended(journal, rules, query, Parameters { count, types, values, lengths, formats });
    PQsendPrepare(pgconn, name: Text, query: Text, count: c_int, types: *const Oid) =>
        |journal, rules| prepare(journal, rules, name, query, count, types);
    PQsendQueryPrepared(pgconn, name: Text, count: c_int, values: *const *const c_char, lengths: *const c_int, formats: *const c_int, format: c_int) of name =>
        |journal, rules| execute(journal, rules, name, Parameters { count, types: null(), values, lengths, formats });
    PQsendDescribePrepared(pgconn, name: Text) of name => |_journal, _rules| Effects::default();
    PQsendDescribePortal(pgconn, name: Text) => |_journal, _rules| Effects::default();
    PQsendClosePrepared(pgconn, name: Text) => |journal, _rules| close(journal, name);
    PQsendClosePortal(pgconn, name: Text) => |_journal, _rules| Effects::default();
}

/// See the entry point of this name.
///
/// # Safety
/// The caller's argument is libpq's.
#[inline(never)]
pub(crate) unsafe extern "C-unwind" fn PQgetResult(
    pgconn: PGconn,
    library: &Library,
) -> Option<PGresult> {
    match enter(library, pgconn, Request::None, Role::Other) {
        Entered::Pass | Entered::Failed | Entered::Answered(_) => {
            real!(library, PQgetResult, pgconn)
        }
        Entered::In(mut inside) => {
            let result: Option<PGresult> = real!(library, PQgetResult, pgconn);
            let state = inside.state();
            if state.pipeline || !state.sent.is_none() {
                guarded((), || {
                    got_result(library, pgconn, inside.state(), result.as_ref());
                });
            }
            inside.leave();
            result
        }
    }
}

fn got_result(
    library: &Library,
    pgconn: PGconn,
    state: &mut SessionState,
    result: Option<&PGresult>,
) {
    if !state.pipeline {
        if let Some(result) = result {
            return take_result(library, state, result);
        }
        let effects = take(&mut state.sent);
        return finish(library, pgconn, state, effects);
    }
    let Some(result) = result else {
        return state.journal.end_in_pipeline();
    };
    if library.result_status(result) == PIPELINE_SYNC {
        let rules = state.rules();
        let after = standing(library, pgconn);
        state.journal.sync_in_pipeline(after, &rules);
        return state.read_mode(library, pgconn);
    }
    state.failed = false;
    state.rolled_back = false;
    take_result(library, state, result);
    state
        .journal
        .result_in_pipeline(state.failed, state.rolled_back);
}

/// See the entry point of this name.
///
/// # Safety
/// The caller's arguments are libpq's.
#[inline(never)]
pub(crate) unsafe extern "C-unwind" fn PQsetClientEncoding(
    pgconn: PGconn,
    encoding: Text,
    library: &Library,
) -> c_int {
    let Entered::In(mut inside) = enter(library, pgconn, Request::Other, Role::Many) else {
        return real!(library, PQsetClientEncoding, pgconn, encoding);
    };
    about_to_send(library, pgconn, &mut inside, |journal, rules| {
        let Some(name) = encoding.bytes() else {
            return Effects::default();
        };
        let name = std::string::String::from_utf8_lossy(name).replace('\'', "''");
        // What libpq itself sends (fe-connect.c).
        journal.read_simple(format!("set client_encoding to '{name}'").as_bytes(), rules)
    });
    let result: c_int = real!(library, PQsetClientEncoding, pgconn, encoding);
    guarded((), || {
        let state = inside.state();
        let effects = take(&mut state.sending);
        state.expect_an_answer();
        state.failed = result != 0;
        finish(library, pgconn, state, effects);
    });
    inside.leave();
    result
}

/// Before a call that is more than a read for the transaction it is made in: large objects, a password.
fn does_more(_: &Library, _: PGconn, inside: &mut Inside) {
    guarded((), || inside.state().journal.does_more(b"a call of libpq"));
}

/// A call that talks to the server and leaves the session as it is.
macro_rules! seen {
    ($($name:ident ( $pgconn:ident $(, $argument:ident)* ) asks $request:ident as $role:ident $(, first $first:ident)? $(, then |$state:ident, $result:ident| $then:expr)?;)*) => {$(
        /// See the entry point of this name.
        ///
        /// # Safety
        /// The caller's arguments are libpq's.
        #[inline(never)]
        pub(crate) unsafe extern "C-unwind" fn $name($pgconn: PGconn $(, $argument: usize)*, library: &Library) -> usize {
            match enter(library, $pgconn, Request::$request, Role::$role) {
                Entered::Pass | Entered::Failed | Entered::Answered(_) => real!(library, $name, $pgconn $(, $argument)*),
                Entered::In(mut inside) => {
                    $($first(library, $pgconn, &mut inside);)?
                    let result = real!(library, $name, $pgconn $(, $argument)*);
                    $({
                        let $result = result as i32;
                        guarded((), || { let $state = inside.state(); $then });
                    })?
                    inside.leave();
                    result
                }
            }
        }
    )*};
}

seen! {
    PQconsumeInput(pgconn) asks Other as Other;
    PQflush(pgconn) asks None as Other;
    PQputCopyData(pgconn, buffer, length) asks None as Other;
    PQputCopyEnd(pgconn, error) asks None as Other;
    PQgetCopyData(pgconn, buffer, asynchronous) asks None as Other;
    PQgetline(pgconn, buffer, length) asks None as Other;
    PQgetlineAsync(pgconn, buffer, length) asks None as Other;
    PQputline(pgconn, string) asks None as Other;
    PQputnbytes(pgconn, buffer, length) asks None as Other;
    PQendcopy(pgconn) asks None as Other;
    PQsendFlushRequest(pgconn) asks Other as Other;
    // In a pipeline it could not be dropped.
    PQenterPipelineMode(pgconn) asks Other as Other, first drop_unnamed, then |state, result| state.pipeline = result == 1;
    PQexitPipelineMode(pgconn) asks None as Other, then |state, result| if result == 1 && state.pipeline {
        state.pipeline = false;
        state.journal.left_pipeline();
    };
    PQpipelineSync(pgconn) asks Other as Other, then |state, result| if result == 1 {
        state.journal.sent_sync();
    };
    PQsendPipelineSync(pgconn) asks Other as Other, then |state, result| if result == 1 {
        state.journal.sent_sync();
    };
    PQchangePassword(pgconn, user, password) asks Other as Many, first does_more;
    PQencryptPasswordConn(pgconn, password, user, algorithm) asks Other as Many;
    lo_open(pgconn, id, mode) asks Other as Many, first does_more;
    lo_close(pgconn, fd) asks Other as Many, first does_more;
    lo_read(pgconn, fd, buffer, length) asks Other as Many, first does_more;
    lo_write(pgconn, fd, buffer, length) asks Other as Many, first does_more;
    lo_lseek(pgconn, fd, offset, whence) asks Other as Many, first does_more;
    lo_lseek64(pgconn, fd, offset, whence) asks Other as Many, first does_more;
    lo_creat(pgconn, mode) asks Other as Many, first does_more;
    lo_create(pgconn, id) asks Other as Many, first does_more;
    lo_tell(pgconn, fd) asks Other as Many, first does_more;
    lo_tell64(pgconn, fd) asks Other as Many, first does_more;
    lo_truncate(pgconn, fd, length) asks Other as Many, first does_more;
    lo_truncate64(pgconn, fd, length) asks Other as Many, first does_more;
    lo_unlink(pgconn, id) asks Other as Many, first does_more;
    lo_import(pgconn, name) asks Other as Many, first does_more;
    lo_import_with_oid(pgconn, name, id) asks Other as Many, first does_more;
    lo_export(pgconn, id, name) asks Other as Many, first does_more;
}
