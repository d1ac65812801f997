//! Whether an inherited session can be made again.

use core::ffi::CStr;
use core::sync::atomic::Ordering::Relaxed;

use crate::libpq::methods::{CONNECTION_OK, PQTRANS_IDLE, PQTRANS_INERROR, PQTRANS_INTRANS};
use crate::libpq::types::PGconn;
use crate::libpq::{entry, Library};
use crate::session::connection::Connection;
use crate::session::endpoint::{ReconnectEnvironment, ReconnectPath};
use crate::session::loss::Loss;
use crate::{policy, tracker};
use forkguard_signal_safe::descriptors::{self, State, UNSEEN};
use forkguard_sql::{Cause, Reason};

/// What an inherited connection is.
pub(crate) enum Checked {
    /// Left to this process: handed over, or released by the program.
    Ours,
    /// The next call resumes it.
    Resumable,
    /// It cannot be made again, for this reason.
    Lost(Loss),
    /// Lost, and not logged: it never was a session, or the policy is `abandon`.
    Nothing,
}

/// What reconnecting would go through.
fn reconnect_path(library: &Library, pgconn: PGconn, unix: bool) -> ReconnectPath {
    const FILES: [&CStr; 5] = [
        c"sslrootcert",
        c"sslcert",
        c"sslkey",
        c"sslcrl",
        c"sslcrldir",
    ];
    let (mut relative, mut tls) = (false, true);
    let known = library.options(pgconn, |keyword, value| {
        let value = value.to_bytes();
        tls &= !(keyword == c"sslmode" && value == b"disable");
        // `system` is OpenSSL's own store.
        relative |= FILES.contains(&keyword)
            && !value.is_empty()
            && value != b"system"
            && !value.starts_with(b"/");
    });
    // The context of a ticket stays with its connection, whether it vouched for the client or
    // encrypts, too (`gctx` in fe-auth.c and fe-secure-gssapi.c). Before libpq 12 nothing tells.
    let ticket = || !library.gss_context(pgconn).is_null();
    ReconnectPath {
        unix,
        // Neither is tried over a Unix socket (PQconnectPoll in fe-connect.c).
        tls: tls && !unix,
        kerberos: !unix && (!library.has(entry::PQgetgssctx) || ticket()),
        relative: relative || !known,
    }
}

/// Checks an inherited connection. Asks libpq and the kernel, not the server.
pub(crate) fn check_eligibility(library: &Library, connection: &Connection) -> Checked {
    let pgconn = connection.pgconn();
    let fd = library.socket(pgconn);
    let lost = |reason: Reason| Checked::Lost(reason.into());
    let entry = descriptors::find(fd);
    let word = entry.map(|entry| entry.word());
    // The very socket it was established on, left alive in this process: handed
    // over. Not another one under its number.
    let is_the_same = descriptors::identity_of(fd) == Ok(connection.identity.load(Relaxed));
    if is_the_same && tracker::is_own_session(fd) {
        return Checked::Ours;
    }
    if !policy::resumes() {
        return Checked::Nothing;
    }
    let noted = connection.fd.load(Relaxed);
    if noted < 0 && library.status(pgconn) != CONNECTION_OK {
        return Checked::Nothing;
    }
    if noted < 0 {
        return lost(Reason::NotEstablished);
    }
    if connection.was_left() {
        return lost(Reason::CallLeft);
    }
    if connection.is_entered() {
        return lost(Reason::ThreadInside);
    }
    // SAFETY: nobody was inside at the fork, and this thread is the one in a
    // call on it now.
    let state = unsafe { connection.inherited_state() };
    if let Some(loss) = state.journal.opaque() {
        return Checked::Lost(loss.clone());
    }
    if let Some(loss) = state.journal.obstacle() {
        return Checked::Lost(loss);
    }
    if noted != fd {
        return lost(Reason::DescriptorChanged);
    }
    let dead =
        |entry: descriptors::Entry| entry.word().state() == State::Abandoned && entry.is_still(fd);
    if entry.is_some_and(|entry| entry.is_refused(fd)) {
        return lost(Reason::DescriptorKept);
    }
    if !entry.is_some_and(dead) {
        return lost(Reason::DescriptorClosed);
    }
    if word.is_some_and(|word| word.has(UNSEEN)) {
        return lost(Reason::BytesUnseen);
    }
    if library.status(pgconn) != CONNECTION_OK {
        return lost(Reason::Broken);
    }
    let transaction = connection.transaction_status(library);
    if !matches!(
        transaction,
        PQTRANS_IDLE | PQTRANS_INTRANS | PQTRANS_INERROR
    ) {
        return lost(Reason::NotIdle);
    }
    if library.pipeline_status(pgconn) != 0 {
        return lost(Reason::PipelineMode);
    }
    if !(state.journal.is_answered() && state.sent.is_none()) {
        return lost(Reason::CommandUnderWay);
    }
    if transaction != PQTRANS_IDLE {
        if let Err(loss) = state
            .journal
            .can_begin_again(transaction == PQTRANS_INERROR)
        {
            return Checked::Lost(loss);
        }
    } else if !state.journal.is_settled() {
        return lost(Reason::TransactionUnseen);
    }
    let Some(endpoint) = state.endpoint else {
        return lost(Reason::PeerUnknown);
    };
    let path = reconnect_path(library, pgconn, endpoint.unix);
    if let Some(detail) = endpoint
        .environment
        .changed(&ReconnectEnvironment::now(), path)
    {
        let (reason, detail) = (Reason::ClientChanged, detail.as_bytes());
        return Checked::Lost(Loss::from(Cause { reason, detail }));
    }
    Checked::Resumable
}
