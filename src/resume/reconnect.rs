//! Reconnects: the same `PGconn`, the same descriptor number, a new session.
//!
//! libpq waits for the server here, where `pthread_cancel` ends a thread, and
//! calls the program's event procedures, which may leave by an exception. So
//! what is kept across its calls lies in a [`Task`] behind a plain pointer (left
//! where it lies, if need be), and what is ours runs [`guarded`] in between.

use core::ffi::c_void;
use core::ptr::null_mut;
use core::sync::atomic::Ordering::Relaxed;
use std::boxed::Box;

use super::question::Parent;
use super::replay;
use super::replay::Replay;
use super::reported_parameters::ReportedParameters;
use crate::boundary::guarded;
use crate::libpq::methods::{Notification, CONNECTION_OK, PQTRANS_IDLE, PQTRANS_INERROR};
use crate::libpq::types::{NoticeReceiver, PGconn};
use crate::libpq::Library;
use crate::session::connection::{Connection, Inside};
use crate::session::endpoint;
use crate::session::loss::Loss;
use crate::session::thread::{self, Reconnection};
use crate::{memory, policy, tracker};
use forkguard_signal_safe::sink::{self, Level};
use forkguard_signal_safe::stats::{self, Count};
use forkguard_signal_safe::{connect_section, sys};
use forkguard_sql::Reason;

/// What is kept while libpq reconnects and replays.
struct Task {
    fd: i32,
    before: ReportedParameters,
    non_blocking: bool,
    parent: i32,
    /// Where the session stood (`PGTransactionStatusType`): at the fork, or since its end was answered here.
    transaction: i32,
    replay: Replay,
    /// There is a new session, and it must not be used.
    refused: bool,
    error: Option<Loss>,
}

/// Bytes: more than a task takes, without its replay.
const NEEDED: usize = 64 * 1024;

/// Makes the session of an inherited, resumable connection again. True: the session is
/// this process's, equal to what it was. False: it is lost, libpq says so, and
/// the log says why.
pub(crate) fn resume(
    library: &Library,
    connection: &'static Connection,
    inside: &mut Inside,
) -> bool {
    let pgconn = connection.pgconn();
    let task = guarded(core::ptr::null_mut(), || {
        if !memory::is_plenty(NEEDED) {
            return core::ptr::null_mut(); // libpq finds the session lost by itself
        }
        Box::into_raw(Box::new(Task {
            fd: connection.fd.load(Relaxed),
            before: ReportedParameters::of(library, pgconn),
            non_blocking: library.is_nonblocking(pgconn) != 0,
            parent: library.backend_pid(pgconn),
            transaction: connection.transaction_status(library),
            replay: Replay::default(),
            refused: false,
            error: None,
        }))
    });
    if task.is_null() {
        return false;
    }
    keep_notifications(library, connection);
    silence(library, connection);
    reconnect(library, pgconn, connection.fd.load(Relaxed));
    guarded((), || {
        // SAFETY: made above, and freed below.
        unsafe { &mut *task }.reconnected(library, connection, inside)
    });
    // SAFETY: as above; this frame keeps the borrow, which needs no cleaning up.
    replay::run(library, pgconn, unsafe { &mut (*task).replay });
    let refused = guarded(true, || {
        // SAFETY: as above.
        unsafe { &mut *task }.replayed(library, connection, inside)
    });
    if refused {
        // SAFETY: as above.
        hang_up(library, pgconn, unsafe { (*task).replay.length() });
    }
    // Only now: what a replay was cut off from arrives "while idle", as libpq says.
    unsilence(library, connection);
    thread::set_reconnection(Reconnection::NOT);
    guarded(false, || {
        // SAFETY: from `Box::into_raw` above, and not used after this.
        unsafe { Box::from_raw(task) }.finish(library, connection, inside)
    })
}

/// Shuts this process's own session. libpq finds it closed, in the words that
/// clients know; where a replay was cut off, out of its pipeline first.
fn hang_up(library: &Library, pgconn: PGconn, sent: usize) {
    sys::shutdown(library.socket(pgconn));
    library.consume_input(pgconn);
    // A result and a null for each command and the sync, and some to spare: what
    // is left is made up by libpq, without waiting.
    for _ in 0..2 * sent + 4 {
        library.clear(library.get_result(pgconn));
    }
    library.exit_pipeline_mode(pgconn);
}

/// A receiver that says nothing: the notices of a reconnect and its replay are not
/// the program's.
unsafe extern "C" fn nothing(_argument: *mut c_void, _result: *const c_void) {}

/// Keeps libpq's notices from the program.
fn silence(library: &Library, connection: &Connection) {
    // SAFETY: a function of a notice receiver's type (libpq-fe.h).
    let nothing = unsafe { NoticeReceiver::at(nothing as *const () as usize) };
    let receiver = library.set_notice_receiver(connection.pgconn(), nothing, null_mut());
    // Ours, if an earlier reconnect was left.
    if receiver != nothing {
        connection.keep_receiver(receiver);
    }
}

/// Gives it back.
fn unsilence(library: &Library, connection: &Connection) {
    let receiver = connection.kept_receiver();
    if !receiver.is_null() {
        let argument = connection.notice_argument.load(Relaxed);
        library.set_notice_receiver(connection.pgconn(), receiver, argument);
    }
}

/// Takes what libpq has queued of notifications: the reconnect would forget it.
fn keep_notifications(library: &Library, connection: &Connection) {
    let mut first: *mut Notification = core::ptr::null_mut();
    let mut last = first;
    loop {
        let next = library.take_notification(connection.pgconn());
        if next.is_null() {
            break;
        }
        if last.is_null() {
            first = next;
        } else {
            // SAFETY: given to us by libpq just now.
            unsafe { (*last).next = next };
        }
        last = next;
    }
    if !first.is_null() {
        connection.keep_notifications(first);
    }
}

fn reconnect(library: &Library, pgconn: PGconn, fd: i32) {
    let ends_us = sys::now_us() + 1_000_000 * policy::resume_settings().connect_wait_s;
    thread::set_reconnection(Reconnection::begin(library.index(), fd, ends_us));
    let section = connect_section::enter();
    library.reset(pgconn);
    connect_section::leave(section);
    let reconnection = thread::reconnection();
    thread::set_reconnection(reconnection.replaying());
    if reconnection.kept {
        // libpq has closed it, and made no other: the close is made good.
        guarded((), || {
            tracker::given_up(fd);
            sys::close(fd);
        });
    }
}

impl Task {
    fn refuse(&mut self, loss: impl Into<Loss>) {
        self.refused = true;
        self.error.get_or_insert(loss.into());
    }

    /// After the reconnect: is there a session, in the same place? Then what is to be replayed.
    fn reconnected(&mut self, library: &Library, connection: &Connection, inside: &mut Inside) {
        let pgconn = connection.pgconn();
        if library.status(pgconn) != CONNECTION_OK {
            self.error = Some(if thread::reconnection().out_of_time {
                let waited = std::format!("{} s", policy::resume_settings().connect_wait_s);
                Loss::with(Reason::NoAnswer, waited.as_bytes())
            } else {
                Loss::with(Reason::DialFailed, library.error(pgconn).as_bytes())
            });
            // Where its time was up libpq keeps the socket, and in the middle of the server's greeting
            // the next command would wait there for the rest of it, for ever (tried).
            if library.socket(pgconn) >= 0 {
                sys::shutdown(library.socket(pgconn));
            }
            return;
        }
        if library.socket(pgconn) != self.fd {
            return self.refuse(Reason::OtherDescriptor);
        }
        let state = inside.state();
        if state.endpoint.map(|endpoint| endpoint.peer) != endpoint::peer(self.fd) {
            return self.refuse(Reason::OtherAddress);
        }
        if let Some(what) = self
            .before
            .find_other_server(&ReportedParameters::of(library, pgconn))
        {
            return self.refuse(Loss::with(Reason::OtherPlace, what.as_bytes()));
        }
        let ago = |us: u64| sys::now_us().saturating_sub(us);
        let journal = &state.journal;
        let failed = self.transaction == PQTRANS_INERROR;
        let parent = Parent {
            backend: self.parent,
            age_us: ago(state.endpoint.map_or(0, |endpoint| endpoint.since_us)),
            in_transaction: self.transaction != PQTRANS_IDLE && !journal.is_undone(failed),
            vouched: journal.is_vouched(),
            has_locked: journal.has_locked(),
            has_had_temporaries: journal.has_had_temporaries(),
            has_made: journal.has_made(),
        };
        match Replay::of(
            library,
            pgconn,
            journal,
            &parent,
            state.ran,
            self.transaction,
        ) {
            Ok(replay) => self.replay = replay,
            Err(loss) => self.refuse(loss),
        }
    }

    /// After the replay: is the session equal?
    /// True if there is a session that must not be used.
    fn replayed(
        &mut self,
        library: &Library,
        connection: &Connection,
        inside: &mut Inside,
    ) -> bool {
        if self.error.is_some() {
            return self.refused;
        }
        let gone_on = || connection.progress.has_gone_on();
        if let Err(loss) = self.replay.outcome(gone_on) {
            self.refuse(loss);
            return true;
        }
        // A pooler keeps some parameters itself, and does not always report that
        // it set them: then it is enough that the server took the journal's SET.
        let pooled = self.replay.is_behind_a_pooler();
        let journal = &inside.state().journal;
        if pooled && journal.alters_others() {
            self.refuse(Reason::AlteredDefaults);
        }
        let excused = |name: &str| pooled && journal.sets(name);
        let now = ReportedParameters::of(library, connection.pgconn());
        let other = self.before.find_unequal(&now, excused);
        let is_in = library.transaction_status(connection.pgconn()) == self.transaction;
        if let Some(what) = other.or((!is_in).then_some("transaction")) {
            self.refuse(Loss::with(Reason::ReplayDiffers, what.as_bytes()));
        }
        self.refused
    }

    fn finish(
        &self,
        library: &Library,
        connection: &'static Connection,
        inside: &mut Inside,
    ) -> bool {
        let (pgconn, fd) = (connection.pgconn(), self.fd);
        if let Some(loss) = &self.error {
            connection.reconnect_failed.store(true, Relaxed);
            connection.lose(loss);
            return false;
        }
        if self.non_blocking {
            library.set_nonblocking(pgconn, 1);
        }
        connection.own();
        connection.set_own_cancel(library.get_cancel(pgconn));
        let state = inside.state();
        state
            .journal
            .set_unnamed_is_ours(self.replay.leaves_unnamed);
        if let Some(endpoint) = &mut state.endpoint {
            endpoint.since_us = sys::now_us();
        }
        connection.record_socket(fd, state);
        stats::count(Count::Resumed, 1);
        sink::say(Level::Info, |line| {
            line.push(b"resumed the session on descriptor ")
                .push_number(i64::from(fd));
            line.string("event", b"resumed")
                .number("descriptor", i64::from(fd));
        });
        true
    }
}
