//! Does again what was done to the session, in one round trip.
//!
//! It uses libpq's pipeline (since 14): each step is its own message, and the server reads
//! it under the settings that the steps before it have made. With an older libpq each step
//! takes a round trip.

use core::ffi::c_char;
use core::ptr::null;
use std::ffi::CString;
use std::format;
use std::string::String;
use std::vec::Vec;

use super::question::{Answer, Parent, Question};
use crate::boundary::guarded;
use crate::libpq::methods::{
    on_one_line, Parameters, COMMAND_OK, FATAL_ERROR, MESSAGE_PRIMARY, PIPELINE_SYNC, PQTRANS_IDLE,
    PQTRANS_INERROR, SINGLE_TUPLE, SQLSTATE, TUPLES_CHUNK, TUPLES_OK,
};
use crate::libpq::types::{Oid, PGconn, PGresult, Text};
use crate::libpq::{entry, Library};
use crate::memory;
use crate::policy;
use crate::session::journal::{Journal, Step};
use crate::session::loss::Loss;
use crate::session::set_config::OwnedParameter;
use forkguard_signal_safe::sys;
use forkguard_sql::Reason;

/// `text`'s type id (pg_type.dat).
const TEXT: u32 = 25;

/// How a message is sent.
enum Form {
    /// A simple query: the server drops the unnamed statement (exec_simple_query). Not in a
    /// pipeline.
    Simple,
    /// Parse, Bind, Execute: it becomes the unnamed statement.
    Query,
    /// Parse, under this name.
    Prepare(CString),
    /// The end of an implicit transaction: a pipeline's sync. One by one it is there by itself.
    Sync,
}

/// What the server is to answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// That it is done.
    Success,
    /// The answer to the question.
    Answer,
    /// How the transaction is isolated.
    Isolation,
    /// That it cannot be done.
    Failure,
}

/// Asked once the transaction has begun, for the default of today's role may say it. It takes no
/// snapshot: the program may still have to say `SET TRANSACTION`.
const ISOLATION: &[u8] = b"SHOW transaction_isolation";
/// In PostgreSQL the second is the first (transaction-iso.html).
const OF_EACH_STATEMENT: [&[u8]; 2] = [b"read committed", b"read uncommitted"];

/// What a transaction that has failed does again. Refused when it is analysed; the server's log has its
/// words.
const FAILURE: &[u8] = b"SELECT 'libforkguard: the transaction that was inherited from the parent process had failed'::pg_catalog.int4";

/// One message to the server, with what its pointers point to.
struct Message {
    form: Form,
    expected: Expected,
    text: CString,
    types: Vec<Oid>,
    values: Vec<*const c_char>,
    lengths: Vec<i32>,
    formats: Vec<i32>,
    _arguments: Vec<CString>,
    _sent: Vec<Vec<u8>>,
}

/// What is to be done again, and what became of it.
#[derive(Default)]
pub(crate) struct Replay {
    messages: Vec<Message>,
    /// Afterwards the unnamed statement is one of ours.
    pub leaves_unnamed: bool,
    asks: bool,
    patience_ms: u64,
    /// What the server said to the question.
    answer: Option<Answer>,
    /// A failure has come that was expected: libpq's message is its own.
    has_failed: bool,
    error: Option<Loss>,
}

fn c_string(bytes: &[u8]) -> CString {
    // From C strings, so without a NUL.
    CString::new(bytes).unwrap_or_default()
}

impl Message {
    fn new(form: Form, text: &[u8]) -> Message {
        Message {
            form,
            ..Message::query(text, Vec::new())
        }
    }

    fn query(text: &[u8], arguments: Vec<CString>) -> Message {
        Message {
            form: Form::Query,
            expected: Expected::Success,
            text: c_string(text),
            types: arguments.iter().map(|_| TEXT).collect(),
            values: arguments.iter().map(|value| value.as_ptr()).collect(),
            lengths: Vec::new(),
            formats: Vec::new(),
            _arguments: arguments,
            _sent: Vec::new(),
        }
    }

    /// At what was sent, once that does not move any more.
    fn pointing(mut self, parameters: &[OwnedParameter]) -> Message {
        let kept = self._sent.iter().zip(parameters);
        self.values = kept
            .map(|(sent, kept)| match kept.value {
                Some(_) => sent.as_ptr().cast(),
                None => null(),
            })
            .collect();
        self
    }

    fn of(step: Step) -> Message {
        match step {
            Step::Trace(name) => Message::query(
                // One that the server knows has its default again.
                b"SELECT CASE WHEN pg_catalog.current_setting($1, true) IS NULL \
                  THEN pg_catalog.set_config($1, '', true) END",
                std::vec![c_string(name)],
            ),
            Step::Text(text) => Message::query(text, Vec::new()),
            Step::With(text, parameters) => Message {
                types: parameters.iter().map(|kept| kept.kind).collect(),
                // Each ends with a NUL for libpq, which a binary one may hold, too.
                _sent: parameters
                    .iter()
                    .map(|kept| [kept.value.as_deref().unwrap_or_default(), b"\0"].concat())
                    .collect(),
                lengths: parameters
                    .iter()
                    .map(|kept| kept.value.as_ref().map_or(0, |value| value.len() as i32))
                    .collect(),
                formats: parameters.iter().map(|kept| kept.binary.into()).collect(),
                ..Message::query(text, Vec::new())
            }
            .pointing(parameters),
            Step::Prepare(name, query, types) => Message {
                form: Form::Prepare(c_string(name)),
                types: types.to_vec(),
                ..Message::query(query, Vec::new())
            },
        }
    }
}

impl Replay {
    /// On the fresh, idle, blocking session of `pgconn`. `asks`: the parent's session may hold what
    /// nobody saw. `transaction`: what libpq said of the parent's, `PQTRANS_IDLE` or in one.
    ///
    /// The question and what was done before the transaction are an implicit one of their own. So the
    /// program's begins with its `BEGIN`: its time, its snapshots and what it has read of statistics.
    pub(crate) fn of(
        library: &Library,
        pgconn: PGconn,
        journal: &Journal,
        parent: &Parent,
        asks: bool,
        transaction: i32,
    ) -> Result<Replay, Loss> {
        if !memory::is_plenty(2 * journal.size() + 65_536) {
            return Err(Reason::NoMemory.into());
        }
        let mut messages = Vec::new();
        if asks {
            let question = Question::of(
                library.server_version(pgconn),
                library.backend_pid(pgconn),
                parent,
                &journal.left_settings(),
            )
            .about_functions(journal.functions());
            let alone = transaction == PQTRANS_IDLE
                && journal.steps().next().is_none()
                && !journal.has_unnamed();
            let form = if alone { Form::Simple } else { Form::Query };
            messages.push(Message {
                expected: Expected::Answer,
                ..Message::new(form, question.text().as_bytes())
            });
        }
        messages.extend(journal.steps().map(Message::of));
        if transaction != PQTRANS_IDLE {
            if !messages.is_empty() {
                messages.push(Message::new(Form::Sync, b""));
            }
            messages.extend(journal.steps_of_transaction().map(Message::of));
        }
        let failed = transaction == PQTRANS_INERROR;
        if transaction != PQTRANS_IDLE && !journal.is_undone(failed) {
            messages.push(Message {
                expected: Expected::Isolation,
                ..Message::new(Form::Query, ISOLATION)
            });
        }
        messages.extend(journal.step_of_unnamed().map(Message::of));
        if failed {
            // Under a name: the unnamed statement stays what it is.
            messages.push(Message {
                expected: Expected::Failure,
                ..Message::new(Form::Prepare(c_string(b"libforkguard")), FAILURE)
            });
        }
        let leaves = messages
            .last()
            .is_some_and(|last| !matches!(last.form, Form::Simple));
        if messages.len() > 1 {
            messages.push(Message::new(Form::Sync, b""));
        }
        Ok(Replay {
            messages,
            leaves_unnamed: leaves && !journal.has_unnamed(),
            asks,
            patience_ms: 1000 * patience_s(library, pgconn),
            ..Replay::default()
        })
    }

    /// Whether a pooler stands before the server: the number that libpq was given
    /// is not the backend's.
    pub(crate) fn is_behind_a_pooler(&self) -> bool {
        self.asks && self.answer == Some(Answer::Pooler)
    }

    /// How many commands it sends.
    pub(crate) fn length(&self) -> usize {
        self.messages.len()
    }

    /// What became of it. `gone_on`: the parent has sent something on its session since the fork.
    pub(crate) fn outcome(&self, gone_on: impl FnOnce() -> bool) -> Result<(), Loss> {
        if let Some(loss) = &self.error {
            return Err(loss.clone());
        }
        match (self.asks, &self.answer) {
            (false, _) | (true, Some(Answer::Nothing | Answer::Pooler)) => Ok(()),
            (true, Some(Answer::Lost(loss))) => Err(loss.clone()),
            (true, Some(Answer::LostIfItHeld(_))) if gone_on() => Ok(()),
            (true, Some(Answer::LostIfItHeld(loss))) => Err(loss.clone()),
            (true, None) => Err(Reason::ParentUnknown.into()),
        }
    }

    fn failed(&mut self, loss: impl FnOnce() -> Loss) {
        guarded((), || {
            self.error.get_or_insert_with(loss);
        });
    }
}

/// Does it all. Holds nothing with a `Drop` across libpq's calls, which wait for
/// the server.
pub(crate) fn run(library: &Library, pgconn: PGconn, replay: &mut Replay) {
    if replay.messages.is_empty() {
        return;
    }
    let pipelined = replay.messages.len() > 1 && library.has(entry::PQenterPipelineMode);
    let done = if pipelined {
        in_one(library, pgconn, replay)
    } else {
        one_by_one(library, pgconn, replay)
    };
    if !done {
        // Where a result has said why, that stays.
        replay.failed(|| Loss::with(Reason::ReplayFailed, library.error(pgconn).as_bytes()));
    }
}

/// How long the server may take for each answer: a `PREPARE` may wait for a lock on its table. As
/// `connect_timeout` says: seconds, 0 for ever, and 1 means 2 (libpq-connect.html); else the setting.
fn patience_s(library: &Library, pgconn: PGconn) -> u64 {
    let mut said = 0_i32;
    library.options(pgconn, |keyword, value| {
        if keyword == c"connect_timeout" {
            said = value
                .to_str()
                .ok()
                .and_then(|value| value.trim().parse().ok())
                .unwrap_or(0);
        }
    });
    match said {
        ..=0 => policy::resume_settings().connect_wait_s,
        said => u64::from(said.max(2).unsigned_abs()),
    }
}

fn send(library: &Library, pgconn: PGconn, message: &Message) -> bool {
    fn or_null<T>(array: &[T]) -> *const T {
        match array.is_empty() {
            true => null(),
            false => array.as_ptr(),
        }
    }
    let text = Text::from(&*message.text);
    let types = or_null(&message.types);
    let sent = match &message.form {
        Form::Simple => library.send_query(pgconn, text),
        Form::Query => {
            let given = Parameters {
                count: message.values.len() as i32,
                types,
                values: or_null(&message.values),
                lengths: or_null(&message.lengths),
                formats: or_null(&message.formats),
            };
            // SAFETY: the message's own arrays, of one length where they are not empty
            // (`Message::of`), and what its pointers point to is its own.
            unsafe { library.send_with(pgconn, text, &given) }
        }
        Form::Sync => library.pipeline_sync(pgconn),
        Form::Prepare(name) => {
            let count = message.types.len() as i32;
            library.send_prepare(pgconn, (&**name).into(), text, count, types)
        }
    };
    sent == 1
}

/// Waits until `PQgetResult` need not, within a time.
fn is_answered(library: &Library, pgconn: PGconn, replay: &mut Replay) -> bool {
    let end = sys::now_us() / 1000 + replay.patience_ms;
    while library.is_busy(pgconn) != 0 {
        // The server's error is a result, and then libpq is not busy. One beside a
        // result that is still to come is libpq's own: it had no memory for one that
        // came (a pipeline's sync: fe-protocol3.c), and would wait for ever (tried).
        if !replay.has_failed
            && !library
                .error_message(pgconn)
                .bytes()
                .is_none_or(<[u8]>::is_empty)
        {
            return false;
        }
        let left = end.saturating_sub(sys::now_us() / 1000);
        if left == 0 {
            let seconds = replay.patience_ms / 1000;
            replay.failed(|| Loss::with(Reason::NoAnswer, format!("{seconds} s").as_bytes()));
            return false;
        }
        let mut wait = libc::pollfd {
            fd: library.socket(pgconn),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd, ours. By its name: a thread that is cancelled waits here.
        unsafe { libc::poll(&mut wait, 1, left as i32) };
        if library.consume_input(pgconn) != 1 {
            return false;
        }
    }
    true
}

/// The server's complaint, for the log: its first line only. The others quote the statement,
/// which may hold secrets.
fn error_of(library: &Library, result: &PGresult) -> String {
    let field = |code| {
        let text = library.result_error_field(result, code);
        text.bytes().map(String::from_utf8_lossy)
    };
    match (field(MESSAGE_PRIMARY), field(SQLSTATE)) {
        (Some(primary), Some(state)) => format!("{primary} (SQLSTATE {state})"),
        // libpq's own complaint, of the connection.
        _ => on_one_line(library.result_error_message(result)),
    }
}

/// Reads a command's results. False: one was not what was expected.
fn answers(library: &Library, pgconn: PGconn, replay: &mut Replay, expected: Expected) -> bool {
    loop {
        if !is_answered(library, pgconn, replay) {
            return false;
        }
        let Some(result) = library.get_result(pgconn) else {
            return true;
        };
        let fine = take(library, replay, &result, expected);
        library.clear(Some(result));
        if !fine {
            return false;
        }
    }
}

/// Takes one result.
fn take(library: &Library, replay: &mut Replay, result: &PGresult, expected: Expected) -> bool {
    let status = library.result_status(result);
    // Single rows or chunks, where the client's last command had asked for them:
    // libpq forgets that only with a command outside a pipeline.
    let done = matches!(status, COMMAND_OK | TUPLES_OK | SINGLE_TUPLE | TUPLES_CHUNK);
    if expected == Expected::Failure {
        replay.has_failed = status == FATAL_ERROR
            && library
                .result_error_field(result, SQLSTATE)
                .bytes()
                .is_some();
        return replay.has_failed;
    }
    if !done {
        replay.failed(|| Loss::with(Reason::ReplayFailed, error_of(library, result).as_bytes()));
        return false;
    }
    if library.row_count(result) <= 0 {
        return true;
    }
    let value = library.value(result, 0, 0).bytes();
    match expected {
        Expected::Answer if replay.answer.is_none() => replay.answer = value.and_then(Answer::of),
        Expected::Isolation if !value.is_some_and(|its| OF_EACH_STATEMENT.contains(&its)) => {
            replay.failed(|| Reason::TransactionSnapshot.into());
            return false;
        }
        _ => {}
    }
    true
}

fn in_one(library: &Library, pgconn: PGconn, replay: &mut Replay) -> bool {
    if library.enter_pipeline_mode(pgconn) != 1 {
        return false;
    }
    for message in &replay.messages {
        if !send(library, pgconn, message) {
            return false;
        }
    }
    for place in 0..replay.messages.len() {
        let Some(message) = replay.messages.get(place) else {
            return false;
        };
        let expected = message.expected;
        let done = match message.form {
            Form::Sync => is_synced(library, pgconn, replay),
            _ => answers(library, pgconn, replay, expected),
        };
        if !done {
            return false;
        }
    }
    library.exit_pipeline_mode(pgconn) == 1
}

/// Reads a sync's one result.
fn is_synced(library: &Library, pgconn: PGconn, replay: &mut Replay) -> bool {
    if !is_answered(library, pgconn, replay) {
        return false;
    }
    let result = library.get_result(pgconn);
    let is_sync = |result| library.result_status(result) == PIPELINE_SYNC;
    let synced = result.as_ref().is_some_and(is_sync);
    library.clear(result);
    synced
}

fn one_by_one(library: &Library, pgconn: PGconn, replay: &mut Replay) -> bool {
    for place in 0..replay.messages.len() {
        let Some(message) = replay.messages.get(place) else {
            return false;
        };
        if matches!(message.form, Form::Sync) {
            continue;
        }
        let expected = message.expected;
        if !send(library, pgconn, message) || !answers(library, pgconn, replay, expected) {
            return false;
        }
    }
    true
}
